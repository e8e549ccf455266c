package dev.optgptq.gptq.solve;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.GptqVariant.Propagation;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Inputs that the calibration text never made active, but other text may. */
class DeadInputsTest {

    private static final int INPUTS = 64;
    private static final int OUTPUTS = 24;
    private static final int GROUP = 32;
    private static final Set<Integer> DEAD = Set.of(5, 6, 40);
    private static final Grid INT4 = new Grid(4, true, false, DType.F32);
    /** Some rounding of the scale is between the codes and the weights, which moves a code that lies on a boundary. */
    private static final double STEP = 0.5 + 1e-3;

    @ParameterizedTest
    @EnumSource(ActOrder.class)
    void gptqRoundsTheirWeightsToNearest(ActOrder actOrder) {
        assertNearest(new Calibrator.Gptq(settings(actOrder), false));
    }

    @ParameterizedTest
    @EnumSource(ActOrder.class)
    void gptqWithEverythingOnTopRoundsTheirWeightsToNearest(ActOrder actOrder) {
        assertNearest(new Calibrator.Gptq(settings(actOrder), true, new Polish(true, 2)));
    }

    @Test
    void errorPropagationLeavesTheirWeightsWhereTheyAre() {
        Random random = new Random(14);
        double[][] w = SolverFixture.gaussian(random, OUTPUTS, INPUTS);
        double[][] h = withDead(SolverFixture.hessian(random, INPUTS, 128));
        double[][] cross = SolverFixture.hessian(random, INPUTS, 128);
        for (int dead : DEAD) {
            // Active in the original model, of which the columns are; not in the quantized one.
            cross[dead] = new double[INPUTS];
        }
        try (Device device = Devices.open("cpu", 2);
                TensorArena arena = device.arena();
                SiteSolver solver = new SiteSolver(device, new Calibrator.Gradient(settings(ActOrder.NONE)),
                        SolverFixture.tensor(device, arena, h), "test")) {
            Tensor weight = SolverFixture.tensor(device, arena, w);
            Propagation propagation = new Propagation(SolverFixture.tensor(device, arena, cross), 0.5f);
            LinearSolution solution = solver.solve(arena, weight,
                    new GptqVariant(true, propagation, Polish.NONE, false));
            assertNearest(device, solution, w, SolverFixture.floats(device, weight));
        }
    }

    /** The output error is over the calibration inputs, and the weight error over all weights. */
    @Test
    void theyCountInTheWeightErrorOnly() {
        Random random = new Random(15);
        double[][] w = SolverFixture.gaussian(random, OUTPUTS, INPUTS);
        double[][] h = withDead(SolverFixture.hessian(random, INPUTS, 128));
        double[][] huge = w.clone();
        for (int o = 0; o < OUTPUTS; o++) {
            huge[o] = w[o].clone();
            // A whole group of its own, so that the scales of the others stay.
            for (int i = 0; i < GROUP; i++) {
                huge[o][i] *= 1000;
            }
        }
        for (int i = 0; i < GROUP; i++) {
            kill(h, i);
        }
        LinearSolution small = solve(new Calibrator.Gptq(settings(ActOrder.NONE), false), h, w);
        LinearSolution large = solve(new Calibrator.Gptq(settings(ActOrder.NONE), false), h, huge);

        assertEquals(Objects.requireNonNull(small.outputError()), Objects.requireNonNull(large.outputError()), 1e-12);
        assertTrue(small.weightError() > 1e-3 && large.weightError() > 1e-3, small + " and " + large);
    }

    /** Where the text makes no input active at all, what is left is rounding to nearest. */
    @Test
    void aSiteThatIsDeadAltogetherIsRoundedToNearest() {
        double[][] w = SolverFixture.gaussian(new Random(16), OUTPUTS, INPUTS);
        try (Device device = Devices.open("cpu", 1); TensorArena arena = device.arena()) {
            int[][] nearest;
            try (SiteSolver rtn = new SiteSolver(device, new Calibrator.RoundToNearest(settings(ActOrder.NONE)), null,
                    "test")) {
                nearest = SolverFixture.codes(device,
                        rtn.solve(arena, SolverFixture.tensor(device, arena, w)).weight());
            }
            try (SiteSolver gptq = new SiteSolver(device, new Calibrator.Gptq(settings(ActOrder.NONE), false),
                    SolverFixture.tensor(device, arena, new double[INPUTS][INPUTS]), "test")) {
                LinearSolution solution = gptq.solve(arena, SolverFixture.tensor(device, arena, w));
                assertArrayEquals(nearest, SolverFixture.codes(device, solution.weight()));
                assertEquals(INPUTS, solution.deadInputs());
                assertEquals(0, Objects.requireNonNull(solution.outputError()));
            }
        }
    }

    private static void assertNearest(Calibrator calibrator) {
        Random random = new Random(13);
        double[][] w = SolverFixture.gaussian(random, OUTPUTS, INPUTS);
        double[][] h = withDead(SolverFixture.hessian(random, INPUTS, 128));
        try (Device device = Devices.open("cpu", 2);
                TensorArena arena = device.arena();
                SiteSolver solver = new SiteSolver(device, calibrator, SolverFixture.tensor(device, arena, h),
                        "test")) {
            Tensor weight = SolverFixture.tensor(device, arena, w);
            assertNearest(device, solver.solve(arena, weight), w, SolverFixture.floats(device, weight));
        }
    }

    /** Each code of a dead input is the nearest that its group's scale has. */
    private static void assertNearest(Device device, LinearSolution solution, double[][] w, float[][] dequantized) {
        assertEquals(DEAD.size(), solution.deadInputs());
        float[][] scales = SolverFixture.scales(device, solution.weight());
        int[] gIdx = SolverFixture.gIdx(device, solution.weight());
        int clipped = 0;
        for (int o = 0; o < OUTPUTS; o++) {
            for (int i : DEAD) {
                double scale = scales[gIdx[i]][o];
                double steps = w[o][i] / scale;
                double nearest = Math.clamp(steps, -8, 7);
                clipped += steps == nearest ? 0 : 1;
                assertEquals(nearest, dequantized[o][i] / scale, STEP, "output " + o + ", input " + i);
            }
        }
        assertTrue(clipped < OUTPUTS * DEAD.size() / 4, clipped + " weights are outside of their grid");
    }

    private static LinearSolution solve(Calibrator calibrator, double[][] h, double[][] w) {
        try (Device device = Devices.open("cpu", 2);
                TensorArena arena = device.arena();
                SiteSolver solver = new SiteSolver(device, calibrator, SolverFixture.tensor(device, arena, h),
                        "test")) {
            return solver.solve(arena, SolverFixture.tensor(device, arena, w));
        }
    }

    private static double[][] withDead(double[][] h) {
        DEAD.forEach(dead -> kill(h, dead));
        return h;
    }

    private static void kill(double[][] h, int dead) {
        h[dead] = new double[INPUTS];
        for (double[] row : h) {
            row[dead] = 0;
        }
    }

    private static SolveSettings settings(ActOrder actOrder) {
        return new SolveSettings(INT4, GROUP, actOrder, 0.01);
    }
}
