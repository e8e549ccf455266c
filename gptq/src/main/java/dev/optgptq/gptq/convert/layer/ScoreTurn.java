package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.layer.ScoreGradient.Problem;
import dev.optgptq.gptq.convert.layer.ScoreGradient.Scores;
import dev.optgptq.gptq.convert.layer.ScoreGradient.Side;
import dev.optgptq.gptq.convert.layer.ScoreGradient.Weighing;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.GradientOps.CurvatureWeights;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The least squares of one turn of a score fit: everything but the weights that it is solved for.
 *
 * @param train sequences to fit
 * @param batchRows tokens in a batch, whole sequences
 * @param side that moves
 * @param converging queries and shared keys of the converted layer before the turn
 */
record ScoreTurn(LayerAttention original, LayerAttention converted, BiasErrors biases, ScorePassage train,
        int batchRows, Side side, Scores converging) {

    private static final CurvatureWeights WEIGHTS = new CurvatureWeights(0.5f, 0.45f, 0.05f);
    private static final double LIFT_HEADS = 1e-3;

    private Device device() {
        return original.device();
    }

    /**
     * The gradient of the quadratic for the weights [rows, inputs]: of its homogeneous part at a direction, or, without
     * one, of the whole at 0.
     */
    void gradient(@Nullable Tensor direction, Tensor into) {
        device().matrix().fill(into, 0);
        for (long row = 0; row < train.rows(); row += batchRows) {
            long n = Math.min(batchRows, train.rows() - row);
            try (TensorArena scratch = device().arena()) {
                batch(row, n, direction, into, scratch);
                device().synchronize();
            }
        }
    }

    private void batch(long row, long n, @Nullable Tensor direction, Tensor into, TensorArena scratch) {
        ScorePassage passage = train.rows(row, n);
        Scores ofConverted = new Scores(converging.queries().rows(row, n), converging.keys().rows(row, n));
        Scores errors = direction == null
                ? biases.beside(passage.original(), original.shape(), scratch)
                : errors(passage, direction, ofConverted, scratch);
        float factor = (direction == null ? -1 : 1) * original.shape().scale() / train.rows();
        Tensor found = scratch.matrix(DType.F32, n, converging.queries().columns());
        Problem problem = new Problem(side, new Weighing(passage.original(), original.slopes()),
                new Weighing(ofConverted, converted.slopes()), WEIGHTS, errors, ofConverted);
        new ScoreGradient(device(), original.shape()).run(problem, factor, found);
        Tensor own = side == Side.QUERIES ? found : SharedHeads.sum(device(), converted.shape(), found, scratch);
        converted.rotateBack(own);
        device().matrix().gemm(1, own, true, passage.inputs(), false, 1, into);
    }

    private Scores errors(ScorePassage passage, Tensor direction, Scores ofConverted, TensorArena scratch) {
        Tensor moved = scratch.matrix(DType.F32, passage.rows(), direction.rows());
        device().matrix().linear(passage.inputs(), direction, null, 0, moved);
        converted.rotate(moved);
        return side == Side.QUERIES
                ? new Scores(moved, ofConverted.keys())
                : new Scores(ofConverted.queries(), moved);
    }

    /** E[f f^T] of the side that is carried, per row of heads of the weights, and E[x x^T]. */
    ScoreMetric metric(ScoreMetric.Factor inputs, TensorArena owner) {
        int d = original.headDim();
        int heads = converted.shape().heads();
        int kvHeads = converted.shape().kvHeads();
        int blocks = side == Side.QUERIES ? heads : kvHeads;
        double scale = original.shape().scale();
        List<ScoreMetric.Factor> left = new ArrayList<>();
        try (TensorArena scratch = device().arena()) {
            Tensor moments = scratch.matrix(DType.F32, d, d);
            for (int block = 0; block < blocks; block++) {
                device().matrix().fill(moments, 0);
                for (int head = 0; head < heads; head++) {
                    boolean mine = side == Side.QUERIES ? head == block : head / (heads / kvHeads) == block;
                    if (mine) {
                        Tensor carried = side == Side.QUERIES
                                ? converging.keys().columns((long) (head / (heads / kvHeads)) * d, d)
                                : converging.queries().columns((long) head * d, d);
                        device().matrix().gemm((float) (scale * scale / train.rows()), carried, true, carried, false,
                                1, moments);
                    }
                }
                left.add(ScoreMetric.Factor.lifted(device(), moments, LIFT_HEADS, owner));
            }
        }
        return new ScoreMetric(device(), left, inputs);
    }
}
