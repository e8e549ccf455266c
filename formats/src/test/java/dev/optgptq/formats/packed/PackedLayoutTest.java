package dev.optgptq.formats.packed;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorSpec;
import java.util.List;
import org.junit.jupiter.api.Test;

class PackedLayoutTest {

    @Test
    void a_layer_is_four_tensors_of_the_published_shapes() {
        assertEquals(
                List.of(new TensorSpec("m.qweight", DType.I32, Shape.of(1024 / 8, 384)),
                        new TensorSpec("m.qzeros", DType.I32, Shape.of(8, 384 / 8)),
                        new TensorSpec("m.scales", DType.F16, Shape.of(8, 384)),
                        new TensorSpec("m.g_idx", DType.I32, Shape.of(1024))),
                new PackedLayout("m", 4, 128, 1024, 384).tensors());
    }

    @Test
    void three_bits_take_three_words_for_32_codes() {
        PackedLayout layout = new PackedLayout("m", 3, 32, 64, 96);
        assertEquals(Shape.of(6, 96), layout.qweight().shape());
        assertEquals(Shape.of(2, 9), layout.qzeros().shape());
    }

    @Test
    void a_group_size_of_minus_one_is_one_group() {
        assertEquals(1, new PackedLayout("m", 4, -1, 96, 32).groups());
    }

    @Test
    void sizes_that_cannot_be_packed_name_the_layer() {
        assertUserError(Code.UNSUPPORTED_MODEL, () -> new PackedLayout("layers.0.fc1", 4, -1, 100, 32), "layers.0.fc1",
                "multiple of 32 inputs, found 100");
        assertUserError(Code.UNSUPPORTED_MODEL, () -> new PackedLayout("layers.0.fc1", 4, -1, 32, 100),
                "multiple of 32 outputs, found 100");
    }

    @Test
    void a_group_size_that_does_not_divide_names_the_layer_and_one_that_does() {
        assertUserError(Code.BAD_SETTING, () -> new PackedLayout("layers.0.fc1", 4, 100, 384, 32), "layers.0.fc1",
                "384 inputs, found 100", "such as 128");
        assertUserError(Code.BAD_SETTING, () -> new PackedLayout("layers.0.fc1", 4, 256, 96, 32), "such as 32");
    }
}
