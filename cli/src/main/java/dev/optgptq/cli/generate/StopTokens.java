package dev.optgptq.cli.generate;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/** The tokens that end an answer: eos_token_id of generation_config.json, else of config.json, one or several. */
final class StopTokens {

    private static final String KEY = "eos_token_id";

    private StopTokens() {}

    static Set<Integer> of(Path model) {
        Set<Integer> found = new LinkedHashSet<>();
        Path generation = model.resolve("generation_config.json");
        if (Files.exists(generation)) {
            add(Json.readObject(generation, Code.BAD_MODEL).path(KEY), found);
        }
        if (found.isEmpty()) {
            add(Json.readObject(model.resolve("config.json"), Code.BAD_MODEL).path(KEY), found);
        }
        return found;
    }

    private static void add(JsonNode value, Set<Integer> found) {
        if (value.isArray()) {
            value.forEach(element -> add(element, found));
        } else if (value.isIntegralNumber() && value.canConvertToInt()) {
            found.add(value.intValue());
        }
    }
}
