package dev.optgptq.gptq.convert.layer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.model.AttentionParts;
import dev.optgptq.calibrate.model.HeadNorms;
import dev.optgptq.calibrate.weights.NormWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.gptq.convert.merge.GroupMoments;
import dev.optgptq.gptq.convert.merge.HeadLayout;
import dev.optgptq.gptq.convert.merge.KeySelection;
import dev.optgptq.gptq.convert.merge.LayerMerge;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Heads that compute the same up to a map that queries, or the output projection, can undo are merged without loss. */
class MergingEquivalentHeadsTest {

    private static final long SEED = 20;
    private static final int HEADS = 4;
    private static final int D = 8;
    private static final int HIDDEN = 48;
    private static final int LENGTH = 32;
    private static final int SEQUENCES = 24;
    /** Float32 through two attentions. */
    private static final double TOLERANCE = 2e-4;

    private final Device device = Devices.open("cpu", 1);
    private final TensorArena arena = device.arena();
    private final HostCopies copies = new HostCopies(device);
    private static final Dense DENSE = Dense.open(1);
    private final SplittableRandom random = new SplittableRandom(SEED);

    @AfterAll
    static void closeAll() {
        DENSE.close();
    }

    @AfterEach
    void close() {
        arena.close();
        device.close();
    }

    /** How positions enter. */
    enum Kind {
        NONE, ALIBI, HALF, INTERLEAVED, PARTIAL,
        /** and queries and keys are normalised before that */
        NORMED
    }

    static Stream<Object[]> cases() {
        return Stream.of(Kind.values())
                .flatMap(kind -> Stream.of(2, 4).map(ratio -> new Object[] {kind, ratio}));
    }

    @ParameterizedTest
    @MethodSource("cases")
    void equivalent_heads_of_a_group_become_one_without_loss(Kind kind, int ratio) {
        boolean biased = rotaryDim(kind) == 0;
        AttentionMatrices original = equivalent(kind, ratio, biased);
        Matrix x = random(SEQUENCES * LENGTH, HIDDEN);

        LayerMerge merge = merge(kind, original, ratio, x);

        assertEquals(HEADS / ratio, merge.weights().kvHeads());
        double error = relative(output(kind, original, x), output(kind, merge.weights(), x));
        assertTrue(error < TOLERANCE, () -> "seed " + SEED + ", " + kind + " " + ratio + ":1: relative error " + error);
        assertTrue(merge.keyResidual() < 1e-6, () -> "keys lost " + merge.keyResidual());
        assertTrue(merge.valueResidual() < 1e-6, () -> "values lost " + merge.valueResidual());
    }

    @ParameterizedTest
    @EnumSource
    void with_a_ratio_of_one_nothing_changes(Kind kind) {
        AttentionMatrices original = random(rotaryDim(kind) == 0);
        Matrix x = random(SEQUENCES * LENGTH, HIDDEN);

        LayerMerge merge = merge(kind, original, 1, x);

        double error = relative(output(kind, original, x), output(kind, merge.weights(), x));
        assertTrue(error < TOLERANCE, () -> "seed " + SEED + ", " + kind + ": relative error " + error);
    }

    @ParameterizedTest
    @EnumSource
    void heads_that_were_grouped_already_are_merged_further_without_loss(Kind kind) {
        AttentionMatrices all = equivalent(kind, 4, false);
        // Two key-value heads for four query heads, each of which is the other's equivalent.
        AttentionMatrices grouped = all
                .withScores(all.query(), null, rows(all.key(), 0, 2), null)
                .withValues(rows(all.value(), 0, 2), null, all.outputRows(), null);
        Matrix x = random(SEQUENCES * LENGTH, HIDDEN);

        LayerMerge merge = merge(kind, grouped, 2, x);

        double error = relative(output(kind, grouped, x), output(kind, merge.weights(), x));
        assertTrue(error < TOLERANCE, () -> "seed " + SEED + ", " + kind + ": relative error " + error);
    }

    @Test
    void merging_different_heads_loses_what_it_says() {
        AttentionMatrices original = random(true);
        LayerMerge merge = merge(Kind.ALIBI, original, 4, random(SEQUENCES * LENGTH, HIDDEN));
        assertTrue(merge.keyResidual() > 0.05 && merge.valueResidual() > 0.05,
                () -> merge.keyResidual() + ", " + merge.valueResidual());
    }

    @Test
    void without_positions_in_the_keys_a_key_bias_changes_nothing() {
        AttentionMatrices biased = random(true);
        AttentionMatrices without = biased.withScores(biased.query(), biased.queryBias(), biased.key(),
                Matrix.zeros(1, HEADS * D));
        Matrix x = random(SEQUENCES * LENGTH, HIDDEN);
        double error = relative(output(Kind.ALIBI, biased, x), output(Kind.ALIBI, without, x));
        assertTrue(error < 1e-5, () -> "seed " + SEED + ": relative error " + error);
    }

    private Matrix random(int rows, int columns) {
        return Matrix.generate(rows, columns, (i, j) -> random.nextGaussian());
    }

    private AttentionMatrices random(boolean biased) {
        Matrix bias = biased ? random(1, HEADS * D) : null;
        return new AttentionMatrices(D, random(HEADS * D, HIDDEN).times(1 / 7.0), bias,
                random(HEADS * D, HIDDEN).times(1 / 7.0), bias, random(HEADS * D, HIDDEN).times(1 / 7.0), bias,
                random(HIDDEN, HEADS * D).times(1 / 6.0), biased ? random(1, HIDDEN) : null);
    }

