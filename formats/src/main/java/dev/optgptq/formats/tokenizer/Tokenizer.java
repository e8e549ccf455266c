package dev.optgptq.formats.tokenizer;

import java.nio.file.Path;

/** Text to token ids and back. */
public interface Tokenizer extends AutoCloseable {

    /**
     * Loads tokenizer.json of a model directory, in a process of its own that ends with this one; never touches the
     * network. Throws UserError BAD_TOKENIZER.
     */
    static Tokenizer load(Path modelDirectory) {
        return TokenizerProcess.open(modelDirectory);
    }

    /** Token ids without special tokens. Long text is fine; the result equals tokenizing it in one piece. */
    int[] encode(String text);

    String decode(int[] ids);

    @Override
    void close();
}
