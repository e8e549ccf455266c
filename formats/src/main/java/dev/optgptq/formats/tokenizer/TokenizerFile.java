package dev.optgptq.formats.tokenizer;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.json.Json;
import java.nio.file.Path;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** The file of a model directory that says how a text becomes tokens: tokenizer.json, else tokenizer.model. */
public final class TokenizerFile {

    static final String FILE_NAME = "tokenizer.json";

    private TokenizerFile() {}

    /** Throws UserError BAD_TOKENIZER when there is neither. */
    public static Path in(Path modelDirectory) {
        Path json = modelDirectory.resolve(FILE_NAME);
        Path pieces = modelDirectory.resolve(SentencePieceModel.FILE_NAME);
        if (InputFiles.isThere(json)) {
            return json;
        }
        if (InputFiles.isThere(pieces)) {
            return pieces;
        }
        throw new UserError(Code.BAD_TOKENIZER, json + ": the tokenizer is missing; fetch " + FILE_NAME + " or "
                + SentencePieceModel.FILE_NAME + " with the model (other forms are not read)");
    }

    /**
     * In the form of tokenizer.json, from either. Throws UserError BAD_TOKENIZER for a file that is neither.
     *
     * @param modelDirectory whose tokenizer_config.json may add tokens to a tokenizer.model
     */
    public static ObjectNode read(Path modelDirectory) {
        Path file = in(modelDirectory);
        if (!file.endsWith(SentencePieceModel.FILE_NAME)) {
            return Json.readObject(file, Json.Limit.TOKENIZER, Code.BAD_TOKENIZER);
        }
        return SentencePieceTokenizer.of(SentencePieceModel.read(file), settings(modelDirectory), file);
    }

    /** tokenizer_config.json; an empty object where there is none. UserError BAD_TOKENIZER where it cannot be read. */
    public static ObjectNode settings(Path modelDirectory) {
        Path file = modelDirectory.resolve("tokenizer_config.json");
        return InputFiles.isThere(file)
                ? Json.readObject(file, Code.BAD_TOKENIZER)
                : JsonNodeFactory.instance.objectNode();
    }
}
