package dev.optgptq.formats.dtype;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FloatsTest {

    @Test
    void every_bfloat16_survives_the_way_to_float32_and_back() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            float value = Floats.fromBF16((short) bits);
            assertSameOrBothNaN((short) bits, Floats.toBF16(value), value);
        }
    }

    @Test
    void every_float16_survives_the_way_to_float32_and_back() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            float value = Floats.fromF16((short) bits);
            assertSameOrBothNaN((short) bits, Floats.toF16(value), value);
        }
    }

    @ParameterizedTest
    @CsvSource({"1.0, 1.0", "1.00390625, 1.0", "1.01171875, 1.015625", "1.0039064, 1.0078125", "-1.00390625, -1.0",
            "3.4028235e38, Infinity", "1e-45, 0.0"})
    void bfloat16_rounds_to_nearest_with_ties_to_even(float value, float rounded) {
        assertEquals(rounded, Floats.fromBF16(Floats.toBF16(value)));
    }

    @ParameterizedTest
    @CsvSource({"65504, 65504", "65519.996, 65504", "65520, Infinity", "1.00048828125, 1.0",
            "1.00146484375, 1.001953125",
            "2.9802322e-8, 0.0", "2.9802326e-8, 5.9604645e-8"})
    void float16_rounds_to_nearest_with_ties_to_even(float value, float rounded) {
        assertEquals(rounded, Floats.fromF16(Floats.toF16(value)));
    }

    @Test
    void the_nearest_bfloat16_is_never_beaten_by_its_neighbours() {
        Random random = new Random(7);
        for (int i = 0; i < 100_000; i++) {
            float value = (float) (random.nextGaussian() * Math.exp(random.nextInt(60) - 30));
            short bits = Floats.toBF16(value);
            double error = Math.abs((double) Floats.fromBF16(bits) - value);
            for (int step = -1; step <= 1; step += 2) {
                double other = Math.abs((double) Floats.fromBF16((short) (bits + step)) - value);
                assertTrue(error <= other, "seed 7, " + value);
            }
        }
    }

    @Test
    void a_nan_whose_payload_is_cut_off_stays_a_nan() {
        assertTrue(Float.isNaN(Floats.fromBF16(Floats.toBF16(Float.intBitsToFloat(0x7f800001)))));
    }

    private static void assertSameOrBothNaN(short expected, short found, float value) {
        if (Float.isNaN(value)) {
            assertTrue(Float.isNaN(Floats.fromBF16(found)) || Float.isNaN(Floats.fromF16(found)));
        } else {
            assertEquals(expected, found);
        }
    }

    /** Sign, exponent with a bias of 7, mantissa (arXiv 2209.05433, table 1); written out in float64. */
    @Test
    void every_e4m3_is_what_its_specification_says() {
        for (int bits = 0; bits < 256; bits++) {
            int exponent = bits / 8 % 16;
            double mantissa = bits % 8 / 8.0;
            double size = exponent == 0 ? mantissa / 64 : (1 + mantissa) * Math.pow(2, exponent - 7);
            double expected = exponent == 15 && mantissa == 0.875 ? Double.NaN : bits < 128 ? size : -size;
            assertEquals(expected, Floats.fromE4M3((byte) bits), "bits " + bits);
        }
        assertEquals(448, Floats.fromE4M3((byte) 0x7e));
    }

    /** OCP Microscaling Formats 1.0, tables 5 and 7. */
    @Test
    void every_e2m1_and_e8m0_is_what_their_specification_says() {
        float[] values = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
        for (int bits = 0; bits < 16; bits++) {
            assertEquals(bits < 8 ? values[bits] : -values[bits - 8], Floats.fromE2M1(bits), "bits " + bits);
        }
        for (int bits = 0; bits < 255; bits++) {
            assertEquals(Math.pow(2, bits - 127), Floats.fromE8M0((byte) bits), "bits " + bits);
        }
        assertTrue(Float.isNaN(Floats.fromE8M0((byte) 255)));
    }
}
