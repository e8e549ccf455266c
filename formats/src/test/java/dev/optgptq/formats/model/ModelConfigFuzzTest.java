package dev.optgptq.formats.model;

import static dev.optgptq.formats.testing.Fuzzing.succeedsOrUserError;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;

class ModelConfigFuzzTest {

    /** Whatever a look-up returns is what it promises. */
    @FuzzTest(maxDuration = "1m")
    void any_bytes_are_a_config_with_checked_values_or_an_error(byte[] bytes) {
        succeedsOrUserError(() -> {
            String text = Json.decodeUtf8(ByteBuffer.wrap(bytes), "config.json", Code.BAD_MODEL);
            ModelConfig config = new ModelConfig(Json.parseObject(text, "config.json", Code.BAD_MODEL),
                    Path.of("config.json"));
            config.json().propertyNames().forEach(key -> lookUp(config, key));
            List.of("hidden_size", "attn_config.alibi", "rope_scaling.factor", "a..b", ".", "")
                    .forEach(key -> lookUp(config, key));
        });
    }

    private static void lookUp(ModelConfig config, String key) {
        assertTrue(!config.has(key) || !config.at(key).isMissingNode());
        succeedsOrUserError(() -> assertTrue(config.positiveInt(key) > 0));
        succeedsOrUserError(() -> assertTrue(Double.isFinite(config.number(key))));
        succeedsOrUserError(() -> assertNotNull(config.text(key)));
        succeedsOrUserError(() -> assertTrue(config.flag(key) || config.has(key)));
    }
}
