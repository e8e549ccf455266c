package dev.optgptq.calibrate.testing;

import dev.optgptq.formats.tokenizer.Tokenizer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * One token per UTF-16 character: token counts and contents can be read off the text. It refuses halves of characters, and
 * tells how much it was given.
 */
public final class CharacterTokenizer implements Tokenizer {

    private int longest;

    /** Characters of the longest text so far. */
    public int longest() {
        return longest;
    }

    @Override
    public int[] encode(String text) {
        if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
            throw new IllegalArgumentException("half of a surrogate pair");
        }
        longest = Math.max(longest, text.length());
        return text.chars().toArray();
    }

    @Override
    public String decode(int[] ids) {
        return Arrays.stream(ids).mapToObj(Character::toString).collect(Collectors.joining());
    }

    /** It has no special tokens. */
    @Override
    public int[] encodePrompt(String text) {
        return encode(text);
    }

    @Override
    public String decodeText(int[] ids) {
        return decode(ids);
    }

    @Override
    public void close() {
        // holds nothing
    }
}
