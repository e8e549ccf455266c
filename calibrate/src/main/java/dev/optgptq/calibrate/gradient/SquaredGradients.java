package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.OutputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Adds up each token's squared gradients over the outputs of the linears of a site, as the mean of them. */
final class SquaredGradients implements GradientStream.Listener {

    private final ModelSpec spec;
    private final Device device;
    private final Sums sums;

    /** Where they are kept. */
    @FunctionalInterface
    interface Sums {
        /** F32 [1, tokens], of a block's site; experts of a layer share it. */
        MemorySegment of(int block, InputSite site);
    }

    SquaredGradients(Transformer model, Sums sums) {
        this.spec = model.spec();
        this.device = model.device();
        this.sums = sums;
    }

    @Override
    public void loss(long firstToken, Tensor nll) {
        // only its gradient is wanted
    }

    @Override
    public OutputTap tap(int block, long firstToken) {
        Map<InputSite, Integer> outputs = new HashMap<>();
        spec.linears(block).forEach(linear -> outputs.merge(linear.site(), linear.outputs(), Integer::sum));
        return (linear, dOutput, passing) -> {
            int all = outputs.getOrDefault(linear.site(), linear.outputs());
            try (TensorArena arena = device.arena()) {
                Tensor squares = arena.vector(DType.F32, dOutput.rows());
                device.matrix().fill(squares, 0);
                device.gradient().addSquares(1f / all, dOutput, squares);
                add(HostVectors.floats(device, squares), sums.of(block, linear.site()), firstToken,
                        passing == null ? null : HostVectors.ints(device, passing));
            }
        };
    }

    private static void add(float[] found, MemorySegment target, long firstToken, int @Nullable [] passing) {
        for (int i = 0; i < found.length; i++) {
            long token = firstToken + (passing == null ? i : passing[i]);
            float sum = target.getAtIndex(ValueLayout.JAVA_FLOAT, token) + found[i];
            target.setAtIndex(ValueLayout.JAVA_FLOAT, token, sum);
        }
    }
}
