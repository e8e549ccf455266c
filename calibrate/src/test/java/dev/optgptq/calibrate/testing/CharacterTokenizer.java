package dev.optgptq.calibrate.testing;

import dev.optgptq.formats.tokenizer.Tokenizer;
import java.util.Arrays;
import java.util.stream.Collectors;

/** One token per UTF-16 character: token counts and contents can be read off the text. */
public final class CharacterTokenizer implements Tokenizer {

    @Override
    public int[] encode(String text) {
        return text.chars().toArray();
    }

    @Override
    public String decode(int[] ids) {
        return Arrays.stream(ids).mapToObj(Character::toString).collect(Collectors.joining());
    }

    @Override
    public void close() {
        // holds nothing
    }
}
