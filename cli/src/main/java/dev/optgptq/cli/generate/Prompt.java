package dev.optgptq.cli.generate;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;

/**
 * One line of a file of prompts.
 *
 * @param id from the line, or its line number
 * @param maxTokens of this prompt; null for the command line's
 */
public record Prompt(JsonNode id, Content content, @Nullable Integer maxTokens) {

    /** What is continued. */
    public sealed interface Content {

        record Text(String text) implements Content {}

        /** For the model's chat template. */
        record Messages(ArrayNode messages) implements Content {}
    }

    /** @param chat null if the text itself is continued */
    public static Prompt of(String text, @Nullable Chat chat) {
        return new Prompt(JsonNodeFactory.instance.numberNode(1), content(text, chat), null);
    }

    private static Content content(String text, @Nullable Chat chat) {
        return chat == null ? new Content.Text(text) : new Content.Messages(chat.turn(text));
    }

    /**
     * Reads a .jsonl: one object per line with "prompt", or "messages" for a chat, and optionally "id" and "max_tokens".
     * UserError BAD_TEXT.
     */
    public static List<Prompt> read(Path file, @Nullable Chat chat) {
        List<Prompt> prompts = new ArrayList<>();
        int number = 0;
        for (String line : lines(file)) {
            number++;
            if (!line.isBlank()) {
                prompts.add(parse(line, file + ", line " + number, number, chat));
            }
        }
        if (prompts.isEmpty()) {
            throw new UserError(Code.BAD_TEXT,
                    file + ": expected a line such as {\"prompt\": \"The city of York\"}, found none");
        }
        return prompts;
    }

    private static List<String> lines(Path file) {
        try {
            return Json.decodeUtf8(ByteBuffer.wrap(Files.readAllBytes(file)), file.toString(), Code.BAD_TEXT).lines()
                    .toList();
        } catch (IOException e) {
            throw new UserError(Code.BAD_TEXT, file + ": cannot be read (" + e + "); check the path", e);
        }
    }

    private static Prompt parse(String line, String origin, int number, @Nullable Chat chat) {
        JsonNode object = Json.parseObject(line, origin, Code.BAD_TEXT);
        JsonNode most = object.path("max_tokens");
        if (!most.isMissingNode() && !(most.isIntegralNumber() && most.canConvertToInt() && most.intValue() > 0)) {
            throw new UserError(Code.BAD_TEXT, origin + ": expected a whole number above 0 at 'max_tokens', found "
                    + Json.kind(most) + "; correct the line");
        }
        JsonNode id = object.path("id");
        return new Prompt(id.isMissingNode() ? JsonNodeFactory.instance.numberNode(number) : id,
                content(object, origin, chat), most.isMissingNode() ? null : most.intValue());
    }

    private static Content content(JsonNode object, String origin, @Nullable Chat chat) {
        if (object.path("messages") instanceof ArrayNode messages) {
            if (chat == null) {
                throw new UserError(Code.BAD_TEXT, origin + ": found 'messages', which need the model's chat template; "
                        + "add --chat");
            }
            return new Content.Messages(chat.withSystem(messages));
        }
        JsonNode text = object.path("prompt");
        if (!text.isString()) {
            throw new UserError(Code.BAD_TEXT, origin + ": expected a string at 'prompt'"
                    + (chat == null ? "" : " or a list at 'messages'") + ", found " + Json.kind(text)
                    + "; correct the line");
        }
        return content(text.stringValue(), chat);
    }
}
