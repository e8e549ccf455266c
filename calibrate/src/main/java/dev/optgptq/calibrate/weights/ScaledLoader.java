package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.scaled.Fp8Tensor;
import dev.optgptq.formats.scaled.Mxfp4Tensor;
import dev.optgptq.formats.scaled.ScaledTensor;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Brings weights that are small floats with scales to a device. They are decoded on the host, some megabytes at a time.
 *
 * @param products dtype of what the linears multiply
 */
record ScaledLoader(Device device, DType products) {

    private static final long PIECE_BYTES = 4L << 20;

    /** @param weight [outputs, inputs], written, not looked at */
    void load(LinearSpec linear, ScaledTensor scaled, Tensor weight) {
        if (!isTurned(linear, scaled)) {
            decode(scaled, (long) linear.view().index() * linear.outputs(), weight);
            return;
        }
        try (TensorArena scratch = device.arena()) {
            Tensor turned = scratch.matrix(products, linear.inputs(), linear.outputs());
            decode(scaled, (long) linear.view().index() * linear.inputs(), turned);
            device.matrix().transpose(turned, weight);
        }
    }

    /** Whether it lies as [in, out]. */
    static boolean isTurned(LinearSpec linear, ScaledTensor scaled) {
        return switch (scaled) {
            case Fp8Tensor fp8 -> linear.view().stored() == WeightView.Stored.IN_OUT;
            // Its blocks run along the inputs, whichever way round the plain tensor lies.
            case Mxfp4Tensor mxfp4 -> false;
        };
    }

    /** Some rows, from the first on, into the dtype of the target. */
    private void decode(ScaledTensor scaled, long first, Tensor target) {
        long rowBytes = target.columns() * Float.BYTES;
        int step = (int) Math.clamp(PIECE_BYTES / rowBytes, 1, target.rows());
        try (TensorArena scratch = device.arena(); Arena host = Arena.ofConfined()) {
            MemorySegment piece = host.allocate(step * rowBytes, Float.BYTES);
            Tensor buffer = scratch.matrix(DType.F32, step, target.columns());
            for (long row = 0; row < target.rows(); row += step) {
                int rows = (int) Math.min(step, target.rows() - row);
                scaled.decode(first + row, rows, piece);
                Tensor there = buffer.rows(0, rows);
                device.upload(piece.asSlice(0, rows * rowBytes), there);
                device.neural().convert(there, target.rows(row, rows));
            }
        }
    }
}
