package dev.optgptq.calibrate.data;

import dev.optgptq.formats.UserError;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * Draws sequences from a text or from documents. The generator is java.util.Random, whose algorithm its specification
 * fixes: a seed gives the same sequences on every machine and in every release.
 *
 * @param origin names the text in messages
 */
record Sampler(DocumentTokens tokens, int count, int length, String origin) {

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
            int[] ids = tokens.of(text.substring(0, boundary(text, (int) characters)));
            if (ids.length >= (long) needed + CUT_MARGIN) {
                return sequences(Arrays.copyOf(ids, needed));
            }
            characters *= 2;
        }
        int[] ids = tokens.of(text);
        requireEnough(ids.length);
        return sequences(Arrays.copyOf(ids, needed));
    }

    /** The first count * length tokens of the documents, one after the other. */
    TokenSequences first(JsonLines documents) {
        return inOrder(documents, IntStream.range(0, documents.documents()).toArray());
    }

    /** The same of documents in a random order. */
    TokenSequences packed(JsonLines documents, long seed) {
        return inOrder(documents, shuffled(documents.documents(), new Random(seed)));
    }

    private TokenSequences inOrder(JsonLines documents, int[] order) {
        int[] ids = new int[needed()];
        int filled = 0;
        for (int i = 0; i < order.length && filled < ids.length; i++) {
            int[] document = tokens(documents, order[i]);
            int taken = Math.min(document.length, ids.length - filled);
            System.arraycopy(document, 0, ids, filled, taken);
            filled += taken;
        }
        requireEnough(filled);
        return sequences(ids);
    }

    private int[] tokens(JsonLines documents, int index) {
        JsonLines.Document document = documents.document(index);
        return tokens.of(document.value(), document.place());
    }

    /** Sequences from uniformly random places, which may overlap: the GPTQ authors' WikiText-2 loader. */
    TokenSequences random(String text, long seed) {
        int[] stream = tokens.of(text);
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
                int[] document = tokens(documents, order[i]);
                longest = Math.max(longest, document.length);
                if (document.length >= length) {
                    int start = random.nextInt(document.length - length + 1);
                    System.arraycopy(document, start, ids, sequence * length, length);
                    sequence++;
                }
            }
            if (sequence == before) {
                throw TextFiles.badText(origin + ": the longest of its " + order.length + " documents has " + longest
                        + " tokens; a sequence needs " + length + ": give longer documents, shorter sequences, or"
                        + " --pack");
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
