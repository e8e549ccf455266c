package dev.optgptq.gptq.run;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.run.MatmulDtype.Multiplier;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.kernels.Device.Halves;
import java.util.Objects;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What the linears multiply: the stored dtype where that is fast and right, and a line in the log where it is not. */
class MatmulDtypeTest {

    private static final Multiplier PROCESSOR = multiplier("cpu", half -> Halves.WIDENED);
    private static final Multiplier WITH_BFLOAT16 = multiplier("cpu",
            half -> half == DType.BF16 ? Halves.VECTOR : Halves.WIDENED);
    private static final Multiplier CARD = multiplier("cuda:0", half -> Halves.FAST);
    private static final Multiplier WRONG_BFLOAT16 = multiplier("hip:0",
            half -> half == DType.BF16 ? Halves.PLAIN : Halves.FAST);
    private static final Multiplier NO_LIBRARY = multiplier("hip:0", half -> Halves.PLAIN);

    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F16", "BF16"})
    void a_card_multiplies_a_model_of_halves_in_its_own_dtype_and_says_nothing(DType stored) {
        for (Precision precision : new Precision[] {Precision.AUTO, Precision.HALF}) {
            MatmulDtype products = MatmulDtype.choose(precision, stored, CARD);
            assertEquals(stored, products.dtype());
            assertNull(products.remark());
        }
    }

    @ParameterizedTest
    @EnumSource(value = DType.class, names = {"F16", "BF16", "F32"})
    void a_processor_multiplies_in_float32(DType stored) {
        assertEquals(new MatmulDtype(DType.F32, null), MatmulDtype.choose(Precision.AUTO, stored, PROCESSOR));
    }

    @Test
    void halves_on_a_processor_are_refused() {
        assertUserError(Code.BAD_SETTING, () -> MatmulDtype.choose(Precision.HALF, DType.BF16, PROCESSOR),
                "--precision half",
                "cpu", "float32 only (no units for it)");
    }

    @Test
    void a_processor_with_bfloat16_multiplies_in_it_when_asked_to() {
        assertEquals(new MatmulDtype(DType.BF16, null),
                MatmulDtype.choose(Precision.HALF, DType.BF16, WITH_BFLOAT16));
        assertEquals(new MatmulDtype(DType.F32, null),
                MatmulDtype.choose(Precision.FLOAT32, DType.BF16, WITH_BFLOAT16));
        assertEquals(new MatmulDtype(DType.F32, null),
                MatmulDtype.choose(Precision.AUTO, DType.BF16, WITH_BFLOAT16));
        assertUserError(Code.BAD_SETTING, () -> MatmulDtype.choose(Precision.HALF, DType.F16, WITH_BFLOAT16),
                "cpu multiplies F16 in float32 only");
    }

    @Test
    void a_model_stored_in_float32_is_rounded_only_when_asked_for() {
        assertSays(MatmulDtype.choose(Precision.AUTO, DType.F32, CARD), DType.F32, "as the model is stored");
        assertEquals(new MatmulDtype(DType.BF16, null), MatmulDtype.choose(Precision.HALF, DType.F32, CARD));
    }

    @Test
    void where_the_library_is_wrong_with_bfloat16_float16_takes_its_place_and_the_log_says_so() {
        assertSays(MatmulDtype.choose(Precision.AUTO, DType.BF16, WRONG_BFLOAT16), DType.F16, "instead of BF16");
        assertSays(MatmulDtype.choose(Precision.HALF, DType.BF16, WRONG_BFLOAT16), DType.F16, "instead of BF16");
    }

    @Test
    void without_a_library_halves_are_taken_only_when_asked_for() {
        assertSays(MatmulDtype.choose(Precision.AUTO, DType.BF16, NO_LIBRARY), DType.F32, "no BLAS");
        assertSays(MatmulDtype.choose(Precision.HALF, DType.BF16, NO_LIBRARY), DType.BF16, "no faster than float32");
    }

    @Test
    void float32_is_float32_everywhere() {
        assertEquals(new MatmulDtype(DType.F32, null), MatmulDtype.choose(Precision.FLOAT32, DType.BF16, CARD));
    }

    private static Multiplier multiplier(String name, Function<DType, Halves> halves) {
        return new Multiplier(name, !name.equals("cpu"), halves, half -> "no units for it");
    }

    private static void assertSays(MatmulDtype products, DType dtype, String part) {
        assertEquals(dtype, products.dtype());
        assertNotNull(products.remark());
        assertTrue(Objects.requireNonNull(products.remark()).contains(part), products::toString);
    }
}
