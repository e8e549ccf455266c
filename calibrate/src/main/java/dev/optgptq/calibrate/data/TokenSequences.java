package dev.optgptq.calibrate.data;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Locale;

/**
 * Calibration or evaluation tokens, cut into sequences of one length.
 *
 * @param ids all sequences, one after the other; length count * length
 */
public record TokenSequences(int[] ids, int count, int length) {

    /** Tokens that make a place of a text one of its own. */
    private static final int CONTEXT = 8;
    /** Odd, as random as any: multiplication by it loses no token. */
    private static final long HASH = 0x9E3779B97F4A7C15L;

    public TokenSequences {
        if (count < 1 || length < 1 || ids.length != Math.multiplyExact(count, length)) {
            throw new IllegalArgumentException(ids.length + " ids are not " + count + " sequences of " + length);
        }
    }

    /** How calibration sequences are drawn from a text. */
    public enum Sampling {
        /** The first sequences of consecutive tokens. */
        SEQUENTIAL,
        /** Random places, or random documents of a .jsonl, from a seed, as in the GPTQ paper. */
        RANDOM;

        /** As the command line writes it. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /**
     * Non-overlapping windows, the tail dropped; at least one, else UserError BAD_TEXT.
     *
     * @param origin names the text in messages
     */
    static TokenSequences windows(int[] stream, String origin, int length) {
        int count = stream.length / length;
        if (count == 0) {
            throw TextFiles.badText(origin + " holds " + stream.length + " tokens; a window needs " + length
                    + ": give more text, or a shorter window");
        }
        return new TokenSequences(Arrays.copyOf(stream, count * length), count, length);
    }

    /** Their number and a digest of their ids, as text. */
    public String digest() {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(Integer.BYTES, ids.length));
        bytes.asIntBuffer().put(ids);
        try {
            return count + " x " + length + " tokens, SHA-256 "
                    + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes.array()));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /** All tokens. */
    public long tokens() {
        return ids.length;
    }

    /**
     * About how many tokens are not the same place of a text again, where sequences overlap: the share of places that are told apart by
     * eight tokens, times tokens().
     */
    public long differentTokens() {
        int context = Math.min(CONTEXT, length);
        long[] places = new long[Math.multiplyExact(count, length - context + 1)];
        int at = 0;
        for (int sequence = 0; sequence < count; sequence++) {
            for (int first = sequence * length; first <= (sequence + 1) * length - context; first++) {
                long place = 0;
                for (int i = first; i < first + context; i++) {
                    place = place * HASH + ids[i];
                }
                places[at++] = place;
            }
        }
        return tokens() * Arrays.stream(places).sorted().distinct().count() / places.length;
    }

    /** Some of the sequences, in the given order. */
    public TokenSequences select(int[] sequences) {
        int[] selected = new int[Math.multiplyExact(sequences.length, length)];
        for (int i = 0; i < sequences.length; i++) {
            System.arraycopy(ids, sequences[i] * length, selected, i * length, length);
        }
        return new TokenSequences(selected, sequences.length, length);
    }

    /** Throws UserError BAD_TOKENIZER when an id has no row in the model's embedding table; ops do not check that. */
    public void requireVocabulary(int vocabSize) {
        for (int id : ids) {
            if (id < 0 || id >= vocabSize) {
                throw new UserError(UserError.Code.BAD_TOKENIZER,
                        "token id " + id + " is outside the model's vocabulary of "
                                + vocabSize
                                + "; the tokenizer is from another model: put the one of this model into its folder");
            }
        }
    }

    /** Copies the ids of sequences [first, first + n) to the device: target I32 [1, n * length]. */
    public void upload(Device device, int first, Tensor target) {
        int from = Math.multiplyExact(first, length);
        int to = Math.addExact(from, Math.toIntExact(target.columns()));
        try (Arena host = Arena.ofShared()) {
            MemorySegment staged = host.allocateFrom(ValueLayout.JAVA_INT, Arrays.copyOfRange(ids, from, to));
            device.upload(staged, target);
            device.synchronize();
        }
    }
}
