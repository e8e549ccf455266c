package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.fit.ConjugateGradients;
import dev.optgptq.gptq.convert.layer.ScoreGradient.Scores;
import dev.optgptq.gptq.convert.layer.ScoreGradient.Side;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Fits queries and shared keys to the attended scores of the original attention: minimizes the second-order expansion
 * of KL(original || converted), by conjugate gradients over W_Q and W_K in turns, the other fixed. Errors are weighted
 * by the original attention, by the converted one, so that ignored keys cannot attract attention, and slightly
 * everywhere. Each turn is kept only if the divergence itself falls on held-out sequences.
 */
final class ScoreFit implements AutoCloseable {

    /** A turn: which side, and how many steps. */
    private record Turn(Side side, int steps) {}

    private static final List<Turn> TURNS = List.of(new Turn(Side.QUERIES, 6), new Turn(Side.KEYS, 6),
            new Turn(Side.QUERIES, 6), new Turn(Side.KEYS, 6), new Turn(Side.QUERIES, 4));
    /** Strength of the ridge towards the present weights, in the preconditioner's metric. */
    private static final double PROXIMAL = 0.05;
    private static final double LIFT_INPUTS = 1e-4;

    private final Device device;
    private final HostCopies copies;
    private final LayerAttention original;
    private final LayerAttention converted;
    private final TensorArena arena;
    private final DeviceVectors vectors;
    private final int batchRows;
    private final BiasErrors biases;
    /** Training and validation sequences. */
    private final ScorePassage train;
    private final ScorePassage heldOut;
    /** Null until a turn needs it. */
    private ScoreMetric.@Nullable Factor inputs;

    /**
     * Divergence on held-out sequences, in nats per query and head.
     *
     * @param turns kept turns
     */
    record Outcome(double before, double after, int turns) {}

    /**
     * Gets ready.
     *
     * @param converted the weights to fit, in place; with both query and key bias or neither
     * @param batchRows tokens in a batch, whole sequences
     */
    ScoreFit(LayerAttention original, LayerAttention converted, int batchRows, long trainRows,
            long heldOutRows) {
        this.device = original.device();
        this.copies = new HostCopies(device);
        this.original = original;
        this.converted = converted;
        this.batchRows = batchRows;
        this.arena = device.arena();
        this.vectors = new DeviceVectors(device, arena);
        this.biases = BiasErrors.of(original, converted, copies);
        this.train = allocate(trainRows);
        this.heldOut = allocate(heldOutRows);
    }

    private ScorePassage allocate(long rows) {
        AttentionShape shape = original.shape();
        long width = (long) shape.heads() * shape.headDim();
        return new ScorePassage(arena.matrix(DType.F32, rows, inputWidth()),
                new Scores(arena.matrix(DType.F32, rows, width),
                        arena.matrix(DType.F32, rows, (long) shape.kvHeads() * shape.headDim())));
    }

    private boolean hasBias() {
        return converted.parts().queryBias() != null;
    }

    private long inputWidth() {
        return converted.parts().query().columns() + (hasBias() ? 1 : 0);
    }

    /**
     * Gives tokens, whole sequences.
     *
     * @param at row of the training tokens, or of the held-out ones after them
     * @param ofOriginal [n, hidden] input of the original layer
     * @param ofConverted the same of the converted one
     */
    void put(long at, Tensor ofOriginal, Tensor ofConverted) {
        ScorePassage target = at < train.rows()
                ? train.rows(at, ofOriginal.rows())
                : heldOut.rows(at - train.rows(), ofOriginal.rows());
        original.queries(ofOriginal, target.original().queries());
        original.keys(ofOriginal, target.original().keys());
        if (hasBias()) {
            device.matrix().fill(target.inputs().columns(inputWidth() - 1, 1), 1);
        }
        device.matrix().copy(ofConverted, target.inputs().columns(0, ofConverted.columns()));
    }

    /** Validates the current converted weights. */
    Outcome measure() {
        double found = divergence();
        return new Outcome(found, found, 0);
    }

    /**
     * Fits; the converted weights are then the best ones found.
     *
     * @param lengths shares of each turn's way that are tried, the longest first: far from the original the second order points the
     *     right way and goes too far
     */
    Outcome fit(List<Double> lengths) {
        double before = divergence();
        double best = before;
        int kept = 0;
        for (Turn turn : TURNS) {
            try (TensorArena scratch = device.arena()) {
                Tensor weights = joined(turn.side(), scratch);
                Tensor kept0 = scratch.matrix(DType.F32, weights.rows(), weights.columns());
                device.matrix().copy(weights, kept0);
                solve(turn, weights);
                double found = firstBetter(turn.side(), kept0, weights, lengths, best);
                device.synchronize();
                if (!(found < best)) {
                    break;
                }
                best = found;
                kept++;
            }
        }
        return new Outcome(before, best, kept);
    }

