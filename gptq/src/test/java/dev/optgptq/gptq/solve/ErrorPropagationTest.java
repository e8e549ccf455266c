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
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * What a solve aims at when the inputs are not those that the layer was made for (docs/algorithms.md, section 5). The aim is seen through 8 bits
 * without feedback: a diagonal Hessian leaves nothing to compensate, so that codes match it within half a step.
 */
class ErrorPropagationTest {

    private static final double DAMP = 0.01;
    private static final int INPUTS = 32;
    private static final int OUTPUTS = 12;

    private final Random random = new Random(31);
    private final double[][] w = SolverFixture.gaussian(random, OUTPUTS, INPUTS);

    @ParameterizedTest
    @EnumSource(ActOrder.class)
    void inputs_that_are_as_they_were_change_no_code(ActOrder actOrder) {
        double[][] h = SolverFixture.hessian(random, INPUTS, 4 * INPUTS);

        Solved plain = solve(actOrder, 4, h, null, 0);
        Solved propagated = solve(actOrder, 4, h, h, 1);

        assertArrayEquals(plain.codes(), propagated.codes());
        assertArrayEquals(plain.weight(), propagated.weight());
    }

    @ParameterizedTest
    @CsvSource({"NONE, 1", "STATIC, 1", "GROUP, 1", "STATIC, 0.5"})
    void the_aim_solves_the_damped_normal_equations(ActOrder actOrder, float strength) {
        double[][] h = diagonal();
        double[][] cross = shifted(h);

        Solved found = solve(actOrder, 8, h, cross, strength);

        assertClose(aim(h, cross, strength), found);
    }

    /** Correlated inputs: the target is the first input's weight before rounding, before any compensation. */
    @ParameterizedTest
    @EnumSource(value = ActOrder.class, names = {"NONE", "GROUP"})
    void correlated_inputs_aim_at_the_solution_of_the_same_equations(ActOrder actOrder) {
        double[][] h = SolverFixture.hessian(random, INPUTS, 4 * INPUTS);
        double[][] cross = shifted(h);
        int first = actOrder == ActOrder.NONE ? 0 : mostActive(h);

        float[][] rounded = solve(actOrder, 8, h, cross, 1).rounded();

        double[][] aim = aim(h, cross, 1);
        for (int o = 0; o < OUTPUTS; o++) {
            assertEquals(aim[o][first], rounded[first][o], 1e-4, "output " + o);
            assertTrue(Math.abs(aim[o][first] - w[o][first]) > 1e-3, "the aim moved, output " + o);
        }
    }

    @Test
    void half_the_strength_moves_the_aim_half_as_far() {
        double[][] h = diagonal();
        double[][] cross = shifted(h);

        float[][] all = solve(ActOrder.NONE, 8, h, cross, 1).rounded();
        float[][] half = solve(ActOrder.NONE, 8, h, cross, 0.5f).rounded();

        for (int o = 0; o < OUTPUTS; o++) {
            for (int i = 0; i < INPUTS; i++) {
                assertEquals((all[i][o] - w[o][i]) / 2, half[i][o] - w[o][i], 1e-5, o + ", " + i);
            }
        }
    }

    /** @param rounded [in][out] */
    private record Solved(int[][] codes, float[][] scales, float[][] weight, float[][] rounded) {}

    private Solved solve(ActOrder actOrder, int bits, double[][] h, double @Nullable [][] cross, float strength) {
        Grid grid = new Grid(bits, true, false, DType.F32);
        Calibrator calibrator = new Calibrator.Gptq(new SolveSettings(grid, INPUTS, actOrder, DAMP), false);
        try (Device device = Devices.open("cpu", 1);
                TensorArena arena = device.arena();
                SiteSolver solver = new SiteSolver(device, calibrator, SolverFixture.tensor(device, arena, h),
                        "test")) {
            Tensor weight = SolverFixture.tensor(device, arena, w);
            Propagation propagation = cross == null
                    ? null
                    : new Propagation(SolverFixture.tensor(device, arena, cross), strength);
            LinearSolution solution = solver.solve(arena, weight,
                    new GptqVariant(false, propagation, Polish.NONE, true));
            Tensor rounded = Objects.requireNonNull(solution.rounded());
            return new Solved(SolverFixture.codes(device, solution.weight()),
                    SolverFixture.scales(device, solution.weight()), SolverFixture.floats(device, weight),
                    SolverFixture.floats(device, rounded));
        }
    }

    /** W + strength ((H + damp)^-1 (C - H) W^T)^T in float64, [out][in]. */
    private double[][] aim(double[][] h, double[][] cross, double strength) {
        double mean = IntStream.range(0, INPUTS).mapToDouble(i -> h[i][i]).average().orElseThrow();
        double[][] damped = new double[INPUTS][INPUTS];
        for (int i = 0; i < INPUTS; i++) {
            damped[i] = h[i].clone();
            damped[i][i] += DAMP * mean;
        }
        double[][] inverse = ExactObq.invert(damped);
        double[][] aim = new double[OUTPUTS][INPUTS];
        for (int o = 0; o < OUTPUTS; o++) {
            double[] wanted = new double[INPUTS];
            for (int i = 0; i < INPUTS; i++) {
                for (int j = 0; j < INPUTS; j++) {
                    wanted[i] += (cross[i][j] - h[i][j]) * w[o][j];
                }
            }
            for (int i = 0; i < INPUTS; i++) {
                aim[o][i] = w[o][i];
                for (int j = 0; j < INPUTS; j++) {
                    aim[o][i] += strength * inverse[i][j] * wanted[j];
                }
            }
        }
        return aim;
    }

    private static void assertClose(double[][] aim, Solved found) {
        for (int o = 0; o < OUTPUTS; o++) {
            for (int i = 0; i < INPUTS; i++) {
                assertEquals(aim[o][i], found.weight()[o][i], 0.51 * found.scales()[0][o], o + ", " + i);
            }
        }
    }

    /** Inputs that go with no other. */
    private static double[][] diagonal() {
        double[][] h = new double[INPUTS][INPUTS];
        IntStream.range(0, INPUTS).forEach(i -> h[i][i] = 1 + (i * 7) % INPUTS);
        return h;
    }

    /** C of inputs that lost a fifth of themselves and took up something of their neighbours. */
    private double[][] shifted(double[][] h) {
        double[][] cross = new double[INPUTS][INPUTS];
        for (int i = 0; i < INPUTS; i++) {
            for (int j = 0; j < INPUTS; j++) {
                cross[i][j] = 1.2 * h[i][j] + 0.2 * random.nextGaussian();
            }
        }
        return cross;
    }

    private static int mostActive(double[][] h) {
        return IntStream.range(0, INPUTS).boxed().max((a, b) -> Double.compare(h[a][a], h[b][b])).orElseThrow();
    }
}