    /** The heads of a group equal up to an invertible map, with key and value biases of their own. */
    private AttentionMatrices equivalent(Kind kind, int ratio, boolean biased) {
        AttentionMatrices base = random(biased);
        List<Matrix> keys = new ArrayList<>();
        List<Matrix> values = new ArrayList<>();
        for (int head = 0; head < HEADS; head++) {
            int first = head / ratio * ratio;
            Matrix key = rows(base.key(), first, 1);
            Matrix value = rows(base.value(), first, 1);
            keys.add(head == first ? key : DENSE.multiply(commuting(kind), key));
            values.add(head == first ? value : DENSE.multiply(random(D, D), value));
        }
        return base
                .withScores(base.query(), base.queryBias(), Matrix.stack(keys), biased ? random(1, HEADS * D) : null)
                .withValues(Matrix.stack(values), biased ? random(1, HEADS * D) : null, base.outputRows(),
                        base.outputBias());
    }

    private static Matrix rows(Matrix heads, int from, int count) {
        return heads.rows(from * D, count * D);
    }

    /**
     * A map that can pass from keys to queries: any matrix, or a complex number for each pair that turns; or one that a norm
     * takes out.
     */
    private Matrix commuting(Kind kind) {
        if (kind == Kind.NORMED) {
            double factor = Math.exp(random.nextGaussian());
            return Matrix.generate(D, D, (i, j) -> i == j ? factor : 0);
        }
        double[][] map = new double[D][D];
        HeadLayout layout = layout(kind);
        for (HeadLayout.Pair pair : layout.pairs()) {
            double a = random.nextGaussian();
            double b = random.nextGaussian();
            map[pair.real()][pair.real()] = a;
            map[pair.real()][pair.imaginary()] = -b;
            map[pair.imaginary()][pair.real()] = b;
            map[pair.imaginary()][pair.imaginary()] = a;
        }
        for (int i : layout.rest()) {
            for (int j : layout.rest()) {
                map[i][j] = random.nextGaussian();
            }
        }
        return Matrix.generate(D, D, (i, j) -> map[i][j]);
    }

    private static int rotaryDim(Kind kind) {
        return switch (kind) {
            case NONE, ALIBI -> 0;
            case HALF, INTERLEAVED, NORMED -> D;
            case PARTIAL -> D / 2;
        };
    }

    private static RotaryLayout pairing(Kind kind) {
        return kind == Kind.INTERLEAVED ? RotaryLayout.INTERLEAVED : RotaryLayout.HALF;
    }

    private static HeadLayout layout(Kind kind) {
        int rotaryDim = rotaryDim(kind);
        return rotaryDim == 0 ? HeadLayout.plain(D) : HeadLayout.rotary(D, rotaryDim, pairing(kind));
    }

    private AttentionParts.Positions positions(Kind kind) {
        if (kind == Kind.ALIBI) {
            return AttentionParts.Positions.alibi(8, HEADS, device, arena);
        }
        int pairs = rotaryDim(kind) / 2;
        if (pairs == 0) {
            return new AttentionParts.Positions(null, null);
        }
        Tensor cos = copies.upload(
                Matrix.generate(LENGTH, pairs, (t, i) -> Math.cos(t * Math.pow(100, -(double) i / pairs))), arena);
        Tensor sin = copies.upload(
                Matrix.generate(LENGTH, pairs, (t, i) -> Math.sin(t * Math.pow(100, -(double) i / pairs))), arena);
        return new AttentionParts.Positions(new AttentionParts.Rotation(cos, sin, pairing(kind)), null);
    }

    private LayerAttention attention(Kind kind, AttentionMatrices weights) {
        AttentionShape shape = new AttentionShape(LENGTH, HEADS, weights.kvHeads(), D, (float) (1 / Math.sqrt(D)), 0);
        return new LayerAttention(device, shape, positions(kind), new GroupedWeights(copies).upload(weights, arena),
                kind == Kind.NORMED ? new HeadNorms(norm(HEADS), norm(weights.kvHeads())) : HeadNorms.NONE);
    }

    private NormWeights norm(int heads) {
        NormSpec spec = new NormSpec("norm", NormSpec.Kind.RMS, 1e-6f, 0, false, heads * D, D, 1);
        return new NormWeights(spec, copies.upload(Matrix.generate(1, D, (i, j) -> 1 + 0.1 * j), arena), null, null);
    }

    private LayerMerge merge(Kind kind, AttentionMatrices weights, int ratio, Matrix x) {
        try (HeadStatistics statistics = new HeadStatistics(attention(kind, weights), ratio)) {
            statistics.add(copies.upload(x, arena));
            List<GroupMoments> moments = statistics.finish(weights.output(), DENSE);
            return kind == Kind.NORMED
                    ? LayerMerge.of(weights, moments, new KeySelection(false)::merge, DENSE)
                    : LayerMerge.of(weights, moments, layout(kind), DENSE);
        }
    }

    private Matrix output(Kind kind, AttentionMatrices weights, Matrix x) {
        LayerAttention attention = attention(kind, weights);
        Tensor input = copies.upload(x, arena);
        LayerAttention.Projected p = LayerAttention.Projected.allocate(arena, attention.shape(), x.rows());
        Tensor attended = arena.matrix(DType.F32, x.rows(), HEADS * D);
        Tensor y = arena.matrix(DType.F32, x.rows(), HIDDEN);
        attention.project(input, p);
        attention.attend(p, attended);
        attention.output(attended, 0, y);
        return copies.download(y);
    }

    private static double relative(Matrix expected, Matrix found) {
        return expected.minus(found).norm() / expected.norm();
    }
}
