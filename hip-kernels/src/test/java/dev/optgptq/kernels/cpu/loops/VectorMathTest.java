package dev.optgptq.kernels.cpu.loops;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.cpu.CpuDevice;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.reference.ReferenceDevice;
import java.lang.foreign.ValueLayout;
import java.util.function.DoubleUnaryOperator;
import java.util.function.UnaryOperator;
import jdk.incubator.vector.FloatVector;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class VectorMathTest {

    private static final int POINTS = 400_000;

    @Test
    void expIsRightToTheErrorItPromises() {
        assertRelativeError(1.5e-7, -87.33f, 88.37f, VectorMath::exp, Math::exp);
        assertRelativeError(1.5e-7, -1e-3f, 1e-3f, VectorMath::exp, Math::exp);
    }

    @Test
    void exp2IsRightToTheErrorItPromises() {
        assertRelativeError(1.5e-7, -126, 127, VectorMath::exp2, x -> Math.pow(2, x));
        assertRelativeError(1.5e-7, -1, 0, VectorMath::exp2, x -> Math.pow(2, x));
    }

    @Test
    void expEndsInZeroAndInfinityAndKeepsNotANumber() {
        assertEquals(0, lane(VectorMath::exp, -87.34f));
        assertEquals(0, lane(VectorMath::exp, -1e30f));
        assertEquals(0, lane(VectorMath::exp, Float.NEGATIVE_INFINITY));
        assertEquals(1, lane(VectorMath::exp, 0));
        assertEquals(Float.POSITIVE_INFINITY, lane(VectorMath::exp, 88.4f));
        assertEquals(Float.POSITIVE_INFINITY, lane(VectorMath::exp, Float.POSITIVE_INFINITY));
        assertEquals(Float.NaN, lane(VectorMath::exp, Float.NaN));
        assertEquals(Float.NaN, lane(VectorMath::exp, Float.intBitsToFloat(0xffc00001)));
    }

    @Test
    void tanhIsRightRelativeToItsOwnValueAndEndsInOne() {
        assertRelativeError(5e-7, 1e-6f, 12, VectorMath::tanh, Math::tanh);
        assertRelativeError(5e-7, 1e-6f, 0.01f, VectorMath::tanh, Math::tanh);
        assertEquals(0, lane(VectorMath::tanh, 0));
        assertEquals(1, lane(VectorMath::tanh, Float.POSITIVE_INFINITY), 1e-6);
        assertEquals(-1, lane(VectorMath::tanh, Float.NEGATIVE_INFINITY), 1e-6);
        assertEquals(Float.NaN, lane(VectorMath::tanh, Float.NaN));
    }

    @Test
    void exp2EndsInZeroAndKeepsNotANumber() {
        assertEquals(0, lane(VectorMath::exp2, -126.01f));
        assertEquals(0, lane(VectorMath::exp2, -3e38f));
        assertEquals(0, lane(VectorMath::exp2, Float.NEGATIVE_INFINITY));
        assertEquals(1, lane(VectorMath::exp2, 0));
        assertEquals(Float.NaN, lane(VectorMath::exp2, Float.NaN));
        assertEquals(Float.NaN, lane(VectorMath::exp2, Float.intBitsToFloat(0x7f800001)));
    }

    @ParameterizedTest
    @EnumSource
    void activationsAreRightRelativeToTheirOwnValueEvenFarBelowZero(Activation activation) {
        // Further down the values are subnormal, or for GELU_TANH and GELU_QUICK the exponent, near 20, no longer good to 2e-6.
        float low = switch (activation) {
            case SILU -> -80;
            case GELU -> -12.9f;
            case GELU_TANH -> -5;
            case RELU, RELU_SQUARED -> -100;
            case GELU_QUICK -> -10;
            case SIGMOID -> -80;
        };
        double allowed = switch (activation) {
            case GELU_TANH, GELU_QUICK -> 2e-6;
            case SILU, GELU, RELU, RELU_SQUARED, SIGMOID -> 1e-6;
        };
        int count = 100_000;
        try (Device reference = ReferenceDevice.open();
                Device cpu = CpuDevice.open(1);
                TensorArena arena = cpu.arena();
                TensorArena other = reference.arena()) {
            Tensor actual = arena.vector(DType.F32, count);
            Tensor expected = other.vector(DType.F32, count);
            for (int i = 0; i < count; i++) {
                float x = low + (30 - low) * i / count;
                actual.memory().setAtIndex(ValueLayout.JAVA_FLOAT, i, x);
                expected.memory().setAtIndex(ValueLayout.JAVA_FLOAT, i, x);
            }
            cpu.neural().activate(activation, actual);
            reference.neural().activate(activation, expected);
            for (int i = 0; i < count; i++) {
                float want = expected.memory().getAtIndex(ValueLayout.JAVA_FLOAT, i);
                float got = actual.memory().getAtIndex(ValueLayout.JAVA_FLOAT, i);
                assertEquals(want, got, Math.abs(want) * allowed, activation + " at " + (low + (30 - low) * i / count));
            }
        }
    }

    @Test
    void theLargerOfTwoPassesOverNotANumber() {
        FloatVector two = FloatVector.broadcast(SPECIES, 2);
        FloatVector none = FloatVector.broadcast(SPECIES, Float.NaN);
        assertEquals(2, VectorMath.larger(none, two).lane(0));
        assertEquals(2, VectorMath.larger(two, FloatVector.broadcast(SPECIES, 1)).lane(0));
        assertEquals(2, VectorMath.larger(FloatVector.broadcast(SPECIES, 1), two).lane(LANES - 1));
    }

    @Test
    void theSumTakesEveryLaneOnce() {
        float[] powers = new float[LANES];
        for (int i = 0; i < LANES; i++) {
            powers[i] = 1 << i;
        }
        assertEquals((1 << LANES) - 1, VectorMath.sum(FloatVector.fromArray(SPECIES, powers, 0)));
    }

    private static float lane(UnaryOperator<FloatVector> function, float x) {
        return function.apply(FloatVector.broadcast(SPECIES, x)).lane(LANES - 1);
    }

    private static void assertRelativeError(double allowed, float low, float high, UnaryOperator<FloatVector> function,
            DoubleUnaryOperator exact) {
        double worst = 0;
        float worstAt = low;
        float[] points = new float[LANES];
        for (int i = 0; i < POINTS; i += LANES) {
            for (int lane = 0; lane < LANES; lane++) {
                points[lane] = (float) (low + (high - (double) low) * Math.min(i + lane, POINTS - 1) / (POINTS - 1));
            }
            FloatVector result = function.apply(FloatVector.fromArray(SPECIES, points, 0));
            for (int lane = 0; lane < LANES; lane++) {
                double want = exact.applyAsDouble(points[lane]);
                double error = Math.abs(result.lane(lane) - want) / want;
                worstAt = error > worst ? points[lane] : worstAt;
                worst = Math.max(worst, error);
            }
        }
        String found = "relative error " + worst + " at " + worstAt;
        assertTrue(worst <= allowed, found);
    }
}
