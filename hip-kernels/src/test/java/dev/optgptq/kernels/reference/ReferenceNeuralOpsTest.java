package dev.optgptq.kernels.reference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The definition against values worked out by hand; every other device is compared with the definition. */
class ReferenceNeuralOpsTest {

    private final Device device = ReferenceDevice.open();
    private final TensorArena arena = device.arena();

    @AfterEach
    void close() {
        arena.close();
        device.close();
    }

    @Test
    void rmsNormDividesByTheRootOfTheMeanSquare() {
        Tensor out = floats(1, 0, 0);
        device.neural().rmsNorm(floats(1, 1, 7), floats(1, 2, 10), 0, out);
        assertFloats(out, 0.4f, 14);
    }

    @Test
    void layerNormUsesTheBiasedVariance() {
        Tensor out = floats(1, 0, 0);
        device.neural().layerNorm(floats(1, 1, 5), floats(1, 1, 10), floats(1, 0.5f, 0), 0, out);
        assertFloats(out, -0.5f, 10);
    }

    @Test
    void rotaryByAQuarterTurnSendsAToBAndBToMinusA() {
        Tensor half = floats(1, 1, 2, 3, 4, 9);
        device.neural().rotary(half, 5, floats(1, 0, 0), floats(1, 1, 1), RotaryLayout.HALF);
        assertFloats(half, -3, -4, 1, 2, 9);
        Tensor interleaved = floats(1, 1, 2, 3, 4, 9);
        device.neural().rotary(interleaved, 5, floats(1, 0, 0), floats(1, 1, 1), RotaryLayout.INTERLEAVED);
        assertFloats(interleaved, -2, 1, -4, 3, 9);
    }

    @Test
    void rotaryStartsOverWithEverySequence() {
        Tensor x = floats(4, 1, 0, 1, 0, 1, 0, 1, 0);
        device.neural().rotary(x, 2, floats(2, 1, 0), floats(2, 0, 1), RotaryLayout.HALF);
        assertFloats(x, 1, 0, 0, 1, 1, 0, 0, 1);
    }

    @Test
    void attentionAveragesTheValuesSeenWhenAllKeysAreAlike() {
        Tensor zeros = floats(4, 0, 0, 0, 0);
        Tensor values = floats(4, 2, 4, 6, 100);
        Tensor out = floats(4, 0, 0, 0, 0);
        device.neural().attention(zeros, zeros, values, null, new AttentionShape(4, 1, 1, 1, 1, 0), out);
        assertFloats(out, 2, 3, 4, 28);
        device.neural().attention(zeros, zeros, values, null, new AttentionShape(4, 1, 1, 1, 1, 2), out);
        assertFloats(out, 2, 3, 5, 53);
        device.neural().attention(zeros, zeros, values, null, new AttentionShape(2, 1, 1, 1, 1, 0), out);
        assertFloats(out, 2, 3, 6, 53);
    }

    @Test
    void alibiWeighsAKeyByItsDistanceAndEachQueryHeadHasItsSlope() {
        float log3 = (float) Math.log(3);
        Tensor queries = floats(2, 0, 0, 0, 0);
        Tensor keys = floats(2, 0, 0);
        Tensor out = floats(2, 0, 0, 0, 0);
        device.neural().attention(queries, keys, floats(2, 8, 0), floats(1, log3, 0),
                new AttentionShape(2, 2, 1, 1, 1, 0), out);
        assertFloats(out, 8, 8, 2, 4);
    }

    @Test
    void scaledScoresGoThroughSoftmax() {
        float log4 = (float) Math.log(4);
        Tensor out = floats(2, 0, 0);
        device.neural().attention(floats(2, 0, 2), floats(2, log4, 0), floats(2, 5, 0), null,
                new AttentionShape(2, 1, 1, 1, 0.5f, 0), out);
        assertFloats(out, 5, 4);
    }

    @Test
    void activationsHaveTheirKnownValues() {
        assertEquals(0.73105858, activated(Activation.SILU, 1), 1e-7);
        assertEquals(0.84134475, activated(Activation.GELU, 1), 1e-7);
        assertEquals(-0.15865525, activated(Activation.GELU, -1), 1e-7);
        assertEquals(0.8411920, activated(Activation.GELU_TANH, 1), 1e-7);
        assertEquals(0, activated(Activation.RELU, -1));
    }

    private double activated(Activation activation, float value) {
        Tensor x = floats(1, value);
        device.neural().activate(activation, x);
        return x.memory().get(ValueLayout.JAVA_FLOAT, 0);
    }

    @Test
    void aUniformGuessLosesTheLogarithmOfTheVocabulary() {
        Tensor nll = arena.vector(DType.F64, 1);
        Tensor target = arena.vector(DType.I32, 1);
        target.memory().set(ValueLayout.JAVA_INT, 0, 2);
        device.neural().crossEntropy(floats(1, 3e8f, 3e8f, 3e8f, 3e8f, 3e8f), target, nll);
        assertEquals(Math.log(5), nll.memory().get(ValueLayout.JAVA_DOUBLE, 0), 1e-15);
    }

    @Test
    void theDivergenceOfAFairCoinFromOneOfThreeToOneIsHandComputed() {
        float log3 = (float) Math.log(3);
        Divergence found = divergence(floats(1, 1e8f, 1e8f), floats(1, log3, 0));
        // 1/2 log(2/3) + 1/2 log(2)
        assertEquals(0.5 * Math.log(2.0 / 3) + 0.5 * Math.log(2), found.kl(), 1e-7);
    }

    @Test
    void theDivergenceIsTheTeachersExpectationAndNotSymmetric() {
        float log3 = (float) Math.log(3);
        Divergence found = divergence(floats(1, log3, 0), floats(1, 0, 0));
        // 3/4 log(3/2) + 1/4 log(1/2)
        assertEquals(0.75 * Math.log(1.5) + 0.25 * Math.log(0.5), found.kl(), 1e-7);
    }

    @Test
    void twoRowsAgreeWhereTheFirstOfTheirLargestLogitsIsTheSameToken() {
        assertEquals(1, divergence(floats(1, 0, 5, 5), floats(1, 1, 2, 0)).agrees(), "the first of two equal ones");
        assertEquals(0, divergence(floats(1, 0, 5, 5), floats(1, 1, 0, 2)).agrees(), "the second is not the first");
    }

    private record Divergence(double kl, int agrees) {}

    private Divergence divergence(Tensor teacher, Tensor student) {
        Tensor kl = arena.vector(DType.F64, 1);
        Tensor agrees = arena.vector(DType.I32, 1);
        device.neural().klDivergence(teacher, student, kl, agrees);
        return new Divergence(kl.memory().get(ValueLayout.JAVA_DOUBLE, 0),
                agrees.memory().get(ValueLayout.JAVA_INT, 0));
    }

    private Tensor floats(long rows, float... values) {
        Tensor tensor = arena.matrix(DType.F32, rows, values.length / rows);
        for (int i = 0; i < values.length; i++) {
            tensor.memory().setAtIndex(ValueLayout.JAVA_FLOAT, i, values[i]);
        }
        return tensor;
    }

    private static void assertFloats(Tensor actual, float... expected) {
        assertArrayEquals(expected, actual.memory().toArray(ValueLayout.JAVA_FLOAT), 1e-6f);
    }
}
