package dev.optgptq.calibrate.family;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelConfig;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Objects;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.json.JsonMapper;

/** The families that are described. To add one: a JSON file beside the others, its name here, and a fixture in the tests. */
public final class Families {

    private static final List<String> NAMES = List.of("llama", "mpt");

    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .build();

    private Families() {}

    /** The values of model_type that are supported. */
    public static List<String> names() {
        return NAMES;
    }

    static Family of(ModelConfig config) {
        String type = config.text("model_type");
        if (!NAMES.contains(type)) {
            throw new UserError(UserError.Code.UNSUPPORTED_MODEL, config.file() + ": model_type is \"" + type
                    + "\"; supported are " + String.join(", ", NAMES));
        }
        return load(type);
    }

    static Family load(String name) {
        String resource = "/dev/optgptq/calibrate/families/" + name + ".json";
        try (InputStream json = Families.class.getResourceAsStream(resource)) {
            return JSON.readValue(Objects.requireNonNull(json, resource), Family.class);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
