package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.integers;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.QuantOps.DescentProblem;
import dev.optgptq.kernels.ops.QuantOps.RefitProblem;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.DoubleStream;

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
                cases.add(refitScales(grid, "ordinary", normal(0.1), positive(), 5, 33));
            }
            Grid grid = new Grid(bits, false, false, DType.F16);
            cases.add(descendCodes(grid, "on ties", integers(-3, 3), Values.constant(0.5), 24, 18));
            cases.add(descendCodes(grid, "extremes", EXTREMES, EXTREMES, 16, 20));
            cases.add(descendCodes(grid, "far away", normal(1e3), positive(), 128, 18));
            for (int groupSize : new int[] {1, 8, 37, 64}) {
                cases.add(groupSums(bits, groupSize, 37, 33));
            }
        }
        Grid grid = new Grid(4, true, false, DType.F16);
        for (long outputs : OUTPUTS) {
            cases.add(descendCodes(grid, "ordinary", normal(0.3), positive(), 5, outputs));
            cases.add(refitScales(grid, "ordinary", normal(0.1), positive(), 3, outputs));
            cases.add(groupSums(4, 5, 12, outputs));
        }
        for (long inputs : new long[] {1, 8, 9, 127, 128}) {
            cases.add(descendCodes(grid, "ordinary", normal(0.3), positive(), inputs, 35));
        }
        cases.add(refitScales(grid, "many groups", normal(0.1), positive(), 40, 7));
        cases.add(refitScales(grid, "one group", normal(0.1), positive(), 1, 18));
        cases.add(refitScales(grid, "extremes", EXTREMES, Values.byIndex((row, o) -> o % 3 == 0 ? 1 : 3e38), 4, 20));
        cases.add(refitScales(grid, "no numbers", normal(1), EXTREMES, 4, 20));
        cases.add(refitScales(grid, "flat", normal(1), Values.constant(0), 4, 20));
        cases.add(refitScales(grid, "one group flat", normal(0.1), withoutGroup(3, 1), 3, 20));
        cases.add(refitScales(grid, "scales too large", normal(1e6), positive(), 3, 20));
        cases.add(refitScales(new Grid(4, true, false, DType.F16, true), "positive scales", normal(1), positive(), 3,
                33));
        cases.add(refitScales(grid, "scales of 0", Values.constant(0.0625), Values.constant(1), 1, 20));
        return cases;
    }

    /** A block of TinyLlama's up projection. */
    static List<OpCase> bench() {
        Grid grid = new Grid(4, true, false, DType.F16);
        return List.of(
                descendCodes(grid, "ordinary", normal(0.3), positive(), 128, 5632).flops(128.0 * 128 * 5632),
                groupSums(4, 128, 2048, 5632).bytes(2048.0 * 5632 * 5),
                refitScales(grid, "ordinary", normal(0.1), positive(), 16, 5632).flops(16.0 * 16 * 16 / 3 * 5632));
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

    private static OpCase groupSums(int bits, int groupSize, long inputs, long outputs) {
        long groups = Math.ceilDiv(inputs, (long) groupSize);
        return op("groupSums", bits + " bits, groups of " + groupSize + " [" + inputs + ", " + outputs + "]")
                .input("zeros", DType.I32, groups, outputs, integers(0, (1 << bits) - 1))
                .input("codes", DType.U8, inputs, outputs, integers(0, (1 << bits) - 1))
                .input("values", DType.F32, inputs, outputs, normal(1))
                .output("sums", DType.F32, groups, outputs, Tolerance.EXACT)
                .call((device, at) -> device.quant().groupSums(groupSize, at.get("codes"), at.get("zeros"),
                        at.get("values"), at.get("sums")));
    }

    /** The matrix's element (j, k) is in row k * groups + j, the same for all outputs that have no values of their own. */
    private static Values normalMatrix(int groups, Values elements) {
        return (random, rows, columns) -> {
            var matrix = elements.start(random, groups, groups);
            double[] values = DoubleStream.generate(matrix).limit((long) groups * groups).toArray();
            return Values.byIndex((row, o) -> row / groups < row % groups
                    ? Double.NaN // below the diagonal it may hold anything
                    : values[(int) row] * (1 + o % 4)).start(random, rows, columns);
        };
    }

    /** All codes of a group are its zero point: nothing depends on its scale. */
    private static Values withoutGroup(int groups, int without) {
        return Values.byIndex((j, k) -> j == without || k == without ? 0 : j == k ? 1.5 : 0.4 / groups);
    }

    private static OpCase refitScales(Grid grid, String label, Values slope, Values normal, int groups, long outputs) {
        return op("refitScales", label(grid, label, groups, outputs))
                .inPlace("normal", DType.F32, (long) groups * groups, outputs, normalMatrix(groups, normal),
                        Tolerance.ANYTHING)
                .inPlace("slope", DType.F32, groups, outputs, slope, Tolerance.ANYTHING)
                .inPlace("scales", DType.F32, groups, outputs, scales(), Tolerance.EXACT)
                .call((device, at) -> device.quant().refitScales(
                        new RefitProblem(grid, at.get("normal"), at.get("slope"), at.get("scales"))));
    }
}
