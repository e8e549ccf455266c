package dev.optgptq.formats.tokenizer;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.InputFiles;
import java.nio.file.Path;

/** Text to token ids and back. */
public interface Tokenizer extends AutoCloseable {

    /**
     * System property: true loads tokenizers into this process, which saves starting another and gives up its protection.
     * For tests that quantize hundreds of models of their own.
     */
    String IN_PROCESS = "opt-gptq.tokenizer.in-process";

    /**
     * Loads the tokenizer of a model directory, in its own process, which ends with this one; never touches the
     * network. Throws UserError BAD_TOKENIZER.
     */
    static Tokenizer load(Path modelDirectory) {
        InputFiles.requireContent(TokenizerFile.in(modelDirectory), Code.BAD_TOKENIZER);
        return Boolean.getBoolean(IN_PROCESS)
                ? DjlTokenizer.open(modelDirectory)
                : TokenizerProcess.open(modelDirectory);
    }

    /** Token ids without special tokens. Long text is fine; the result equals tokenizing it in one piece. */
    int[] encode(String text);

    String decode(int[] ids);

    /** A prompt as the model was trained to see it: with the special tokens that the tokenizer puts around a text. */
    int[] encodePrompt(String text);

    /** The text of tokens, without special ones. */
    String decodeText(int[] ids);

    @Override
    void close();
}
