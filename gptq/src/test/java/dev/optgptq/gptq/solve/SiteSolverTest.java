package dev.optgptq.gptq.solve;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import java.util.Arrays;
import java.util.Objects;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class SiteSolverTest {

    /** Scales that are stored as the codes were made with them. */
    private static final Grid INT4 = new Grid(4, true, false, DType.F32);
    private static final double DAMP = 0.01;

    @ParameterizedTest
    @CsvSource({"reference, 48, 24, 16", "cpu, 48, 24, 16", "cpu, 300, 40, 300", "cpu, 256, 33, 32", "cpu, 288, 17, 96",
            "cpu, 320, 20, 160"})
    void gptqFindsTheCodesOfTheExactObsRecursion(String deviceName, int inputs, int outputs, int groupSize) {
        long seed = 11L + inputs;
        Random random = new Random(seed);
        double[][] w = SolverFixture.gaussian(random, outputs, inputs);
        double[][] h = SolverFixture.hessian(random, inputs, 4 * inputs);
        try (Device device = Devices.open(deviceName, 2); TensorArena arena = device.arena()) {
            LinearSolution solution = solve(device, arena, ActOrder.STATIC, groupSize, h, w);
            int[][] expected = exactCodes(device, solution, w, damped(h), byFallingEnergy(h), groupSize);
            int[][] found = SolverFixture.codes(device, solution.weight());
            long different = IntStream.range(0, outputs)
                    .mapToLong(o -> IntStream.range(0, inputs).filter(i -> expected[o][i] != found[o][i]).count())
                    .sum();
            // A weight that lies on a rounding boundary may fall to either side in float32, and moves its successors.
            assertTrue(different <= 0.002 * outputs * inputs,
                    different + " of " + outputs * inputs + " codes differ, seed "
                            + seed);
        }
    }

    @Test
    void anIdentityHessianMakesGptqRoundToNearest() {
        double[][] w = SolverFixture.gaussian(new Random(3), 16, 64);
        double[][] identity = new double[64][64];
        IntStream.range(0, 64).forEach(i -> identity[i][i] = 1);
        try (Device device = Devices.open("cpu", 1); TensorArena arena = device.arena()) {
            LinearSolution gptq = solve(device, arena, ActOrder.NONE, 32, identity, w);
            Calibrator rtn = new Calibrator.RoundToNearest(settings(ActOrder.NONE, 32, DAMP));
            try (SiteSolver solver = new SiteSolver(device, rtn, null, "test")) {
                LinearSolution nearest = solver.solve(arena, SolverFixture.tensor(device, arena, w));
                assertArrayEquals(SolverFixture.codes(device, nearest.weight()),
                        SolverFixture.codes(device, gptq.weight()));
            }
        }
    }

    @ParameterizedTest
    @EnumSource(ActOrder.class)
    void gptqLosesLessOfTheOutputThanRoundToNearest(ActOrder actOrder) {
        Random random = new Random(5);
        double[][] w = SolverFixture.gaussian(random, 40, 256);
        double[][] h = SolverFixture.hessian(random, 256, 512);
        try (Device device = Devices.open("cpu", 2); TensorArena arena = device.arena()) {
            LinearSolution gptq = solve(device, arena, actOrder, 64, h, w);
            Tensor weight = SolverFixture.tensor(device, arena, w);
            try (SiteSolver solver = new SiteSolver(device,
                    new Calibrator.RoundToNearest(settings(actOrder, 64, DAMP)), SolverFixture.tensor(device, arena, h),
                    "test")) {
                LinearSolution nearest = solver.solve(arena, weight);
                assertTrue(error(gptq) < 0.9 * error(nearest), gptq + " against " + nearest);
                assertTrue(gptq.weightError() > nearest.weightError(),
                        "rounding to nearest is the best of single weights");
            }
        }
    }

    @ParameterizedTest
    @EnumSource(ActOrder.class)
    void searchedScalesLoseLessThanScalesThatCoverTheRange(ActOrder actOrder) {
        Random random = new Random(6);
        double[][] w = SolverFixture.gaussian(random, 40, 256);
        double[][] h = SolverFixture.hessian(random, 256, 512);
        SolveSettings settings = new SolveSettings(new Grid(3, true, false, DType.F16), 64, actOrder, DAMP);
        try (Device device = Devices.open("cpu", 2); TensorArena arena = device.arena()) {
            LinearSolution covering = solve(device, arena, new Calibrator.Gptq(settings, false), h, w);
            LinearSolution searched = solve(device, arena, new Calibrator.Gptq(settings, true), h, w);
            assertTrue(error(searched) < 0.8 * error(covering), searched + " against " + covering);
        }
    }

    @Test
    void groupOrderGivesEachGroupTheNextMostActiveInputs() {
        Random random = new Random(8);
        double[][] h = SolverFixture.hessian(random, 64, 128);
        try (Device device = Devices.open("cpu", 1); TensorArena arena = device.arena()) {
            LinearSolution solution = solve(device, arena, ActOrder.GROUP, 16, h,
                    SolverFixture.gaussian(random, 8, 64));
            int[] gIdx = SolverFixture.gIdx(device, solution.weight());
            int[] byEnergy = byFallingEnergy(h);
            for (int k = 0; k < 64; k++) {
                assertEquals(k / 16, gIdx[byEnergy[k]], "the input of rank " + k);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(value = ActOrder.class, names = {"NONE", "STATIC"})
    void otherOrdersKeepNeighboursInAGroup(ActOrder actOrder) {
        Random random = new Random(9);
        try (Device device = Devices.open("cpu", 1); TensorArena arena = device.arena()) {
            LinearSolution solution = solve(device, arena, actOrder, 16, SolverFixture.hessian(random, 64, 128),
                    SolverFixture.gaussian(random, 8, 64));
            assertArrayEquals(IntStream.range(0, 64).map(i -> i / 16).toArray(),
                    SolverFixture.gIdx(device, solution.weight()));
        }
    }

    @Test
    void dampingGrowsUntilASingularHessianFactorises() {
        Random random = new Random(17);
        double[][] rankOne = new double[64][64];
        for (int i = 0; i < 64; i++) {
            for (int j = 0; j < 64; j++) {
                rankOne[i][j] = 1 + 0.01 * i * j;
            }
        }
        try (Device device = Devices.open("cpu", 1); TensorArena arena = device.arena()) {
            Calibrator undamped = new Calibrator.Gptq(settings(ActOrder.NONE, 32, 0), false);
            try (SiteSolver solver = new SiteSolver(device, undamped, SolverFixture.tensor(device, arena, rankOne),
                    "test")) {
                LinearSolution solution = solver.solve(arena,
                        SolverFixture.tensor(device, arena, SolverFixture.gaussian(random, 8, 64)));
                assertTrue(solution.dampAttempts() > 1, solution.toString());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY})
    void aHessianThatIsNotFiniteIsRefusedByName(float bad) {
        double[][] h = SolverFixture.hessian(new Random(19), 32, 64);
        h[3][3] = bad;
        try (Device device = Devices.open("cpu", 1); TensorArena arena = device.arena()) {
            Tensor hessian = SolverFixture.tensor(device, arena, h);
            UserError error = assertThrows(UserError.class, () -> new SiteSolver(device,
                    new Calibrator.Gptq(settings(ActOrder.NONE, 32, DAMP), false), hessian, "block 3, MLP input"));
            assertTrue(String.valueOf(error.getMessage()).contains("block 3, MLP input: the activation of input 3"),
                    error.toString());
        }
    }

    @Test
    void codesAreMadeWithTheExactScaleAndStandForTheStoredOne() {
        Random random = new Random(29);
        double[][] w = SolverFixture.gaussian(random, 24, 128);
        double[][] h = SolverFixture.hessian(random, 128, 200);
        Grid half = new Grid(4, true, false, DType.F16);
        try (Device device = Devices.open("cpu", 1); TensorArena arena = device.arena()) {
            LinearSolution exact = solve(device, arena, ActOrder.NONE, 32, h, w);
            Tensor weight = SolverFixture.tensor(device, arena, w);
            Calibrator calibrator = new Calibrator.Gptq(new SolveSettings(half, 32, ActOrder.NONE, DAMP), false);
            try (SiteSolver solver = new SiteSolver(device, calibrator, SolverFixture.tensor(device, arena, h),
                    "test")) {
                LinearSolution stored = solver.solve(arena, weight);
                int[][] codes = SolverFixture.codes(device, stored.weight());
                assertArrayEquals(SolverFixture.codes(device, exact.weight()), codes);
                float[][] scales = SolverFixture.scales(device, stored.weight());
                float[][] exactScales = SolverFixture.scales(device, exact.weight());
                float[][] dequantized = SolverFixture.floats(device, weight);
                for (int g = 0; g < scales.length; g++) {
                    for (int o = 0; o < 24; o++) {
                        assertEquals(Float.float16ToFloat(Float.floatToFloat16(exactScales[g][o])), scales[g][o]);
                        assertEquals(scales[g][o] * (codes[o][32 * g] - 8), dequantized[o][32 * g]);
                    }
                }
            }
        }
    }

    @Test
    void theCodesDoNotDependOnTheNumberOfThreads() {
        Random random = new Random(23);
        double[][] w = SolverFixture.gaussian(random, 200, 256);
        double[][] h = SolverFixture.hessian(random, 256, 300);
        int[][][] codes = Stream.of(1, 2, 3).map(threads -> {
            try (Device device = Devices.open("cpu", threads); TensorArena arena = device.arena()) {
                return SolverFixture.codes(device, solve(device, arena, ActOrder.STATIC, 64, h, w).weight());
            }
        }).toArray(int[][][]::new);
        assertArrayEquals(codes[0], codes[1]);
        assertArrayEquals(codes[0], codes[2]);
    }

    private static double error(LinearSolution solution) {
        return Objects.requireNonNull(solution.outputError());
    }

    private static SolveSettings settings(ActOrder actOrder, int groupSize, double damp) {
        return new SolveSettings(INT4, groupSize, actOrder, damp);
    }

    private static LinearSolution solve(Device device, TensorArena arena, ActOrder actOrder, int groupSize,
            double[][] h,
            double[][] w) {
        return solve(device, arena, new Calibrator.Gptq(settings(actOrder, groupSize, DAMP), false), h, w);
    }

    private static LinearSolution solve(Device device, TensorArena arena, Calibrator calibrator, double[][] h,
            double[][] w) {
        try (SiteSolver solver = new SiteSolver(device, calibrator, SolverFixture.tensor(device, arena, h), "test")) {
            return solver.solve(arena, SolverFixture.tensor(device, arena, w));
        }
    }

    /** The exact recursion in the solver's order, under the solver's scales; codes in the inputs' own order. */
    private static int[][] exactCodes(Device device, LinearSolution solution, double[][] w, double[][] damped,
            int[] order,
            int groupSize) {
        int n = order.length;
        float[][] scales = SolverFixture.scales(device, solution.weight());
        double[][] orderedW = new double[w.length][n];
        double[][] orderedH = new double[n][n];
        double[][] scaleOfInput = new double[w.length][n];
        for (int k = 0; k < n; k++) {
            for (int o = 0; o < w.length; o++) {
                orderedW[o][k] = w[o][order[k]];
                scaleOfInput[o][k] = scales[order[k] / groupSize][o];
            }
            for (int j = 0; j < n; j++) {
                orderedH[k][j] = damped[order[k]][order[j]];
            }
        }
        int[][] ordered = ExactObq.solve(orderedW, orderedH, scaleOfInput, 1, 8, 15);
        int[][] codes = new int[w.length][n];
        for (int k = 0; k < n; k++) {
            for (int o = 0; o < w.length; o++) {
                codes[o][order[k]] = ordered[o][k];
            }
        }
        return codes;
    }

    private static double[][] damped(double[][] h) {
        double mean = IntStream.range(0, h.length).mapToDouble(i -> h[i][i]).average().orElseThrow();
        double[][] damped = Arrays.stream(h).map(double[]::clone).toArray(double[][]::new);
        IntStream.range(0, h.length).forEach(i -> damped[i][i] += DAMP * mean);
        return damped;
    }

    private static int[] byFallingEnergy(double[][] h) {
        return IntStream.range(0, h.length).boxed().sorted((a, b) -> Float.compare((float) h[b][b], (float) h[a][a]))
                .mapToInt(Integer::intValue).toArray();
    }
}
