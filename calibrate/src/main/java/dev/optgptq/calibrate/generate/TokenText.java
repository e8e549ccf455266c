package dev.optgptq.calibrate.generate;

import dev.optgptq.formats.tokenizer.Tokenizer;
import java.util.Arrays;

/**
 * The text of tokens that come one by one. A token's text depends on those before it (a space, half of a character), so a few
 * are always decoded with it; a character that is not complete waits.
 */
final class TokenText {

    private static final char INCOMPLETE = '\uFFFD';
    /** Tokens that one character can take, bytes of UTF-8, with room: what stays incomplete for longer is garbage. */
    private static final int PATIENCE = 8;

    private final Tokenizer tokenizer;
    private final StringBuilder text = new StringBuilder();
    private int[] tokens = new int[64];
    private int count;
    /** Tokens [from, read) are decoded with what comes next, and their text is there. */
    private int from;
    private int read;

    TokenText(Tokenizer tokenizer) {
        this.tokenizer = tokenizer;
    }

    /** Adds a token and returns what it makes complete. */
    String add(int token) {
        if (count == tokens.length) {
            tokens = Arrays.copyOf(tokens, 2 * count);
        }
        tokens[count++] = token;
        return take(count - read > PATIENCE);
    }

    /** The rest, incomplete or not. */
    String finish() {
        return take(true);
    }

    String text() {
        return text.toString();
    }

    private String take(boolean anyway) {
        String before = decode(from, read);
        String all = decode(from, count);
        if (all.length() <= before.length() || (!anyway && all.charAt(all.length() - 1) == INCOMPLETE)) {
            return "";
        }
        String added = all.substring(before.length());
        from = read;
        read = count;
        text.append(added);
        return added;
    }

    private String decode(int start, int end) {
        return start == end ? "" : tokenizer.decodeText(Arrays.copyOfRange(tokens, start, end));
    }
}
