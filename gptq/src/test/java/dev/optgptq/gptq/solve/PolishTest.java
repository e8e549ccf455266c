package dev.optgptq.gptq.solve;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.PolishProblem.Solved;
import dev.optgptq.kernels.testing.EmulatedGpu;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Scales refitted to codes, and codes moved by coordinate descent, against the objective in float64: per output (q - w)^T (H +
 * damp) (q - w), from the codes and scales that would be written.
 */
class PolishTest {

    private static final int OUTPUTS = 24;
    /** Of an objective from float32 codes and scales that were moved by float32 gradients. */
    private static final double ROUNDING = 1e-6;

    private final long seed = 41;
    private final Random random = new Random(seed);

    @ParameterizedTest
    @CsvSource({"NONE, 32, 3, true, F16", "STATIC, 32, 3, false, F16", "GROUP, 32, 2, true, F16",
            "GROUP, 300, 4, false, BF16", "NONE, 300, 4, true, F16", "STATIC, 160, 8, true, F32",
            "NONE, 1, 2, true, F16"})
    void refitted_scales_raise_the_objective_of_no_output(ActOrder actOrder, int groupSize, int bits,
            boolean symmetric, DType scaleType) {
        PolishProblem problem = problem(300, new Grid(bits, symmetric, false, scaleType), groupSize, actOrder);

        Solved before = problem.solve(Polish.NONE);
        Solved after = problem.solve(new Polish(true, 0));

        assertArrayEquals(before.codes(), after.codes(), "codes stay");
        assertArrayEquals(before.zeros(), after.zeros(), "zero points stay");
        assertFalls(before.objectives(), after.objectives());
    }

    @ParameterizedTest
    @CsvSource({"NONE, 32, 3, true, F16", "STATIC, 32, 3, false, F16", "GROUP, 32, 2, true, F16",
            "GROUP, 300, 4, false, BF16", "NONE, 300, 4, true, F16", "STATIC, 160, 8, true, F32",
            "NONE, 2, 2, true, F16"})
    void each_sweep_over_the_codes_raises_the_objective_of_no_output(ActOrder actOrder, int groupSize, int bits,
            boolean symmetric, DType scaleType) {
        PolishProblem problem = problem(300, new Grid(bits, symmetric, false, scaleType), groupSize, actOrder);

        List<Solved> after = IntStream.range(0, 4).mapToObj(sweeps -> problem.solve(new Polish(false, sweeps)))
                .toList();

        assertFalls(after.get(0).objectives(), after.get(1).objectives());
        for (int sweeps = 1; sweeps < after.size(); sweeps++) {
            assertArrayEquals(after.get(0).scales(), after.get(sweeps).scales(), "scales stay");
            assertNeverRises(after.get(sweeps - 1).objectives(), after.get(sweeps).objectives());
        }
    }

    /** The joint minimum over all scales of an output, by elimination in float64; outputs for more than one panel. */
    @ParameterizedTest
    @EnumSource(ActOrder.class)
    void refitted_scales_are_those_of_the_joint_normal_equations(ActOrder actOrder) {
        SolveSettings settings = new SolveSettings(new Grid(3, true, false, DType.F32), 32, actOrder,
                PolishProblem.DAMP);

        assertLeastOverScales(new PolishProblem(SolverFixture.gaussian(random, 100, 256),
                SolverFixture.hessian(random, 256, 512), settings), 1e-4);
    }

    /** One group after the other would come near that only slowly. */
    @Test
    void inputs_that_go_together_are_no_harder_to_refit() {
        SolveSettings settings = new SolveSettings(new Grid(3, true, false, DType.F32), 16, ActOrder.NONE,
                PolishProblem.DAMP);
        PolishProblem problem = new PolishProblem(SolverFixture.gaussian(random, OUTPUTS, 256),
                SolverFixture.hessian(random, 256, 512), settings);
        double[] mean = SolverFixture.gaussian(random, 1, 256)[0];
        for (int i = 0; i < 256; i++) {
            for (int j = 0; j < 256; j++) {
                problem.h()[i][j] += 50 * mean[i] * mean[j];
            }
        }

        assertLeastOverScales(problem, 1e-3);
    }

