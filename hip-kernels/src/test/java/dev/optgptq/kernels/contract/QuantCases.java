package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.integers;
import static dev.optgptq.kernels.contract.Values.normal;
import static dev.optgptq.kernels.contract.Values.uniform;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.QuantOps.BlockProblem;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/** The cases of QuantOps. Codes must not depend on the device, so every comparison is exact. */
final class QuantCases {

    private static final long[] OUTPUTS = {1, 15, 64, 65, 130};
    private static final DType[] SCALE_TYPES = {DType.F16, DType.BF16, DType.F32};

    /** Weights a group may hold: ordinary, all zero, one not zero, of one sign, too small or too large for a scale. */
    private static final Map<String, Values> WEIGHTS = new TreeMap<>(
            Map.of("ordinary", normal(0.05), "all zero", Values.constant(0),
                    "one not zero", Values.byIndex((i, o) -> i == o % 3 ? 0.3 - o : 0), "negative", uniform(-1, -0.5),
                    "positive",
                    uniform(0.5, 1), "tiny", normal(1e-9), "subnormal", normal(1e-42), "huge", normal(1e6), "largest",
                    Values.of(3.4e38, -3.4e38, 1e38), "ties", integers(-31, 31)));

    private QuantCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (int bits : new int[] {2, 3, 4, 8}) {
            for (boolean symmetric : new boolean[] {true, false}) {
                for (String weights : WEIGHTS.keySet()) {
                    for (DType scaleType : SCALE_TYPES) {
                        cases.add(fitGrid(new Grid(bits, symmetric, false, scaleType), weights, 32, 33));
                    }
                    cases.add(fitGrid(new Grid(bits, symmetric, true, DType.F16), weights, 16, 18));
                    cases.add(searchScale(new Grid(bits, symmetric, false, DType.F16), weights, 16, 18));
                    cases.add(quantize(new Grid(bits, symmetric, false, DType.F16), weights, 20, 70));
                    Grid positive = new Grid(bits, symmetric, false, DType.F16, true);
                    cases.add(fitGrid(positive, weights, 32, 17));
                    cases.add(searchScale(positive, weights, 16, 17));
                }
                for (int fitEvery : new int[] {0, 4, 32, 64}) {
                    Grid grid = new Grid(bits, symmetric, bits == 3 && fitEvery == 32, DType.F16);
                    cases.add(solveBlock(grid, fitEvery, 64, 70));
                    cases.add(solveBlock(grid, fitEvery, 37, 17));
                }
            }
            for (long outputs : OUTPUTS) {
                cases.add(dequantize(bits, 33, outputs));
                cases.add(packCodes(bits, 32, outputs));
            }
            cases.add(packCodes(bits, 96, 192));
            for (int zeroOffset : new int[] {0, 1}) {
                cases.add(dequantizePacked(bits, zeroOffset, 32, 32, 1));
                cases.add(dequantizePacked(bits, zeroOffset, 64, 96, 5));
            }
        }
        for (long outputs : OUTPUTS) {
            cases.add(fitGrid(new Grid(4, true, false, DType.F16), "ordinary", 5, outputs));
            cases.add(searchScale(new Grid(4, true, false, DType.F32), "ordinary", 5, outputs));
            cases.add(solveBlock(new Grid(4, false, false, DType.F16), 0, 3, outputs));
            cases.add(solveBlock(new Grid(4, false, false, DType.F16), 1, 1, outputs));
        }
        // Nothing, less than a thread's piece, just one, pieces that two blocks of threads join.
        cases.addAll(List.of(checksum(0, 5), checksum(3, 33), checksum(1, 256), checksum(2, 511), checksum(601, 130)));
        return cases;
    }

    /** The down projection of wiki-llama-14m (1024 inputs), and TinyLlama's up projection (5632 outputs). */
    static List<OpCase> bench() {
        Grid grid = new Grid(4, true, false, DType.F16);
        Grid search = new Grid(4, true, true, DType.F16);
        double weights = 2048.0 * 5632;
        return List.of(fitGrid(grid, "ordinary", 128, 5632).bytes(128.0 * 5632 * 4),
                fitGrid(search, "ordinary", 128, 384).bytes(128.0 * 384 * 4),
                searchScale(grid, "ordinary", 128, 384).bytes(128.0 * 384 * 4),
                quantize(grid, "ordinary", 2048, 5632).bytes(weights * 5), checksum(2048, 5632).bytes(weights),
                dequantize(4, 2048, 5632).bytes(weights * 5), packCodes(4, 2048, 5632).bytes(weights * 1.5),
                packCodes(3, 2048, 5632).bytes(weights * 1.375),
                dequantizePacked(4, 1, 2048, 5632, 16).bytes(weights * 4.5),
                dequantizePacked(3, 1, 2048, 5632, 16).bytes(weights * 4.375),
                solveBlock(grid, 0, 128, 384).flops(128.0 * 128 * 384),
                solveBlock(grid, 128, 128, 384).flops(128.0 * 128 * 384),
                solveBlock(grid, 0, 128, 5632).flops(128.0 * 128 * 5632));
    }

    private static Values weights(String name) {
        return Objects.requireNonNull(WEIGHTS.get(name), name);
    }

    private static String label(Grid grid, String rest) {
        return grid.bits() + " bits " + (grid.symmetric() ? "symmetric " : "asymmetric ")
                + (grid.clipSearch() ? "clip search " : "") + (grid.positiveScales() ? "positive scales " : "")
                + grid.scaleType() + " " + rest;
    }

    private static OpCase fitGrid(Grid grid, String weights, long inputs, long outputs) {
        return op("fitGrid", label(grid, weights + " w[" + inputs + ", " + outputs + "]"))
                .input("w", DType.F32, inputs, outputs, weights(weights))
                .output("scales", DType.F32, 1, outputs, Tolerance.EXACT)
                .output("zeros", DType.I32, 1, outputs, Tolerance.EXACT).call((device, at) -> device.quant()
                        .fitGrid(grid, at.get("w"), at.get("scales"), at.get("zeros")));
    }

    private static OpCase searchScale(Grid grid, String weights, long inputs, long outputs) {
        return op("searchScale", label(grid, weights + " w[" + inputs + ", " + outputs + "]"))
                .input("w", DType.F32, inputs, outputs, weights(weights))
                .input("importance", DType.F32, 1, inputs, uniform(0, 2))
                .output("scales", DType.F32, 1, outputs, Tolerance.EXACT)
                .output("zeros", DType.I32, 1, outputs, Tolerance.EXACT).call((device, at) -> device.quant()
                        .searchScale(grid, at.get("w"), at.get("importance"), at.get("scales"), at.get("zeros")));
    }

    private static OpCase quantize(Grid grid, String weights, long inputs, long outputs) {
        return op("quantize", label(grid, weights + " w[" + inputs + ", " + outputs + "]"))
                .input("w", DType.F32, inputs, outputs, weights(weights))
                .input("scales", DType.F32, 3, outputs, uniform(0.01, 1))
                .input("zeros", DType.I32, 3, outputs, integers(0, grid.maxCode()))
                .input("groups", DType.I32, 1, inputs, integers(0, 2))
                .output("codes", DType.U8, inputs, outputs, Tolerance.EXACT)
                .call((device, at) -> device.quant().quantize(grid, at.get("w"), at.get("scales"), at.get("zeros"),
                        at.get("groups"), at.get("codes")));
    }

    private static OpCase dequantize(int bits, long inputs, long outputs) {
        return op("dequantize", bits + " bits [" + inputs + ", " + outputs + "]")
                .input("codes", DType.U8, inputs, outputs, integers(0, (1 << bits) - 1))
                .input("scales", DType.F32, 3, outputs, uniform(0.01, 1))
                .input("zeros", DType.I32, 3, outputs, integers(0, (1 << bits) - 1))
                .input("groups", DType.I32, 1, inputs, integers(0, 2))
                .output("w", DType.F32, inputs, outputs, Tolerance.EXACT).call((device, at) -> device.quant()
                        .dequantize(at.get("codes"), at.get("scales"), at.get("zeros"), at.get("groups"), at.get("w")));
    }

    private static OpCase checksum(long inputs, long outputs) {
        return op("checksum", "[" + inputs + ", " + outputs + "]")
                .input("codes", DType.U8, inputs, outputs, integers(0, 255))
                .output("crc", DType.I32, 1, 1, Tolerance.EXACT)
                .call((device, at) -> device.quant().checksum(at.get("codes"), at.get("crc")));
    }

    private static OpCase packCodes(int bits, long inputs, long outputs) {
        return op("packCodes", bits + " bits [" + inputs + ", " + outputs + "]")
                .input("codes", DType.U8, inputs, outputs, integers(0, (1 << bits) - 1))
                .output("qweight", DType.I32, inputs * bits / 32, outputs, Tolerance.EXACT)
                .call((device, at) -> device.quant().packCodes(bits, at.get("codes"), at.get("qweight")));
    }

    private static OpCase dequantizePacked(int bits, int zeroOffset, long inputs, long outputs, int groups) {
        Values anyBits = (random, rows, columns) -> random::nextInt;
        return op("dequantizePacked",
                bits + " bits, zeros + " + zeroOffset + " [" + inputs + ", " + outputs + "] " + groups + " groups")
                .input("qweight", DType.I32, inputs * bits / 32, outputs, anyBits)
                .input("qzeros", DType.I32, groups, outputs * bits / 32, anyBits)
                .input("scales", DType.F16, groups, outputs, uniform(0.001, 0.1))
                .input("groups", DType.I32, 1, inputs, integers(0, groups - 1))
                .output("w", DType.F32, inputs, outputs, Tolerance.EXACT)
                .call((device, at) -> device.quant().dequantizePacked(bits, zeroOffset, at.get("qweight"),
                        at.get("qzeros"), at.get("scales"), at.get("groups"), at.get("w")));
    }

    private static OpCase solveBlock(Grid grid, int fitEvery, long inputs, long outputs) {
        long groups = fitEvery > 0 ? Math.ceilDiv(inputs, (long) fitEvery) : 3;
        OpCase.Builder builder = op("solveBlock",
                label(grid, "fit every " + fitEvery + " w[" + inputs + ", " + outputs + "]"))
                .inPlace("w", DType.F32, inputs, outputs, normal(0.05), Tolerance.EXACT)
                .input("u", DType.F32, inputs, inputs,
                        // Below the diagonal it may hold anything.
                        Values.byIndex((i, j) -> i > j ? Double.NaN : i == j ? 1.5 : 0.4 / (1 + j - i)))
                .input("groups", DType.I32, 1, inputs, integers(0, (int) groups - 1));
        if (fitEvery > 0) {
            builder.output("scales", DType.F32, groups, outputs, Tolerance.EXACT).output("zeros", DType.I32, groups,
                    outputs, Tolerance.EXACT);
        } else {
            builder.input("scales", DType.F32, groups, outputs, uniform(0.01, 0.05)).input("zeros", DType.I32, groups,
                    outputs, integers(0, grid.maxCode()));
        }
        return builder.output("codes", DType.U8, inputs, outputs, Tolerance.EXACT)
                .output("errors", DType.F32, inputs, outputs, Tolerance.EXACT)
                .call((device, at) -> device.quant()
                        .solveBlock(new BlockProblem(grid, at.get("w"), at.get("u"), at.get("scales"), at.get("zeros"),
                                at.get("groups"), fitEvery, at.get("codes"), at.get("errors"))));
    }
}
