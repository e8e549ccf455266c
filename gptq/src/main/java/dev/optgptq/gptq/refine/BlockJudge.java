package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.gradient.Saliency;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ranks.Ranks;
import org.jspecify.annotations.Nullable;

/**
 * Measures a block on the held-out sequences: sum_t s_t |y~_t - y_t|^2 / sum_t s_t |y_t|^2, y~ being its output from the
 * quantized stream, y that of the original block from the original stream, and s the loss's squared gradient at the
 * block's output, or 1.
 */
final class BlockJudge implements AutoCloseable {

    private final Transformer model;
    private final Device device;
    private final Streams streams;
    private final Phases phases;
    private final TensorArena arena;
    private final @Nullable Tensor factors;
    private final double energy;
    private final Ranks ranks;

    /** The original stream is at the block's output, the quantized stream at its input. */
    BlockJudge(Replicas models, int block, Streams streams, @Nullable Saliency saliency, Phases phases) {
        this.model = models.first();
        this.ranks = models.crew().ranks();
        this.device = model.device();
        this.streams = streams;
        this.phases = phases;
        this.arena = device.arena();
        this.factors = saliency == null ? null : saliency.outputFactors(block, device, arena);
        this.energy = eachBatch((first, y) -> {
            streams.readOriginal(device, first, y);
            return squares(first, y);
        });
    }

    /** The error of the block with these weights, relative to its output: on every rank that which the first one finds. */
    double error(BlockWeights weights) {
        phases.enter("validate");
        try (TensorArena scratch = device.arena()) {
            Transformer.Workspace workspace = model.workspace(scratch, streams.batchRows(), streams.sequenceLength());
            Tensor expected = scratch.matrix(DType.F32, streams.batchRows(), model.spec().hiddenSize());
            double error = eachBatch((first, y) -> {
                streams.quantized().read(device, first, y);
                model.forward(weights, y, workspace, InputTap.NONE);
                streams.readOriginal(device, first, expected.rows(0, y.rows()));
                device.matrix().subtract(y, expected.rows(0, y.rows()), y);
                phases.forward(y.rows());
                return squares(first, y);
            });
            double found = energy > 0 ? error / energy : error;
            return Double.longBitsToDouble(ranks.broadcast(0, Double.doubleToRawLongBits(found))[0]);
        }
    }

    private interface Batch {
        double run(long first, Tensor y);
    }

    private double eachBatch(Batch batch) {
        double[] sum = {0};
        try (TensorArena scratch = device.arena()) {
            Tensor buffer = scratch.matrix(DType.F32, streams.batchRows(), model.spec().hiddenSize());
            streams.partition().eachBatch(streams.partition().heldOut(0),
                    (first, count) -> sum[0] += batch.run(first, buffer.rows(0, count)));
        }
        return sum[0];
    }

    /** sum_t s_t |y_t|^2. */
    private double squares(long first, Tensor y) {
        try (TensorArena scratch = device.arena()) {
            Tensor scaled = y;
            if (factors != null) {
                scaled = scratch.matrix(DType.F32, y.rows(), y.columns());
                device.gradient().scaleRows(y, factors.columns(first, y.rows()), scaled);
            }
            Tensor sum = scratch.vector(DType.F64, 1);
            device.matrix().dot(scaled, scaled, sum);
            return HostVectors.doubles(device, sum)[0];
        }
    }

    @Override
    public void close() {
        arena.close();
    }
}
