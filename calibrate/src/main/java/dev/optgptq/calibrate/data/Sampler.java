package dev.optgptq.calibrate.data;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.tokenizer.Tokenizer;
import java.util.Arrays;
import java.util.Random;

/**
 * Draws sequences from a text or from documents. The generator is java.util.Random, whose algorithm its specification
 * fixes: a seed gives the same sequences on every machine and in every release.
 *
 * @param origin names the text in messages
 */
record Sampler(Tokenizer tokenizer, int count, int length, String origin) {

    /** Characters of text to try per requested token; English text has 3 to 5. */
    private static final int CHARACTERS_PER_TOKEN = 6;
    /** A cut in the text can change the tokens just before it, so they are not used. */
    private static final int CUT_MARGIN = 256;
    private static final int MOST_TOKENS = 1 << 30;

    Sampler {
        if (count < 1 || length < 1 || (long) count * length > MOST_TOKENS) {
            throw new UserError(UserError.Code.BAD_SETTING, count + " sequences of " + length
                    + " tokens cannot be drawn; expected at least one of each and at most " + MOST_TOKENS
                    + " tokens in total");
        }
    }

    /** The first count * length tokens. Tokenizes no more text than needed. */
    TokenSequences first(String text) {
        int needed = needed();
        long characters = needed * (long) CHARACTERS_PER_TOKEN + CUT_MARGIN;
        while (characters < text.length()) {
            int[] ids = tokenizer.encode(text.substring(0, boundary(text, (int) characters)));
            if (ids.length >= (long) needed + CUT_MARGIN) {
                return sequences(Arrays.copyOf(ids, needed));
            }
            characters *= 2;
        }
        int[] ids = tokenizer.encode(text);
        requireEnough(ids.length);
        return sequences(Arrays.copyOf(ids, needed));
    }

    /** The first count * length tokens of the documents, concatenated. */
    TokenSequences first(JsonLines documents) {
        int[] ids = new int[needed()];
        int filled = 0;
        for (int document = 0; document < documents.documents() && filled < ids.length; document++) {
            int[] tokens = tokenizer.encode(documents.text(document));
            int taken = Math.min(tokens.length, ids.length - filled);
            System.arraycopy(tokens, 0, ids, filled, taken);
            filled += taken;
        }
        requireEnough(filled);
        return sequences(ids);
    }

    /** Sequences from uniformly random places, which may overlap: the GPTQ authors' WikiText-2 loader. */
    TokenSequences random(String text, long seed) {
        int[] stream = tokenizer.encode(text);
        if (stream.length < length) {
            throw TextFiles.badText(origin + " holds " + stream.length + " tokens; a sequence needs " + length
                    + ": give more text, or shorter sequences");
        }
        Random random = new Random(seed);
        int[] ids = new int[needed()];
        for (int sequence = 0; sequence < count; sequence++) {
            int start = random.nextInt(stream.length - length + 1);
            System.arraycopy(stream, start, ids, sequence * length, length);
        }
        return sequences(ids);
    }

    /**
     * One random window from each of some random documents that are long enough: the GPTQ authors' C4 loader, except
     * that no document is drawn twice before each was drawn once.
     */
    TokenSequences random(JsonLines documents, long seed) {
        Random random = new Random(seed);
        int[] order = shuffled(documents.documents(), random);
        int[] ids = new int[needed()];
        int sequence = 0;
        int longest = 0;
        while (sequence < count) {
            int before = sequence;
            for (int i = 0; i < order.length && sequence < count; i++) {
                int[] tokens = tokenizer.encode(documents.text(order[i]));
                longest = Math.max(longest, tokens.length);
                if (tokens.length >= length) {
                    int start = random.nextInt(tokens.length - length + 1);
                    System.arraycopy(tokens, start, ids, sequence * length, length);
                    sequence++;
                }
            }
            if (sequence == before) {
                throw TextFiles.badText(origin + ": the longest of its " + order.length + " documents has " + longest
                        + " tokens; a sequence needs " + length + ": give longer documents, shorter sequences, or"
                        + " sequential sampling");
            }
        }
        return sequences(ids);
    }

    private static int[] shuffled(int n, Random random) {
        int[] order = new int[n];
        for (int i = 0; i < n; i++) {
            int j = random.nextInt(i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        return order;
    }

    /** Not between the halves of a surrogate pair. */
    private static int boundary(String text, int at) {
        return Character.isLowSurrogate(text.charAt(at)) ? at + 1 : at;
    }

    private int needed() {
        return count * length;
    }

    private void requireEnough(int found) {
        if (found < needed()) {
            throw TextFiles.badText(origin + " holds " + found + " tokens; " + count + " sequences of " + length
                    + " need " + needed() + ": give more text, or ask for fewer or shorter sequences");
        }
    }

    private TokenSequences sequences(int[] ids) {
        return new TokenSequences(ids, count, length);
    }
}
