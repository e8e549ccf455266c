package dev.optgptq.formats.packed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.Floats;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Zero points of two linears, 2 groups of 32 inputs and 32 outputs, all of them 8 but one. */
class PackedLinearTest {

    private static final int OUTPUTS = 32;
    private static final int GROUPS = 2;
    private static final int CHANGED = OUTPUTS + 5;

    @Test
    void zero_points_are_compared_whatever_is_stored_of_them() {
        PackedLinear one = linear(8, 1, 0.5f);
        PackedLinear other = linear(8, 0, 0.5f);
        assertFalse(one.qzeros().mismatch(other.qzeros()) < 0);
        assertTrue(one.hasZerosOf(other));
        assertTrue(one.hasSymmetricZeros() && other.hasSymmetricZeros());
    }

    @Test
    void another_zero_point_is_another_weight() {
        assertFalse(linear(8, 0, 0.5f).hasZerosOf(linear(9, 0, 0.5f)));
        assertFalse(linear(9, 1, 0.5f).hasSymmetricZeros());
    }

    @ParameterizedTest
    @ValueSource(floats = {0f, -0f})
    void a_zero_point_of_weights_that_are_all_0_does_not_count(float scale) {
        assertTrue(linear(8, 0, scale).hasZerosOf(linear(9, 0, scale)));
    }

    @Test
    void zero_points_survive_another_way_to_store_them() {
        PackedLinear one = linear(9, 1, 0.5f);
        assertEquals(-1, one.qzeros().mismatch(one.withZeroOffset(0).withZeroOffset(1).qzeros()));
    }

    /** Zero point and scale of one group of one output; the others are 8 and 0.25. */
    private static PackedLinear linear(int zero, int offset, float scale) {
        int[] points = new int[GROUPS * OUTPUTS];
        short[] scales = new short[GROUPS * OUTPUTS];
        Arrays.fill(points, 8);
        Arrays.fill(scales, Floats.toF16(0.25f));
        points[CHANGED] = zero;
        scales[CHANGED] = Floats.toF16(scale);
        MemorySegment qzeros = MemorySegment.ofArray(new int[GROUPS * OUTPUTS / 8]);
        Packing.packZeros(MemorySegment.ofArray(points), 4, GROUPS, OUTPUTS, offset, qzeros);
        return new PackedLinear(4, 64, OUTPUTS, GROUPS, offset, MemorySegment.NULL, qzeros,
                MemorySegment.ofArray(scales), MemorySegment.NULL);
    }
}
