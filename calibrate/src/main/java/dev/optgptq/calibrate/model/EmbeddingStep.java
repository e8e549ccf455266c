package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.weights.EmbeddingWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Token ids to the residual stream: look up, project, scale, add positions, normalise. */
record EmbeddingStep(Device device, NormStep norms) {

    /**
     * Writes the stream.
     *
     * @param ids I32 [1, N], each in the vocabulary
     * @param sequenceLength T: row r has position r % T
     * @param x F32 [N, hidden], written
     */
    void forward(EmbeddingWeights weights, Tensor ids, int sequenceLength, Tensor x) {
        if (weights.isPlain()) {
            device.neural().embed(ids, weights.table(), x);
            return;
        }
        try (TensorArena scratch = device.arena()) {
            forward(weights, ids, positions(weights, x.rows(), sequenceLength, scratch), x);
        }
    }

    /** The same with each row's index in the table of positions, I32 [1, N]; not read without a table. */
    void forward(EmbeddingWeights weights, Tensor ids, @Nullable Tensor positionRows, Tensor x) {
        if (weights.isPlain()) {
            device.neural().embed(ids, weights.table(), x);
            return;
        }
        try (TensorArena scratch = device.arena()) {
            Tensor sum = beforeNorm(weights, ids, positionRows, x, scratch);
            if (weights.norm() != null) {
                norms.forward(weights.norm(), sum, x);
            }
            // Scratch memory must outlive the ops that read it.
            device.synchronize();
        }
    }

    /** In x, or beside it where a norm follows. */
    private Tensor beforeNorm(EmbeddingWeights weights, Tensor ids, @Nullable Tensor positionRows, Tensor x,
            TensorArena scratch) {
        EmbeddingSpec spec = weights.spec();
        Tensor sum = weights.norm() == null ? x : scratch.matrix(DType.F32, x.rows(), x.columns());
        if (weights.projection() == null) {
            device.neural().embed(ids, weights.table(), sum);
        } else {
            Tensor rows = scratch.matrix(DType.F32, x.rows(), spec.width());
            device.neural().embed(ids, weights.table(), rows);
            device.matrix().linear(rows, weights.projection().weight(), null, 0, sum);
        }
        if (spec.scale() != 1) {
            device.neural().scale(sum, spec.scale());
        }
        if (weights.positions() != null) {
            Tensor learned = scratch.matrix(DType.F32, x.rows(), x.columns());
            device.neural().embed(Objects.requireNonNull(positionRows), weights.positions(), learned);
            device.neural().add(sum, learned);
        }
        return sum;
    }

    /** The row of the table of positions for each token: I32 [1, N]; null where there is no table. */
    private @Nullable Tensor positions(EmbeddingWeights weights, long rows, int sequenceLength, TensorArena scratch) {
        if (weights.positions() == null) {
            return null;
        }
        int first = Objects.requireNonNull(weights.spec().positions()).offset();
        int[] positions = new int[Math.toIntExact(rows)];
        for (int i = 0; i < positions.length; i++) {
            positions[i] = first + i % sequenceLength;
        }
        Tensor tensor = scratch.vector(DType.I32, rows);
        try (Arena host = Arena.ofShared()) {
            device.upload(host.allocateFrom(ValueLayout.JAVA_INT, positions), tensor);
            device.synchronize();
        }
        return tensor;
    }

    /**
     * Adds to the gradients of the embedding's parameters.
     *
     * @param d F32 [N, hidden], the gradient for the stream; left as it is
     */
    void backward(EmbeddingWeights weights, Tensor ids, int sequenceLength, Tensor d, EmbeddingWeights into) {
        EmbeddingSpec spec = weights.spec();
        try (TensorArena scratch = device.arena()) {
            Tensor dSum = scratch.matrix(DType.F32, d.rows(), d.columns());
            if (weights.norm() == null) {
                device.matrix().copy(d, dSum);
            } else {
                Tensor x = scratch.matrix(DType.F32, d.rows(), d.columns());
                device.matrix().fill(dSum, 0);
                norms.backward(weights.norm(),
                        beforeNorm(weights, ids, positions(weights, d.rows(), sequenceLength, scratch), x, scratch), d,
                        dSum,
                        into.norm());
            }
            if (into.positions() != null) {
                device.gradient().embedGradient(
                        Objects.requireNonNull(positions(weights, d.rows(), sequenceLength, scratch)), dSum,
                        into.positions());
            }
            if (spec.scale() != 1) {
                device.neural().scale(dSum, spec.scale());
            }
            device.gradient().embedGradient(ids, throughProjection(weights, ids, dSum, into, scratch), into.table());
            device.synchronize();
        }
    }

    private Tensor throughProjection(EmbeddingWeights weights, Tensor ids, Tensor dSum, EmbeddingWeights into,
            TensorArena scratch) {
        if (weights.projection() == null || into.projection() == null) {
            return dSum;
        }
        Tensor rows = scratch.matrix(DType.F32, dSum.rows(), weights.spec().width());
        device.neural().embed(ids, weights.table(), rows);
        device.matrix().gemm(1, dSum, true, rows, false, 1, into.projection().weight());
        device.matrix().gemm(1, dSum, false, weights.projection().weight(), false, 0, rows);
        return rows;
    }
}
