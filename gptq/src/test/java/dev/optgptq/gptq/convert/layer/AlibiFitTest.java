package dev.optgptq.gptq.convert.layer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.model.AttentionParts.Positions;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Matrix;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Attention that falls with distance by itself becomes ALiBi. */
class AlibiFitTest {

    private static final long SEED = 3;
    private static final int HEADS = 4;
    private static final int D = 8;
    private static final int HIDDEN = 24;
    private static final int LENGTH = 32;
    private static final int SEQUENCES = 12;
    private static final int JUDGED = 4;
    private static final double[] SLOPES = {0.1, 0.3, 0.02, 0.2};

    private final Device device = Devices.open("cpu", 1);
    private final TensorArena arena = device.arena();
    private final HostCopies copies = new HostCopies(device);
    private final SplittableRandom random = new SplittableRandom(SEED);

    @AfterEach
    void close() {
        arena.close();
        device.close();
    }

    @Test
    void the_slopes_that_scores_fall_with_are_found() {
        Tensor x = copies.upload(inputs(), arena);

        double[] found = new SlopeFit(attention(falling(), new Positions(null, null))).fit(x, withoutPosition());

        for (int head = 0; head < HEADS; head++) {
            assertEquals(SLOPES[head], found[head], 0.15 * SLOPES[head] + 0.01, "seed " + SEED + ", head " + head);
        }
    }

    @Test
    void the_steepest_head_meets_the_steepest_slope() {
        assertEquals(List.of(1, 3, 0, 2), SlopeFit.order(SLOPES, new float[] {0.5f, 0.25f, 0.125f, 0.0625f}));
        assertEquals(List.of(2, 0, 3, 1), SlopeFit.order(SLOPES, new float[] {0.1f, 0.2f, 0.3f, 0.4f}));
    }

    @Test
    void heads_in_another_order_compute_the_same() {
        AttentionMatrices weights = falling();
        AttentionMatrices permuted = weights.permuted(List.of(2, 0, 3, 1));
        assertEquals(0, weights.query().rows(0, D).minus(permuted.query().rows(D, D)).norm());
        assertEquals(0, weights.outputOf(3).minus(permuted.outputOf(2)).norm());
        assertEquals(weights.outputBias(), permuted.outputBias());
    }

    /** ALiBi on top of scores that fall already is too much: queries must unlearn what it does, as far as they are let go. */
    @Test
    void a_score_fit_makes_room_for_the_bias() {
        AttentionMatrices weights = falling();
        LayerAttention original = attention(weights, new Positions(null, null));
        Tensor slopes = copies.upload(Matrix.generate(1, HEADS, (i, h) -> SLOPES[h]), arena);
        LayerAttention converted = attention(weights, new Positions(null, slopes));
        Tensor x = copies.upload(inputs(), arena);
        int trained = (SEQUENCES - JUDGED) * LENGTH;
        try (ScoreFit fit = new ScoreFit(original, converted, LENGTH, trained, JUDGED * LENGTH)) {
            for (int row = 0; row < SEQUENCES * LENGTH; row += LENGTH) {
                fit.put(row, x.rows(row, LENGTH), x.rows(row, LENGTH));
            }

            ScoreFit.Outcome found = fit.fit(List.of(1.0));

            assertTrue(found.after() < 0.05 * found.before(), () -> "seed " + SEED + ": " + found);
        }
    }

    /** The last two columns are 1 and the position. */
    private Matrix inputs() {
        SplittableRandom own = new SplittableRandom(SEED + 1);
        return Matrix.generate(SEQUENCES * LENGTH, HIDDEN,
                (t, i) -> i == HIDDEN - 2 ? 1 : i == HIDDEN - 1 ? t % LENGTH : own.nextGaussian());
    }

    private Tensor withoutPosition() {
        Matrix x = inputs();
        return copies.upload(Matrix.generate(x.rows(), HIDDEN, (t, i) -> i == HIDDEN - 1 ? 0 : x.at(t, i)), arena);
    }

    /** Queries see a 1 in their last element, keys their position times the slope: scores hold slope times position. */
    private AttentionMatrices falling() {
        double scale = Math.sqrt(D);
        Matrix query = Matrix.generate(HEADS * D, HIDDEN, (r, i) -> r % D == D - 1
                ? (i == HIDDEN - 2 ? scale : 0)
                : i < HIDDEN - 2 ? weight() : 0);
        Matrix key = Matrix.generate(HEADS * D, HIDDEN, (r, i) -> r % D == D - 1
                ? (i == HIDDEN - 1 ? SLOPES[r / D] : 0)
                : i < HIDDEN - 2 ? weight() : 0);
        Matrix value = Matrix.generate(HEADS * D, HIDDEN, (r, i) -> weight());
        return new AttentionMatrices(D, query, null, key, null, value, null,
                Matrix.generate(HIDDEN, HEADS * D, (r, i) -> weight()), null);
    }

    private double weight() {
        return random.nextGaussian() / 5;
    }

    private LayerAttention attention(AttentionMatrices weights, Positions positions) {
        AttentionShape shape = new AttentionShape(LENGTH, HEADS, HEADS, D, (float) (1 / Math.sqrt(D)), 0);
        return new LayerAttention(device, shape, positions, new GroupedWeights(copies).upload(weights, arena));
    }
}