    /** @param left the share of what there is to gain that may be left */
    private void assertLeastOverScales(PolishProblem problem, double left) {
        double[] before = problem.solve(Polish.NONE).objectives();
        Solved after = problem.solve(new Polish(true, 0));

        double[] found = after.objectives();
        double[] least = after.leastOverScales();
        for (int o = 0; o < found.length; o++) {
            assertTrue(found[o] - least[o] <= left * (before[o] - least[o]), "output " + o + ", seed " + seed + ": "
                    + before[o] + " fell to " + found[o] + ", the joint minimum is " + least[o]);
        }
    }

    @Test
    void after_enough_sweeps_no_single_code_can_be_moved_to_advantage() {
        PolishProblem problem = problem(160, new Grid(3, true, false, DType.F16), 32, ActOrder.NONE);

        Solved solved = problem.solve(new Polish(false, 30));

        double[] objectives = solved.objectives();
        for (int o = 0; o < OUTPUTS; o++) {
            for (int i = 0; i < 160; i++) {
                for (int code : new int[] {solved.codes()[o][i] - 1, solved.codes()[o][i] + 1}) {
                    if (code >= 0 && code <= 7) {
                        double moved = solved.objectiveWith(o, i, code);
                        assertTrue(moved >= objectives[o] * (1 - ROUNDING), "output " + o + ", input " + i + ", seed "
                                + seed + ": code " + code + " gives " + moved + ", found was " + objectives[o]);
                    }
                }
            }
        }
    }

    @Test
    void both_together_fall_below_either() {
        PolishProblem problem = problem(300, new Grid(3, true, false, DType.F16), 32, ActOrder.NONE);

        double both = sum(problem.solve(new Polish(true, 2)));

        assertTrue(both < sum(problem.solve(new Polish(true, 0))), "seed " + seed);
        assertTrue(both < sum(problem.solve(new Polish(false, 2))), "seed " + seed);
    }

    @Test
    void rounding_a_scale_is_made_up_for_by_other_groups_so_that_it_loses_less_than_rounding_all_at_once() {
        PolishProblem problem = problem(256, new Grid(4, true, false, DType.BF16), 32, ActOrder.NONE);

        Solved refitted = problem.solve(new Polish(true, 0));

        double roundedAtOnce = Arrays.stream(refitted.withJointScalesRounded().objectives()).sum();
        assertTrue(sum(refitted) < roundedAtOnce, sum(refitted) + " is not below " + roundedAtOnce + ", seed " + seed);
    }

    @ParameterizedTest
    @ValueSource(strings = {"reference", "cpu"})
    void scales_stay_what_the_format_stores(String device) {
        PolishProblem problem = problem(64, new Grid(4, true, false, DType.F16), 16, ActOrder.NONE);

        Solved solved = problem.solve(device, 1, new Polish(true, 1));

        for (float[] row : solved.scales()) {
            for (float scale : row) {
                assertEquals(Float.float16ToFloat(Float.floatToFloat16(scale)), scale);
            }
        }
    }

    /** A group whose weights are all zero has no best scale. */
    @Test
    void groups_of_zeros_keep_their_scale() {
        PolishProblem problem = problem(64, new Grid(4, true, false, DType.F16), 16, ActOrder.NONE);
        for (double[] row : problem.w()) {
            Arrays.fill(row, 16, 32, 0);
        }
        Arrays.fill(problem.w()[3], 0);

        Solved before = problem.solve(Polish.NONE);
        Solved after = problem.solve(new Polish(true, 2));

        assertArrayEquals(before.codes()[3], after.codes()[3]);
        for (int g = 0; g < 4; g++) {
            assertEquals(before.scales()[g][3], after.scales()[g][3], "group " + g);
        }
    }

