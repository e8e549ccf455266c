package dev.optgptq.gptq.verify;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Locale;
import java.util.Optional;

/**
 * How far weights are from the original's, in steps of their quantization: the root mean square over a linear. Rounding to nearest has
 * 0.29; GPTQ, which rounds up or down as the output wants it, about 0.4, and more at 2 bits, where searched scales cut the largest
 * weights. A zero point that is off by one adds a whole step.
 *
 * @param module the linear that is furthest
 */
record WeightDistance(String module, double steps) {

    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED
            .withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final double MOST = 1;

    /** Throws UserError NUMERIC for a linear beyond a step, BAD_MODEL for models of different shapes. */
    static WeightDistance worst(Transformer original, Transformer quantized, ModelDirectory packed) {
        if (original.spec().blocks() != quantized.spec().blocks()) {
            throw new UserError(Code.BAD_MODEL,
                    "expected " + original.spec().blocks() + " blocks as in " + original.path()
                            + ", found " + quantized.spec().blocks() + "; the original is another model");
        }
        WeightDistance worst = new WeightDistance("no layer", 0);
        for (int block = 0; block < quantized.spec().blocks(); block++) {
            try (TensorArena arena = quantized.device().arena()) {
                BlockWeights before = original.streamBlock(block, arena);
                BlockWeights after = quantized.streamBlock(block, arena);
                for (LinearSpec linear : after.linears()) {
                    Optional<PackedLinear> found = packed.packed(linear.module());
                    if (found.isPresent()) {
                        WeightDistance distance = of(linear, before, after, found.get(), quantized.device());
                        worst = distance.steps > worst.steps ? distance : worst;
                    }
                }
            }
        }
        return worst;
    }

    private static WeightDistance of(LinearSpec linear, BlockWeights before, BlockWeights after, PackedLinear packed,
            Device device) {
        LinearSpec same = before.linears().stream()
                .filter(other -> other.module().equals(linear.module()) && other.inputs() == linear.inputs()
                        && other.outputs() == linear.outputs())
                .findFirst()
                .orElseThrow(() -> new UserError(Code.BAD_MODEL, linear.module() + ": expected [" + linear.outputs()
                        + ", " + linear.inputs()
                        + "] in the original, found no such layer; the original is another model"));
        float[] original = HostVectors.floats(device, before.weight(same));
        float[] decoded = HostVectors.floats(device, after.weight(linear));
        double sum = 0;
        long counted = 0;
        for (int output = 0; output < linear.outputs(); output++) {
            for (int input = 0; input < linear.inputs(); input++) {
                long group = packed.gIdx().get(INT, 4L * input);
                float step = Math
                        .abs(Floats.fromF16(packed.scales().get(SHORT, 2 * (group * linear.outputs() + output))));
                int at = output * linear.inputs() + input;
                double off = (decoded[at] - original[at]) / (double) step;
                if (step > 0) {
                    sum += off * off;
                    counted++;
                }
            }
        }
        double steps = counted == 0 ? 0 : Math.sqrt(sum / counted);
        if (!(steps <= MOST)) {
            throw new UserError(Code.NUMERIC, String.format(Locale.ROOT,
                    "%s: expected weights within a step of the original's (root mean square), found %.3g steps; zero points, groups or "
                            + "scales are not this model's",
                    linear.module(), steps));
        }
        return new WeightDistance(linear.module(), steps);
    }

    String detail() {
        return String.format(Locale.ROOT, "within %.3f of a step of the original (root mean square), at most: %s",
                steps, module);
    }
}
