package dev.optgptq.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class FloatRoundingTest {

    @Test
    void everyBf16PatternSurvivesWideningAndNarrowing() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            float value = FloatRounding.bf16ToFloat((short) bits);
            short back = FloatRounding.floatToBf16(value);
            if (Float.isNaN(value)) {
                assertTrue(Float.isNaN(FloatRounding.bf16ToFloat(back)), "NaN pattern " + bits);
            } else {
                assertEquals((short) bits, back);
            }
        }
    }

    @Test
    void halfwayBetweenTwoBf16TheEvenOneIsTakenAndJustOffItTheNearer() {
        for (int bits = 0; bits < 0x7f80; bits++) {
            double low = FloatRounding.bf16ToFloat((short) bits);
            double high = bits + 1 == 0x7f80 ? 0x1p128 : FloatRounding.bf16ToFloat((short) (bits + 1));
            double middle = (low + high) / 2;
            int even = (bits & 1) == 0 ? bits : bits + 1;
            assertEquals((short) even, FloatRounding.doubleToBf16(middle), "tie above pattern " + bits);
            assertEquals((short) bits, FloatRounding.doubleToBf16(Math.nextDown(middle)), "below tie " + bits);
            assertEquals((short) (bits + 1), FloatRounding.doubleToBf16(Math.nextUp(middle)), "above tie " + bits);
            assertEquals((short) (even | 0x8000), FloatRounding.doubleToBf16(-middle), "tie below -pattern " + bits);
        }
    }

    @Test
    void halfwayBetweenTwoF16TheEvenOneIsTakenAndJustOffItTheNearer() {
        for (int bits = 0; bits < 0x7c00; bits++) {
            double low = Float.float16ToFloat((short) bits);
            double high = bits + 1 == 0x7c00 ? 0x1p16 : Float.float16ToFloat((short) (bits + 1));
            double middle = (low + high) / 2;
            int even = (bits & 1) == 0 ? bits : bits + 1;
            assertEquals((short) even, FloatRounding.doubleToFloat16(middle), "tie above pattern " + bits);
            assertEquals((short) bits, FloatRounding.doubleToFloat16(Math.nextDown(middle)), "below tie " + bits);
            assertEquals((short) (bits + 1), FloatRounding.doubleToFloat16(Math.nextUp(middle)), "above tie " + bits);
        }
    }

    @Test
    void doublesBeyondTheRangeBecomeInfiniteAndNanStaysNan() {
        assertEquals(Float.POSITIVE_INFINITY, FloatRounding.bf16ToFloat(FloatRounding.doubleToBf16(1e300)));
        assertEquals(Float.NEGATIVE_INFINITY, Float.float16ToFloat(FloatRounding.doubleToFloat16(-1e300)));
        assertTrue(Float.isNaN(FloatRounding.bf16ToFloat(FloatRounding.doubleToBf16(Double.NaN))));
        assertTrue(Float.isNaN(FloatRounding.bf16ToFloat(
                FloatRounding.floatToBf16(Float.intBitsToFloat(0x7f800001)))));
    }
}