    @ParameterizedTest
    @EnumSource(ActOrder.class)
    void the_result_does_not_depend_on_the_number_of_threads(ActOrder actOrder) {
        PolishProblem problem = problem(200, new Grid(3, true, false, DType.F16), 200, actOrder);
        Polish polish = new Polish(true, 2);

        Solved one = problem.solve("cpu", 1, polish);
        Solved three = problem.solve("cpu", 3, polish);

        assertArrayEquals(one.codes(), three.codes());
        assertArrayEquals(one.scales(), three.scales());
        assertNotEquals(sum(one), sum(problem.solve(Polish.NONE)), "something was polished");
    }

    /** Its products round in another way, so that codes on the edge may differ; what they are good for does not. */
    @ParameterizedTest
    @EnumSource(ActOrder.class)
    void a_gpu_comes_as_low_as_the_processor(ActOrder actOrder) {
        PolishProblem problem = problem(140, new Grid(3, true, false, DType.F16), 35, actOrder);
        Polish polish = new Polish(true, 2);

        double onProcessor = sum(problem.solve(polish));
        try (EmulatedGpu gpu = EmulatedGpu.open()) {
            assertEquals(onProcessor, sum(problem.solve(gpu.device(), polish)), 0.01 * onProcessor, "seed " + seed);
        }
        assertTrue(onProcessor < 0.95 * sum(problem.solve(Polish.NONE)), "something was polished, seed " + seed);
    }

    /** The memory of a solve is planned with polishing in it, the copy of the Hessian apart. */
    @ParameterizedTest
    @CsvSource({"NONE, 32, 160", "GROUP, 32, 160", "NONE, 256, 160", "GROUP, 256, 160", "STATIC, 64, 96"})
    void solving_and_polishing_take_no_more_than_is_planned(ActOrder actOrder, int groupSize, int outputs) {
        int inputs = 256;
        SolveSettings settings = new SolveSettings(new Grid(4, true, false, DType.F16), groupSize, actOrder,
                PolishProblem.DAMP);
        try (Device device = Devices.open("cpu", 1); TensorArena arena = device.arena()) {
            Tensor hessian = SolverFixture.tensor(device, arena, SolverFixture.hessian(random, inputs, 400));
            Tensor weight = SolverFixture.tensor(device, arena, SolverFixture.gaussian(random, outputs, inputs));
            try (SiteSolver solver = new SiteSolver(device,
                    new Calibrator.Gptq(settings, true, new Polish(true, 1)), hessian, "test")) {
                long before = device.memoryInUse();
                solver.solve(arena, weight);

                long planned = SiteSolver.peakBytes(inputs, outputs, inputs / groupSize) + 4L * inputs * inputs;
                long taken = device.peakMemory() - before;
                assertTrue(taken <= planned, taken + " bytes taken, " + planned + " planned");
            }
        }
    }

    private static double sum(Solved solved) {
        return Arrays.stream(solved.objectives()).sum();
    }

    private void assertFalls(double[] before, double[] after) {
        assertNeverRises(before, after);
        double ratio = Arrays.stream(after).sum() / Arrays.stream(before).sum();
        assertTrue(ratio < 0.999, "nothing was gained: " + ratio + ", seed " + seed);
    }

    private void assertNeverRises(double[] before, double[] after) {
        for (int o = 0; o < OUTPUTS; o++) {
            assertTrue(after[o] <= before[o] * (1 + ROUNDING),
                    "output " + o + " rose from " + before[o] + " to " + after[o] + ", seed " + seed);
        }
    }

    private PolishProblem problem(int inputs, Grid grid, int groupSize, ActOrder actOrder) {
        return new PolishProblem(SolverFixture.gaussian(random, OUTPUTS, inputs),
                SolverFixture.hessian(random, inputs, 2 * inputs),
                new SolveSettings(grid, groupSize, actOrder, PolishProblem.DAMP));
    }
}
