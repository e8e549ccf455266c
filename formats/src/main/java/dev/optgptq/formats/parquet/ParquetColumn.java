package dev.optgptq.formats.parquet;

import dev.hardwood.InputFile;
import dev.hardwood.reader.ParquetFileReader;
import dev.hardwood.reader.RowReader;
import dev.hardwood.row.PqList;
import dev.hardwood.row.PqStruct;
import dev.hardwood.schema.ColumnProjection;
import dev.hardwood.schema.SchemaNode;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.json.Json;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.BooleanNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.NullNode;
import tools.jackson.databind.node.ObjectNode;
import tools.jackson.databind.node.StringNode;

/**
 * One column of a Parquet file, uncompressed or compressed with snappy, zstd or gzip. Texts, numbers, lists and structs
 * become JSON. The only class that knows of dev.hardwood.
 */
public final class ParquetColumn {

    private ParquetColumn() {}

    /**
     * Reads it row by row. UserError BAD_TEXT for a column that is not there, with those that are, and for a file that cannot
     * be read.
     *
     * @param column its name, or names with dots between them: a field of structs
     */
    public static void read(Path file, String column, Consumer<JsonNode> rows) {
        InputFiles.requireContent(file, Code.BAD_TEXT);
        CodecLibraries.place();
        try (ParquetFileReader parquet = ParquetFileReader.open(InputFile.of(file))) {
            List<String> columns = parquet.getFileSchema().getRootNode().children().stream().map(SchemaNode::name)
                    .toList();
            List<String> path = columns.contains(column) ? List.of(column) : List.of(column.split("\\.", -1));
            if (!columns.contains(path.getFirst())) {
                throw new UserError(Code.BAD_TEXT, file + ": expected a column \"" + column + "\", found the columns "
                        + String.join(", ", columns) + "; choose one with --field");
            }
            try (RowReader reader = parquet.buildRowReader().projection(ColumnProjection.columns(path.getFirst()))
                    .build()) {
                for (long row = 1; reader.hasNext(); row++) {
                    reader.next();
                    JsonNode value = json(cell(reader, path.getFirst()), file + ", row " + row);
                    for (String field : path.subList(1, path.size())) {
                        value = value.path(field);
                    }
                    rows.accept(value.isMissingNode() ? NullNode.getInstance() : value);
                }
            }
        } catch (UserError e) {
            throw e;
        } catch (IOException | RuntimeException e) {
            throw new UserError(Code.BAD_TEXT, file + ": cannot be read as Parquet (" + e.getMessage()
                    + "); fetch the file again, or convert it to .jsonl", e);
        }
    }

    /** Bytes where they are text, so that they are decoded strictly. */
    private static @Nullable Object cell(RowReader row, String column) {
        if (row.isNull(column)) {
            return null;
        }
        Object value = row.getValue(column);
        return value instanceof String ? row.getBinary(column) : value;
    }

    private static JsonNode json(@Nullable Object value, String place) {
        return switch (value) {
            case null -> NullNode.getInstance();
            case byte[] text -> StringNode.valueOf(Json.decodeUtf8(ByteBuffer.wrap(text), place, Code.BAD_TEXT));
            case String text -> StringNode.valueOf(text);
            case Boolean bool -> BooleanNode.valueOf(bool);
            case PqList list -> {
                ArrayNode array = JsonNodeFactory.instance.arrayNode();
                list.values().forEach(element -> array.add(json(element, place)));
                yield array;
            }
            case PqStruct struct -> {
                ObjectNode object = JsonNodeFactory.instance.objectNode();
                for (int i = 0; i < struct.getFieldCount(); i++) {
                    String name = struct.getFieldName(i);
                    object.set(name, json(struct.isNull(name) ? null : struct.getValue(name), place));
                }
                yield object;
            }
            case Integer number -> JsonNodeFactory.instance.numberNode(number);
            case Long number -> JsonNodeFactory.instance.numberNode(number);
            case Number number -> JsonNodeFactory.instance.numberNode(number.doubleValue());
            default -> StringNode.valueOf(value.toString());
        };
    }
}
