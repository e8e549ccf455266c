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
import tools.jackson.databind.node.JsonNodeFactory;

/**
 * One line of a file of prompts.
 *
 * @param id from the line, or its line number
 * @param maxTokens of this prompt; null for the command line's
 */
public record Prompt(JsonNode id, String text, @Nullable Integer maxTokens) {

    /** Reads a .jsonl: one object per line with "prompt" and optionally "id" and "max_tokens". UserError BAD_TEXT. */
    public static List<Prompt> read(Path file) {
        List<Prompt> prompts = new ArrayList<>();
        int number = 0;
        for (String line : lines(file)) {
            number++;
            if (!line.isBlank()) {
                prompts.add(parse(line, file + ", line " + number, number));
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

    private static Prompt parse(String line, String origin, int number) {
        JsonNode object = Json.parseObject(line, origin, Code.BAD_TEXT);
        JsonNode text = object.path("prompt");
        if (!text.isString()) {
            throw new UserError(Code.BAD_TEXT,
                    origin + ": expected a string at 'prompt', found " + Json.kind(text) + "; correct the line");
        }
        JsonNode most = object.path("max_tokens");
        if (!most.isMissingNode() && !(most.isIntegralNumber() && most.canConvertToInt() && most.intValue() > 0)) {
            throw new UserError(Code.BAD_TEXT, origin + ": expected a whole number above 0 at 'max_tokens', found "
                    + Json.kind(most) + "; correct the line");
        }
        JsonNode id = object.path("id");
        return new Prompt(id.isMissingNode() ? JsonNodeFactory.instance.numberNode(number) : id, text.stringValue(),
                most.isMissingNode() ? null : most.intValue());
    }
}
