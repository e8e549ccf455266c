package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.integers;
import static dev.optgptq.kernels.contract.Values.normal;
import static dev.optgptq.kernels.contract.Values.uniform;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.TuningOps.AdamStep;
import dev.optgptq.kernels.ops.TuningOps.LatentGrid;
import java.util.ArrayList;
import java.util.List;

/** The cases of TuningOps. Codes and weights compare exactly, sums and the optimizer within roundings. */
final class TuningCases {

    private static final long[] OUTPUTS = {1, 15, 64, 65, 130};
    private static final int GROUPS = 3;

    private TuningCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (int bits : new int[] {2, 3, 4, 8}) {
            for (long outputs : OUTPUTS) {
                cases.addAll(latents(bits, 33, outputs, normal(1 << (bits - 1)), "ordinary"));
            }
            cases.addAll(latents(bits, 20, 70, Values.of(-300, 300, -1.5, -0.5, 0.5, 1.5, 2.5, 0), "cut off and ties"));
            cases.addAll(latents(bits, 0, 4, normal(1), "no inputs"));
            cases.addAll(latents(bits, 700, 7, normal(3), "many inputs"));
        }
        for (long columns : OUTPUTS) {
            for (int t : new int[] {1, 2, 1000}) {
                cases.add(adam(t, 3, columns, normal(1), true));
            }
            cases.add(adam(1, 3, columns, normal(1e-6), false));
        }
        cases.add(adam(5, 2, 9, Values.constant(0), false));
        cases.add(adam(5, 0, 9, normal(1), false));
        return cases;
    }

    /** TinyLlama's up projection. */
    static List<OpCase> bench() {
        double weights = 2048.0 * 5632;
        List<OpCase> cases = new ArrayList<>();
        for (OpCase latent : latents(4, 2048, 5632, normal(4), "ordinary")) {
            cases.add(latent.bytes(weights * (latent.op().equals("latentGradient") ? 12 : 8)));
        }
        cases.add(adam(3, 2048, 5632, normal(1), false).bytes(weights * 4 * 7));
        return cases;
    }

    private static List<OpCase> latents(int bits, long inputs, long outputs, Values latents, String label) {
        return List.of(latent(bits, inputs, outputs, label), roundLatent(bits, inputs, outputs, latents, label),
                latentCodes(bits, inputs, outputs, latents, label),
                latentGradient(bits, inputs, outputs, latents, label));
    }

    private static int maxCode(int bits) {
        return (1 << bits) - 1;
    }

    /** Scales of either sign, as the search gives them. */
    private static OpCase.Builder grid(String op, int bits, long inputs, long outputs, String label) {
        return op(op, bits + " bits [" + inputs + ", " + outputs + "] " + label)
                .input("scales", DType.F32, GROUPS, outputs,
                        Values.byIndex((g, o) -> (o % 2 == 0 ? 1 : -1) * (0.1 + g)))
                .input("zeros", DType.I32, GROUPS, outputs, integers(0, maxCode(bits)))
                .input("groups", DType.I32, 1, inputs, integers(0, GROUPS - 1));
    }

    private static LatentGrid grid(int bits, OpCase.Operands at) {
        return new LatentGrid(maxCode(bits), at.get("scales"), at.get("zeros"), at.get("groups"));
    }

    private static OpCase latent(int bits, long inputs, long outputs, String label) {
        return grid("latent", bits, inputs, outputs, label).input("w", DType.F32, inputs, outputs, normal(1))
                .input("codes", DType.U8, inputs, outputs, integers(0, maxCode(bits)))
                .output("latent", DType.F32, inputs, outputs, Tolerance.EXACT)
                .call((device, at) -> device.tuning().latent(grid(bits, at), at.get("w"), at.get("codes"),
                        at.get("latent")));
    }

    private static OpCase roundLatent(int bits, long inputs, long outputs, Values latents, String label) {
        return grid("roundLatent", bits, inputs, outputs, label).input("latent", DType.F32, inputs, outputs, latents)
                .output("w", DType.F32, inputs, outputs, Tolerance.EXACT)
                .call((device, at) -> device.tuning().roundLatent(grid(bits, at), at.get("latent"), at.get("w")));
    }

    private static OpCase latentCodes(int bits, long inputs, long outputs, Values latents, String label) {
        return grid("latentCodes", bits, inputs, outputs, label).input("latent", DType.F32, inputs, outputs, latents)
                .output("codes", DType.U8, inputs, outputs, Tolerance.EXACT)
                .call((device, at) -> device.tuning().latentCodes(grid(bits, at), at.get("latent"), at.get("codes")));
    }

    private static OpCase latentGradient(int bits, long inputs, long outputs, Values latents, String label) {
        Tolerance sum = new Tolerance(Tolerance.sum(inputs).relative(), maxCode(bits));
        return grid("latentGradient", bits, inputs, outputs, label)
                .input("latent", DType.F32, inputs, outputs, latents)
                .inPlace("d", DType.F32, inputs, outputs, normal(1), Tolerance.roundings(1))
                .inPlace("dScales", DType.F32, GROUPS, outputs, normal(1), sum)
                .call((device, at) -> device.tuning().latentGradient(grid(bits, at), at.get("latent"), at.get("d"),
                        at.get("dScales")));
    }

    private static OpCase adam(int t, long rows, long columns, Values gradients, boolean unit) {
        AdamStep step = new AdamStep(0.01f, 0.9f, 0.95f, 1e-8f, t);
        OpCase.Builder builder = op("adam", "step " + t + (unit ? " with unit" : "") + " [" + rows + ", " + columns
                + "]").input("gradient", DType.F32, rows, columns, gradients)
                .inPlace("first", DType.F32, rows, columns, normal(0.1), Tolerance.roundings(3))
                .inPlace("second", DType.F32, rows, columns, uniform(0, 1), Tolerance.roundings(3))
                .inPlace("parameter", DType.F32, rows, columns, normal(1), Tolerance.roundings(8));
        if (unit) {
            builder.input("unit", DType.F32, rows, columns, normal(0.1));
        }
        return builder.call((device, at) -> device.tuning().adam(step, at.get("gradient"), at.get("first"),
                at.get("second"), unit ? at.get("unit") : null, at.get("parameter")));
    }
}
