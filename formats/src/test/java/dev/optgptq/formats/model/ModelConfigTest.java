package dev.optgptq.formats.model;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ModelConfigTest {

    private static final ModelConfig CONFIG = new ModelConfig(Json.parseObject(
            """
                    {"hidden_size": 384, "rms_norm_eps": 1e-06, "model_type": "mpt", "attn_config": {"alibi": true, "x": {"y": 3}},
                     "pad": null, "zero": 0, "large": 2147483648, "fraction": 1.5, "infinite": 1e999, "empty": ""}""",
            "config.json", Code.BAD_MODEL), Path.of("config.json"));

    @Test
    void values_are_found_by_dotted_keys() {
        assertEquals(384, CONFIG.positiveInt("hidden_size"));
        assertEquals(1e-6, CONFIG.number("rms_norm_eps"));
        assertEquals(384, CONFIG.number("hidden_size"));
        assertEquals("mpt", CONFIG.text("model_type"));
        assertTrue(CONFIG.flag("attn_config.alibi"));
        assertEquals(3, CONFIG.positiveInt("attn_config.x.y"));
    }

    @Test
    void null_counts_as_absent() {
        assertFalse(CONFIG.has("pad"));
        assertFalse(CONFIG.has("attn_config.nothing.at.all"));
        assertFalse(CONFIG.has("hidden_size.deeper"));
        assertTrue(CONFIG.has("attn_config.x"));
        assertTrue(CONFIG.at("nothing").isMissingNode());
    }

    @ParameterizedTest
    @ValueSource(strings = {"zero", "large", "fraction", "model_type", "pad", "nothing", "attn_config", "infinite"})
    void a_value_that_is_not_a_positive_int_is_an_error_that_names_key_and_file(String key) {
        assertUserError(Code.BAD_MODEL, () -> CONFIG.positiveInt(key), "config.json",
                "expected a whole number from 1 to 2147483647 at '" + key + "', found ");
    }

    @ParameterizedTest
    @ValueSource(strings = {"infinite", "model_type", "pad", "nothing"})
    void a_value_that_is_not_a_finite_number_is_an_error(String key) {
        assertUserError(Code.BAD_MODEL, () -> CONFIG.number(key), "expected a finite number at '" + key + "'");
    }

    @Test
    void text_and_flags_are_not_converted_from_other_kinds() {
        assertUserError(Code.BAD_MODEL, () -> CONFIG.text("hidden_size"),
                "expected a string at 'hidden_size', found the number 384");
        assertUserError(Code.BAD_MODEL, () -> CONFIG.flag("zero"),
                "expected true or false at 'zero', found the number 0");
    }
}
