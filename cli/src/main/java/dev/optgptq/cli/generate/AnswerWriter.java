package dev.optgptq.cli.generate;

import dev.optgptq.calibrate.generate.Answer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** Writes each finished answer as a JSON line, so that an interruption loses none of them. */
final class AnswerWriter implements AutoCloseable {

    private final Path file;
    private final OutputStream out;

    private AnswerWriter(Path file, OutputStream out) {
        this.file = file;
        this.out = out;
    }

    /** UserError OUTPUT if the file exists and must not be replaced. */
    static AnswerWriter open(Path file, boolean overwrite) {
        try {
            OutputStream out = overwrite
                    ? Files.newOutputStream(file)
                    : Files.newOutputStream(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
            return new AnswerWriter(file, new BufferedOutputStream(out));
        } catch (FileAlreadyExistsException e) {
            throw new UserError(Code.OUTPUT,
                    file + ": expected no such file, found one; remove it, choose another name, or add --overwrite", e);
        } catch (IOException e) {
            throw cannotWrite(file, e);
        }
    }

    void write(Prompt prompt, int promptTokens, Answer answer) {
        try {
            out.write(Json.toCompactBytes(json(prompt, promptTokens, answer)));
            out.write('\n');
            out.flush();
        } catch (IOException e) {
            throw cannotWrite(file, e);
        }
    }

    static ObjectNode json(Prompt prompt, int promptTokens, Answer answer) {
        ObjectNode line = JsonNodeFactory.instance.objectNode();
        line.set("id", prompt.id());
        switch (prompt.content()) {
            case Prompt.Content.Text text -> line.put("prompt", text.text());
            case Prompt.Content.Messages chat -> line.set("messages", chat.messages());
        }
        line.put("text", answer.text());
        line.put("finish_reason", answer.finish().word());
        line.put("prompt_tokens", promptTokens);
        ArrayNode tokens = line.putArray("tokens");
        for (int token : answer.tokens()) {
            tokens.add(token);
        }
        if (answer.logProbabilities().length > 0) {
            ArrayNode values = line.putArray("log_probabilities");
            for (double value : answer.logProbabilities()) {
                values.add(value);
            }
        }
        return line;
    }

    @Override
    public void close() {
        try {
            out.close();
        } catch (IOException e) {
            throw cannotWrite(file, e);
        }
    }

    private static UserError cannotWrite(Path file, IOException e) {
        return new UserError(Code.OUTPUT, file + " cannot be written: " + e
                + "; check the path, its permissions and the disk's free space", e);
    }
}
