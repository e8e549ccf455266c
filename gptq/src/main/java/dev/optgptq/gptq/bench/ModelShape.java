package dev.optgptq.gptq.bench;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.model.ModelConfig;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * The shape of a model: a config.json without weights.
 *
 * @param name "llama-7b", or the path of a config.json
 */
public record ModelShape(String name, ModelConfig config, ModelSpec spec) {

    /** Those that come along, as config.json files among the resources. */
    public static final List<String> BUNDLED = List.of("tiny", "tinyllama", "llama-7b");

    /** A shape that comes along, by its name, or any model's config.json, by its path. Throws UserError BAD_SETTING. */
    public static ModelShape of(String name) {
        ModelConfig config = BUNDLED.contains(name) ? bundled(name) : read(name);
        return new ModelShape(name, config, ModelSpec.resolve(config));
    }

    private static ModelConfig read(String name) {
        Path file = Path.of(name);
        if (!Files.isRegularFile(file)) {
            throw new UserError(Code.BAD_SETTING, "--shape: expected one of " + String.join(", ", BUNDLED)
                    + ", or the path of a model's config.json, found " + name);
        }
        return ModelConfig.read(file);
    }

    private static ModelConfig bundled(String name) {
        String resource = "shapes/" + name + ".json";
        try (InputStream in = ModelShape.class.getResourceAsStream(resource)) {
            if (in == null) {
                throw new IllegalStateException("no resource " + resource);
            }
            String text = new String(in.readAllBytes(), StandardCharsets.UTF_8);
            return new ModelConfig(Json.parseObject(text, resource, Code.BAD_MODEL), Path.of(resource));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