    /** Leaves the weights at the longest share of the way that helps, or where they were; returns the divergence there. */
    private double firstBetter(Side side, Tensor from, Tensor to, List<Double> lengths, double best) {
        try (TensorArena scratch = device.arena()) {
            Tensor between = scratch.matrix(DType.F32, from.rows(), from.columns());
            for (double length : lengths) {
                device.matrix().copy(from, between);
                vectors.combine(length, to, 1 - length, between);
                separate(side, between);
                double found = divergence();
                if (found < best) {
                    return found;
                }
            }
            separate(side, from);
            device.synchronize();
            return best;
        }
    }

    /** Weight and bias side by side. */
    private Tensor joined(Side side, TensorArena scratch) {
        Tensor weight = side == Side.QUERIES ? converted.parts().query() : converted.parts().key();
        Tensor joined = scratch.matrix(DType.F32, weight.rows(), inputWidth());
        device.matrix().copy(weight, joined.columns(0, weight.columns()));
        Tensor bias = bias(side);
        if (bias != null) {
            copies.upload(copies.download(bias).transposed(), joined.columns(weight.columns(), 1));
        }
        return joined;
    }

    private @Nullable Tensor bias(Side side) {
        return side == Side.QUERIES ? converted.parts().queryBias() : converted.parts().keyBias();
    }

    private void separate(Side side, Tensor joined) {
        Tensor weight = side == Side.QUERIES ? converted.parts().query() : converted.parts().key();
        device.matrix().copy(joined.columns(0, weight.columns()), weight);
        Tensor bias = bias(side);
        if (bias != null) {
            copies.upload(copies.download(joined.columns(weight.columns(), 1)).transposed(), bias);
        }
    }

    private double divergence() {
        AttentionShape shape = original.shape();
        try (TensorArena scratch = device.arena();
                AttentionDivergence judge = new AttentionDivergence(device, original.unshared())) {
            Scores found = scores(heldOut.inputs(), scratch);
            float[] slopes = converted.slopesOnHost(copies);
            double sum = judge.sum(
                    new AttentionDivergence.Side(heldOut.original().queries(), heldOut.original().keys(),
                            shape.kvHeads(), original.slopesOnHost(copies)),
                    new AttentionDivergence.Side(found.queries(), found.keys(), converted.shape().kvHeads(), slopes));
            return sum / heldOut.rows() / shape.heads();
        }
    }

    /** Queries and shared keys of the current converted layer. */
    private Scores scores(Tensor inputs, TensorArena scratch) {
        Tensor queries = scratch.matrix(DType.F32, inputs.rows(), converted.parts().query().rows());
        Tensor keys = scratch.matrix(DType.F32, inputs.rows(), converted.parts().key().rows());
        Tensor x = inputs.columns(0, converted.parts().query().columns());
        converted.queries(x, queries);
        converted.keys(x, keys);
        return new Scores(queries, keys);
    }

    private void solve(Turn turn, Tensor weights) {
        try (TensorArena scratch = device.arena()) {
            ScoreTurn fixed = new ScoreTurn(original, converted, biases, train, batchRows, turn.side(),
                    scores(train.inputs(), scratch));
            ScoreMetric metric = fixed.metric(inputs(), scratch);
            Tensor wanted = scratch.matrix(DType.F32, weights.rows(), weights.columns());
            fixed.gradient(null, wanted);
            Tensor held = scratch.matrix(DType.F32, weights.rows(), weights.columns());
            metric.apply(weights, held);
            vectors.combine(PROXIMAL, held, -1, wanted);
            new ConjugateGradients(vectors, (direction, image) -> {
                fixed.gradient(direction, image);
                metric.apply(direction, held);
                vectors.combine(PROXIMAL, held, 1, image);
            }, metric::solve).solve(wanted, weights, turn.steps());
            device.synchronize();
        }
    }

    /** E[x x^T], the same in every turn. */
    private ScoreMetric.Factor inputs() {
        ScoreMetric.Factor known = inputs;
        if (known == null) {
            try (TensorArena scratch = device.arena()) {
                Tensor moments = scratch.matrix(DType.F32, inputWidth(), inputWidth());
                device.matrix().gemm(1f / train.rows(), train.inputs(), true, train.inputs(), false, 0, moments);
                known = ScoreMetric.Factor.lifted(device, moments, LIFT_INPUTS, arena);
            }
            inputs = known;
        }
        return known;
    }

    @Override
    public void close() {
        arena.close();
    }
}
