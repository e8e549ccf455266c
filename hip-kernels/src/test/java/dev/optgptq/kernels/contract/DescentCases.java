package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.integers;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Grid;
import dev.optgptq.kernels.QuantOps.DescentProblem;
import dev.optgptq.kernels.QuantOps.RefitProblem;
import java.util.ArrayList;
import java.util.List;

/** The cases of the ops that lower the error of a solution. They decide codes and scales, so every comparison is exact. */
final class DescentCases {

    private static final long[] OUTPUTS = {1, 15, 64, 65, 130};
    private static final int GROUPS = 3;

    /** What overflows, divides by 0 and is no number, beside ordinary elements. */
    private static final Values EXTREMES = Values.of(0.3, Double.NaN, -0.2, Double.POSITIVE_INFINITY, 0, 3e38, -3e38);

    private DescentCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (int bits : new int[] {2, 3, 4, 8}) {
            for (DType scaleType : new DType[] {DType.F16, DType.BF16, DType.F32}) {
                Grid grid = new Grid(bits, true, false, scaleType);
                cases.add(descendCodes(grid, "ordinary", normal(0.3), positive(), 37, 33));
                cases.add(refitScales(grid, "ordinary", normal(0.3), Values.integers(1, 9), 37, 33));
            }
            Grid grid = new Grid(bits, false, false, DType.F16);
            cases.add(descendCodes(grid, "on ties", integers(-3, 3), Values.constant(0.5), 24, 18));
            cases.add(descendCodes(grid, "extremes", EXTREMES, EXTREMES, 16, 20));
            cases.add(descendCodes(grid, "far away", normal(1e3), positive(), 128, 18));
            cases.add(refitScales(grid, "extremes", EXTREMES, EXTREMES, 16, 20));
            cases.add(refitScales(grid, "flat", normal(0.3), Values.constant(0), 16, 20));
            cases.add(refitScales(grid, "huge scales", normal(1e6), Values.constant(1e-3), 16, 20));
        }
        Grid grid = new Grid(4, true, false, DType.F16);
        for (long outputs : OUTPUTS) {
            cases.add(descendCodes(grid, "ordinary", normal(0.3), positive(), 5, outputs));
            cases.add(refitScales(grid, "ordinary", normal(0.3), normal(1), 5, outputs));
        }
        for (long inputs : new long[] {1, 8, 9, 127, 128}) {
            cases.add(descendCodes(grid, "ordinary", normal(0.3), positive(), inputs, 35));
        }
        cases.add(refitScales(grid, "many inputs", normal(0.3), normal(1), 700, 7));
        return cases;
    }

    /** A block of TinyLlama's up projection. */
    static List<OpCase> bench() {
        Grid grid = new Grid(4, true, false, DType.F16);
        return List.of(
                descendCodes(grid, "ordinary", normal(0.3), positive(), 128, 5632).flops(128.0 * 128 * 5632),
                refitScales(grid, "ordinary", normal(0.3), normal(1), 128, 5632).bytes(128.0 * 5632 * 18));
    }

    /** A diagonal that outweighs its rows' beginnings. */
    private static Values positive() {
        return Values.byIndex((i, j) -> i == j ? 1.5 : 0.4 / (1 + Math.abs(j - i)));
    }

    private static String label(Grid grid, String rest, long inputs, long outputs) {
        return grid.bits() + " bits " + grid.scaleType() + " " + rest + " [" + inputs + ", " + outputs + "]";
    }

    /** Scales of either sign, as the search gives them. */
    private static Values scales() {
        return Values.byIndex((g, o) -> (o % 2 == 0 ? 1 : -1) * (0.0625 + g / 8.0));
    }

    private static OpCase descendCodes(Grid grid, String label, Values gradient, Values matrix, long inputs,
            long outputs) {
        return op("descendCodes", label(grid, label, inputs, outputs))
                .input("h", DType.F32, inputs, inputs, upper(matrix))
                .input("gradient", DType.F32, inputs, outputs, gradient)
                .input("scales", DType.F32, GROUPS, outputs, scales())
                .input("zeros", DType.I32, GROUPS, outputs, integers(0, grid.maxCode()))
                .input("groups", DType.I32, 1, inputs, integers(0, GROUPS - 1))
                .inPlace("codes", DType.U8, inputs, outputs, integers(0, grid.maxCode()), Tolerance.EXACT)
                .inPlace("errors", DType.F32, inputs, outputs, normal(0.05), Tolerance.EXACT)
                .call((device, at) -> device.quant().descendCodes(new DescentProblem(grid, at.get("h"),
                        at.get("gradient"), at.get("scales"), at.get("zeros"), at.get("groups"), at.get("codes"),
                        at.get("errors"))));
    }

    /** Below the diagonal it may hold anything. */
    private static Values upper(Values matrix) {
        return (random, rows, columns) -> {
            var elements = matrix.start(random, rows, columns);
            long[] next = {0};
            return () -> {
                long index = next[0]++;
                double element = elements.getAsDouble();
                return index / columns > index % columns ? Double.NaN : element;
            };
        };
    }

    private static OpCase refitScales(Grid grid, String label, Values gradient, Values curvature, long inputs,
            long outputs) {
        return op("refitScales", label(grid, label, inputs, outputs))
                .input("zeros", DType.I32, 1, outputs, integers(0, grid.maxCode()))
                .input("codes", DType.U8, inputs, outputs, integers(0, grid.maxCode()))
                .input("gradient", DType.F32, inputs, outputs, gradient)
                .input("curvature", DType.F32, inputs, outputs, curvature)
                .inPlace("scales", DType.F32, 1, outputs, scales(), Tolerance.EXACT)
                .inPlace("errors", DType.F32, inputs, outputs, normal(0.05), Tolerance.EXACT)
                .call((device, at) -> device.quant().refitScales(new RefitProblem(grid, at.get("codes"),
                        at.get("zeros"), at.get("gradient"), at.get("curvature"), at.get("scales"),
                        at.get("errors"))));
    }
}
