package dev.optgptq.calibrate.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.family.Position;
import dev.optgptq.calibrate.family.RotaryScaling;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PositionTablesTest {

    private static final int LENGTH = 16;

    @Test
    void slopesOfEightHeadsHalveFromOneHalf() {
        assertArrayEquals(new float[] {1 / 2f, 1 / 4f, 1 / 8f, 1 / 16f, 1 / 32f, 1 / 64f, 1 / 128f, 1 / 256f},
                PositionTables.slopes(new Position.Alibi(8, 1, DType.F32), 8));
    }

    @Test
    void slopesOfTwelveHeadsAreThoseOfEightThenEverySecondOfSixteen() {
        assertArrayEquals(
                new float[] {1 / 2f, 1 / 4f, 1 / 8f, 1 / 16f, 1 / 32f, 1 / 64f, 1 / 128f, 1 / 256f, 0.70710677f,
                        0.35355338f, 0.17677669f, 0.088388346f},
                PositionTables.slopes(new Position.Alibi(8, 1, DType.F32), 12), 1e-8f);
    }

    /** The formula of the ALiBi authors and of BLOOM, which is written differently. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5, 7, 12, 20, 31, 32, 33, 112})
    void slopesAgreeWithTheAuthorsForAnyNumberOfHeads(int heads) {
        int power = Integer.highestOneBit(heads);
        float[] slopes = PositionTables.slopes(new Position.Alibi(8, 1, DType.F32), heads);
        for (int head = 0; head < heads; head++) {
            double exponent = head < power ? -8.0 * (head + 1) / power : -4.0 * (2 * (head - power) + 1) / power;
            assertEquals(Math.pow(2, exponent), slopes[head], 1e-7, "head " + head + " of " + heads);
        }
    }

    @Test
    void aLargerMaximumSteepensEverySlope() {
        assertArrayEquals(new float[] {1 / 16f, 1 / 256f},
                PositionTables.slopes(new Position.Alibi(8, 1, DType.F32), 2));
        assertArrayEquals(new float[] {1 / 256f, 1 / 65536f},
                PositionTables.slopes(new Position.Alibi(16, 1, DType.F32), 2));
    }

    @Test
    void frequenciesFallGeometrically() {
        double[] frequencies = frequencies(new RotaryScaling.Default());
        assertArrayEquals(new double[] {1, 0.1, 0.01, 0.001}, frequencies, 1e-8);
    }

    @Test
    void linearScalingDividesEveryFrequency() {
        assertArrayEquals(new double[] {0.25, 0.025, 0.0025, 0.00025}, frequencies(new RotaryScaling.Linear(4)), 1e-8);
    }

    /**
     * Context 628: wavelengths 6.28, 62.8, 628, 6283. Long ones, above 628 / 1, are divided; short ones, below 628 / 4 =
     * 157, are kept; 628.3 > 628 is just long.
     */
    @Test
    void llama3ScalingKeepsShortWavelengthsAndDividesLongOnes() {
        assertArrayEquals(new double[] {1, 0.1, 0.01 / 8, 0.001 / 8},
                frequencies(new RotaryScaling.Llama3(8, 1, 4, 628)), 1e-8);
    }

    /** Context 1256.6 holds 2 wavelengths of 628.3: (2 - 1) / (4 - 1) of the way from divided to kept. */
    @Test
    void llama3ScalingInterpolatesBetween() {
        double third = frequencies(new RotaryScaling.Llama3(8, 1, 4, 2 * 2 * Math.PI / 0.01))[2];
        assertEquals(0.01 / 3 + 2.0 / 3 * 0.01 / 8, third, 1e-8);
    }

    private static double[] frequencies(RotaryScaling scaling) {
        return PositionTables.frequencies(new Position.Rotary(10_000, 8, RotaryLayout.HALF, scaling, DType.F32),
                LENGTH);
    }

    @Test
    void frequenciesAreRoundedAsAModelCastInMemoryHasThem() {
        Position.Rotary form = new Position.Rotary(10_000, 8, RotaryLayout.HALF, new RotaryScaling.Default(),
                DType.F32);
        // 0.1 is 1.6 / 16: bfloat16 keeps 7 bits of the 0.6, float16 keeps 10.
        assertEquals(205.0 / 128 / 16, PositionTables.frequencies(form.withFrequencyType(DType.BF16), LENGTH)[1]);
        assertEquals(1638.0 / 1024 / 16, PositionTables.frequencies(form.withFrequencyType(DType.F16), LENGTH)[1]);
    }
}
