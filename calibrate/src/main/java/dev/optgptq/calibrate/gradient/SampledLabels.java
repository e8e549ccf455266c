package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/**
 * Drawn from the model's own predictions: squared gradients are then the true Fisher information (Kunstner et al. 2019,
 * arXiv 1905.12558).
 *
 * @param seed a token's label depends on the seed, the token's position and its logits, not on the batches
 */
public record SampledLabels(long seed) implements Labels {

    @Override
    public void choose(Device device, TokenSequences text, long firstToken, Tensor logits, Tensor targets) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment scores = host.allocate(ValueLayout.JAVA_FLOAT, logits.elements());
            device.download(logits, scores);
            MemorySegment drawn = host.allocate(ValueLayout.JAVA_INT, targets.columns());
            int vocabulary = Math.toIntExact(logits.columns());
            for (long i = 0; i < targets.columns(); i++) {
                double point = new SplittableRandom(seed * 0x9E3779B97F4A7C15L + firstToken + i).nextDouble();
                MemorySegment row = scores.asSlice(i * vocabulary * Float.BYTES, (long) vocabulary * Float.BYTES);
                drawn.setAtIndex(ValueLayout.JAVA_INT, i, draw(row, vocabulary, point));
            }
            device.upload(drawn, targets);
            device.synchronize();
        }
    }

    /** The first token whose cumulative probability exceeds the point, which is in [0, 1). */
    private static int draw(MemorySegment logits, int vocabulary, double point) {
        double max = Double.NEGATIVE_INFINITY;
        for (int token = 0; token < vocabulary; token++) {
            max = Math.max(max, logits.getAtIndex(ValueLayout.JAVA_FLOAT, token));
        }
        double[] cumulative = new double[vocabulary];
        double sum = 0;
        for (int token = 0; token < vocabulary; token++) {
            sum += Math.exp(logits.getAtIndex(ValueLayout.JAVA_FLOAT, token) - max);
            cumulative[token] = sum;
        }
        for (int token = 0; token < vocabulary; token++) {
            if (cumulative[token] > point * sum) {
                return token;
            }
        }
        return vocabulary - 1;
    }
}
