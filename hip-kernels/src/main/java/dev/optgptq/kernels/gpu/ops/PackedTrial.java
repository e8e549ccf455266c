package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.ops.QuantOps.PackedWeights;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Whether packed linears on the matrix units are right on a GPU: a small layer beside the plain kernels, once for each width of codes.
 */
final class PackedTrial {

    /** Outputs that fill no tile, and inputs of which several blocks take a share. */
    private static final int OUTPUTS = 200;
    private static final int INPUTS = 1152;
    private static final int GROUP_SIZE = 128;
    /** One tile of rows, two, and of packed_many.hip half a block and more than one. */
    private static final int[] ROWS = {3, 9, 30, 70};
    /** Of the largest output: dequantized weights are rounded to F16. */
    private static final float TOLERANCE = 0x1p-7f;

    private final GpuContext context;
    private final Multiply units;
    private final Multiply plain;
    private final TriedKernels<Integer> tried;

    /** y = x W^T. */
    @FunctionalInterface
    interface Multiply {
        void run(PackedWeights weights, Tensor x, Tensor y);
    }

    /**
     * @param units what is tried, for F16
     * @param plain what it must agree with
     */
    PackedTrial(GpuContext context, Multiply units, Multiply plain) {
        this.context = context;
        this.units = units;
        this.plain = plain;
        this.tried = new TriedKernels<>(context, bits -> "packed linears of " + bits + " bits on the matrix units are");
    }

    boolean passes(int bits) {
        return tried.areRight(bits, () -> agrees(bits));
    }

    private boolean agrees(int bits) {
        try (TensorArena arena = context.arena(); Arena host = Arena.ofConfined()) {
            Agreement agreement = new Agreement(context);
            int groups = INPUTS / GROUP_SIZE;
            Tensor qweight = arena.matrix(DType.I32, (long) INPUTS * bits / 32, OUTPUTS);
            Tensor qzeros = arena.matrix(DType.I32, groups, (long) OUTPUTS * bits / 32);
            Tensor scales = arena.matrix(DType.F16, groups, OUTPUTS);
            Tensor groupOf = arena.vector(DType.I32, INPUTS);
            words(host, qweight);
            words(host, qzeros);
            agreement.fill(scales, 0.01f, 0.001f);
            MemorySegment order = host.allocate(ValueLayout.JAVA_INT, INPUTS);
            for (int i = 0; i < INPUTS; i++) {
                order.setAtIndex(ValueLayout.JAVA_INT, i, i / GROUP_SIZE);
            }
            context.upload(order, groupOf);
            PackedWeights weights = new PackedWeights(bits, 1, qweight, qzeros, scales, groupOf, GROUP_SIZE);
            for (int rows : ROWS) {
                Tensor x = arena.matrix(DType.F16, rows, INPUTS);
                agreement.fill(x);
                Tensor found = arena.matrix(DType.F32, rows, OUTPUTS);
                Tensor expected = arena.matrix(DType.F32, rows, OUTPUTS);
                units.run(weights, x, found);
                plain.run(weights, x, expected);
                if (!agreement.isClose(found, expected, TOLERANCE)) {
                    return false;
                }
            }
            return true;
        }
    }

    private void words(Arena host, Tensor target) {
        MemorySegment words = host.allocate(ValueLayout.JAVA_INT, target.elements());
        for (long i = 0; i < target.elements(); i++) {
            words.setAtIndex(ValueLayout.JAVA_INT, i, (int) ((i * 0x9E3779B97F4A7C15L) >>> 32));
        }
        context.upload(words, target);
    }
}
