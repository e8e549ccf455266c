package dev.optgptq.gptq.solve;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import java.util.Random;
import java.util.function.DoubleSupplier;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Symmetric groups whose weights have one sign: their half of the grid is used to its end. */
class OneSignTest {

    private static final int INPUTS = 64;
    private static final int OUTPUTS = 20;
    private static final int GROUP = 32;

    static Stream<Arguments> calibrators() {
        return Stream.of("rtn", "gptq", "scale search", "clip search", "gptq and polish")
                .flatMap(name -> Stream.of(2, 3, 4, 8)
                        .flatMap(bits -> Stream.of(1, -1).map(sign -> Arguments.of(name, bits, sign))));
    }

    /** A constant 0.3 lost 28 % of its energy at 4 bits. */
    @ParameterizedTest
    @MethodSource("calibrators")
    void aConstantIsExactButForTheRoundingOfItsScale(String name, int bits, int sign) {
        assertEquals(0, weightError(name, bits, false, () -> sign * 0.3), 3e-7, name);
    }

    @ParameterizedTest
    @MethodSource("calibrators")
    void aConstantIsExactWithPositiveScalesToo(String name, int bits, int sign) {
        assertEquals(0, weightError(name, bits, true, () -> sign * 0.3), 3e-7, name);
    }

    /** In [0.5, 1] a step of 1 / 2^(bits-1) costs a share of step^2 / 12 / (7 / 12), a little more with errors fed back. */
    @ParameterizedTest
    @MethodSource("calibrators")
    void aSpreadCostsWhatItsStepsDo(String name, int bits, int sign) {
        Random random = new Random(31);
        double step = 1.0 / (1 << (bits - 1));
        double error = weightError(name, bits, false, () -> sign * (0.5 + 0.5 * random.nextDouble()));
        assertTrue(error < 2 * step * step / 7, error + ", one of " + step * step / 7 + " was expected");
    }

    private static double weightError(String name, int bits, boolean positiveScales, DoubleSupplier values) {
        double[][] w = new double[OUTPUTS][INPUTS];
        for (double[] row : w) {
            for (int i = 0; i < INPUTS; i++) {
                row[i] = values.getAsDouble();
            }
        }
        Grid grid = new Grid(bits, true, name.equals("clip search"), DType.F16, positiveScales);
        SolveSettings settings = new SolveSettings(grid, GROUP, ActOrder.NONE, 0.01);
        Function<SolveSettings, Calibrator> calibrator = switch (name) {
            case "rtn" -> Calibrator.RoundToNearest::new;
            case "gptq", "clip search" -> solve -> new Calibrator.Gptq(solve, false);
            case "scale search" -> solve -> new Calibrator.Gptq(solve, true);
            default -> solve -> new Calibrator.Gptq(solve, true, new Polish(true, 2));
        };
        double[][] h = SolverFixture.hessian(new Random(32), INPUTS, 4 * INPUTS);
        try (Device device = Devices.open("cpu", 2);
                TensorArena arena = device.arena();
                SiteSolver solver = new SiteSolver(device, calibrator.apply(settings),
                        SolverFixture.tensor(device, arena, h), "test")) {
            LinearSolution solution = solver.solve(arena, SolverFixture.tensor(device, arena, w));
            for (float[] row : SolverFixture.scales(device, solution.weight())) {
                for (float scale : row) {
                    assertTrue(!positiveScales || scale > 0, "scale " + scale);
                }
            }
            return solution.weightError();
        }
    }
}
