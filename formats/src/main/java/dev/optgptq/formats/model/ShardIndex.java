package dev.optgptq.formats.model;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.json.Json;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * model.safetensors.index.json: which file of a sharded model holds which tensor.
 *
 * @param shardOf file name by tensor name, in the order of the index
 */
record ShardIndex(SequencedMap<String, String> shardOf) {

    static final String FILE_NAME = "model.safetensors.index.json";

    ShardIndex {
        shardOf = Collections.unmodifiableSequencedMap(new LinkedHashMap<>(shardOf));
    }

    /** Parses the text of an index; {@code origin} names the file in messages. Throws UserError BAD_MODEL. */
    static ShardIndex parse(String text, String origin) {
        return of(Json.parseObject(text, origin, Code.BAD_MODEL), origin);
    }

    /** Checks the document of an index; {@code origin} names the file in messages. Throws UserError BAD_MODEL. */
    static ShardIndex of(ObjectNode json, String origin) {
        JsonNode weightMap = json.path("weight_map");
        if (!weightMap.isObject() || weightMap.isEmpty()) {
            throw bad(origin, "expected an object of file names by tensor name at 'weight_map', found "
                    + Json.kind(weightMap));
        }
        SequencedMap<String, String> shardOf = new LinkedHashMap<>();
        for (Map.Entry<String, JsonNode> entry : weightMap.properties()) {
            JsonNode shard = entry.getValue();
            if (!shard.isString() || !isPlainFileName(shard.stringValue())) {
                throw bad(origin, "expected the name of a .safetensors file beside the index for tensor '"
                        + entry.getKey() + "', found " + Json.kind(shard));
            }
            shardOf.put(entry.getKey(), shard.stringValue());
        }
        return new ShardIndex(shardOf);
    }

    /** The files, sorted by name: the order that model-00001-of-00002 implies. */
    List<String> shards() {
        return shardOf.values().stream().distinct().sorted().toList();
    }

    /** The document as other tools expect it. */
    ObjectNode toJson(long totalBytes) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.putObject("metadata").put("total_size", totalBytes);
        ObjectNode weightMap = json.putObject("weight_map");
        shardOf.forEach(weightMap::put);
        return json;
    }

    /** An index is untrusted: a name must not lead out of the directory, on any operating system. */
    private static boolean isPlainFileName(String name) {
        try {
            return name.endsWith(".safetensors")
                    && name.chars().noneMatch(c -> c == '/' || c == '\\' || c == ':' || c < ' ')
                    && Path.of(name).getNameCount() == 1;
        } catch (InvalidPathException e) {
            // Half a surrogate pair, or a letter that the locale's file names do not have.
            return false;
        }
    }

    private static UserError bad(String origin, String what) {
        return new UserError(Code.BAD_MODEL, origin + ": " + what + "; the index is damaged, fetch it again");
    }
}
