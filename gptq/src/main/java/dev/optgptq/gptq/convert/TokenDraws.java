package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * What a model might have written in the place of each token of a text: draws from its predictions.
 *
 * @param ids [draws][tokens]; the token itself where there is no prediction, at the beginning of a window
 */
record TokenDraws(int[][] ids) {

    /** Of each token. */
    private static final int DRAWS = 8;
    /** Elements of the noise, and rows at most. */
    private static final long NOISE = 1L << 24;
    private static final int MOST_ROWS = 1024;

    /** None yet: every draw is the token itself. */
    static TokenDraws of(TokenSequences text) {
        int[][] ids = new int[DRAWS][];
        Arrays.setAll(ids, draw -> text.ids().clone());
        return new TokenDraws(ids);
    }

    int draws() {
        return ids.length;
    }

    /**
     * Draws for some windows of the text. A draw is the largest of the logits plus Gumbel noise (Maddison et al. 2014, arXiv 1411.0030).
     * Noise is made for a few rows, of which each batch of tokens takes others: draws of different tokens need not be
     * independent.
     *
     * @param first token of the text
     * @param outputs of the model's last block for the tokens from there on
     * @param length tokens of a window
     */
    void draw(Transformer model, long first, ActivationStore outputs, int length, long seed) {
        Device device = model.device();
        int vocabulary = model.spec().vocabSize();
        int noiseRows = Math.toIntExact(Math.clamp(NOISE / vocabulary, 2, MOST_ROWS));
        int batch = noiseRows / 2;
        SplittableRandom random = new SplittableRandom(seed);
        try (TensorArena arena = device.arena(); Arena host = Arena.ofShared()) {
            Head head = model.loadHead(arena);
            Tensor noise = arena.matrix(DType.F32, noiseRows, vocabulary);
            device.upload(gumbel(random, noise.elements(), host), noise);
            Tensor x = arena.matrix(DType.F32, batch, model.spec().hiddenSize());
            Tensor normed = arena.matrix(DType.F32, batch, model.spec().hiddenSize());
            Tensor logits = arena.matrix(DType.F32, batch, vocabulary);
            Tensor noisy = arena.matrix(DType.F32, batch, vocabulary);
            Tensor found = arena.matrix(DType.I32, ids.length, batch);
            MemorySegment drawn = host.allocate(found.elements() * Integer.BYTES, Integer.BYTES);
            device.synchronize();
            for (long row = 0; row < outputs.rows(); row += batch) {
                int n = Math.toIntExact(Math.min(batch, outputs.rows() - row));
                outputs.read(device, row, x.rows(0, n));
                model.logits(head, x.rows(0, n), normed.rows(0, n), logits.rows(0, n));
                for (int draw = 0; draw < ids.length; draw++) {
                    device.matrix().copy(noise.rows(random.nextInt(noiseRows - n + 1), n), noisy.rows(0, n));
                    device.neural().add(noisy.rows(0, n), logits.rows(0, n));
                    device.cache().argmax(noisy.rows(0, n), found.rows(draw, 1).columns(0, n));
                }
                device.download(found, drawn);
                place(Math.toIntExact(first + row), n, drawn, batch, length);
            }
        }
    }

    /** A prediction of a token counts for the next, which a window's last has not. */
    private void place(int token, int n, MemorySegment drawn, int stride, int length) {
        for (int draw = 0; draw < ids.length; draw++) {
            for (int i = 0; i < n; i++) {
                int id = drawn.getAtIndex(ValueLayout.JAVA_INT, (long) draw * stride + i);
                if (id >= 0 && (token + i + 1) % length != 0) {
                    ids[draw][token + i + 1] = id;
                }
            }
        }
    }

    private static MemorySegment gumbel(SplittableRandom random, long elements, Arena host) {
        MemorySegment noise = host.allocate(elements * Float.BYTES, Float.BYTES);
        for (long i = 0; i < elements; i++) {
            noise.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) -Math.log(-Math.log(random.nextDouble(0x1p-53, 1))));
        }
        return noise;
    }
}
