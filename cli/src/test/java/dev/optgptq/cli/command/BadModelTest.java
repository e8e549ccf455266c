package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Damage;
import dev.optgptq.cli.testing.Models;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Models that cannot be used: exit code 1, which file or tensor, expected, found, remedy; and nothing is written. */
class BadModelTest {

    private static final String DOWN = "model.layers.2.mlp.down_proj.weight";

    @TempDir
    Path directory;

    static Stream<Arguments> damages() {
        return Stream.of(
                damage("config.json is missing", model -> Damage.delete(model, "config.json"),
                        "config.json", "the file is missing", "check the path"),
                damage("config.json is no JSON", model -> Damage.write(model, "config.json", "{\"hidden_size\": "),
                        "config.json", "expected valid JSON"),
                damage("config.json is a list", model -> Damage.write(model, "config.json", "[]"),
                        "config.json", "expected a JSON object"),
                damage("family is unknown", model -> config(model, "\"model_type\": \"llama\"",
                        "\"model_type\": \"mamba\""), "config.json", "mamba", "nearest", "llama", "opt-gptq families"),
                damage("activation is unknown", model -> config(model, "\"silu\"", "\"mish\""),
                        "config.json", "hidden_act", "mish", "supported are"),
                damage("size is no number", model -> config(model, "\"hidden_size\": 128",
                        "\"hidden_size\": \"wide\""), "config.json", "hidden_size"),
                damage("size is negative", model -> config(model, "\"hidden_size\": 128", "\"hidden_size\": -128"),
                        "config.json", "hidden_size", "-128"),
                damage("config contradicts the shapes", model -> config(model, "\"intermediate_size\": 384",
                        "\"intermediate_size\": 512"), "mlp", "[512, 128]", "[384, 128]", "model.safetensors"),
                damage("config asks for more blocks", model -> config(model, "\"num_hidden_layers\": 4",
                        "\"num_hidden_layers\": 5"), "missing model.layers.4", "and more",
                        "config.json is from another model"),
                damage("config asks for fewer blocks", model -> config(model, "\"num_hidden_layers\": 4",
                        "\"num_hidden_layers\": 3"), "model.layers.3", "config.json"),
                damage("weights are missing", model -> Damage.delete(model, "model.safetensors"),
                        "model.safetensors", "expected"),
                damage("shard is missing", Damage::loseShard, "model-00002-of-00002.safetensors", "missing"),
                damage("weights are truncated", Damage::truncateWeights, "model.safetensors", "expected", "found",
                        "truncated"),
                damage("header is longer than the file", Damage::lengthenHeader, "model.safetensors", "header",
                        "expected", "found"),
                damage("weight is NaN", model -> Damage.plantNan(model, DOWN), DOWN, "1 of 49152 values",
                        "NaN or infinite", "model.safetensors"),
                damage("tokenizer is missing", model -> Damage.delete(model, "tokenizer.json"), "tokenizer.json",
                        "the tokenizer is missing", "fetch"),
                damage("tokenizer is no JSON", model -> Damage.write(model, "tokenizer.json", "<html>404</html>"),
                        "tokenizer.json", "expected valid JSON"));
    }

    @ParameterizedTest(name = "when {0}")
    @MethodSource("damages")
    void quantize_names_what_is_wrong_and_writes_nothing(String name, Consumer<Path> damage, List<String> parts) {
        Path model = Models.copy(Models.llama(), directory.resolve("model"));
        damage.accept(model);
        List<String> before = Models.names(model);
        CommandRun.of("quantize", model, "--samples", 2, "--sequence-length", 32, "--eval", "none")
                .failsWith(1, parts.toArray(String[]::new));
        assertEquals(List.of("model"), Models.names(directory), "what " + name + " left behind");
        assertEquals(before, Models.names(model));
    }

    @Test
    void a_model_that_is_not_there_is_named() {
        for (String command : List.of("quantize", "inspect")) {
            CommandRun.of(command, directory.resolve("nowhere")).failsWith(1, "nowhere", "found nothing",
                    "check the path");
        }
        CommandRun.of("eval", "perplexity", directory.resolve("nowhere")).failsWith(1, "nowhere", "found nothing");
        assertEquals(List.of(), Models.names(directory));
    }

    @Test
    void a_file_is_no_model_directory() {
        CommandRun.of("quantize", Models.llama().resolve("config.json")).failsWith(1, "config.json",
                "expected a model directory", "found a file");
    }

    @Test
    void a_model_that_is_quantized_already_is_refused() {
        Path quantized = directory.resolve("w4");
        CommandRun.of("quantize", Models.llama(), "--calibrator", "rtn", "--eval", "none", "--output", quantized)
                .succeeds();
        CommandRun.of("quantize", quantized, "--eval", "none").failsWith(1, "already quantized to 4 bits",
                "quantize the original model");
        CommandRun.of("convert-gqa", quantized, "--eval", "none").failsWith(1, "already quantized to 4 bits",
                "convert the original model and then quantize the converted one");
        assertEquals(List.of("w4"), Models.names(directory));
    }

    @ParameterizedTest
    @ValueSource(strings = {"quantize", "convert-gqa"})
    void a_tokenizer_with_more_tokens_than_the_model_is_refused_and_nothing_is_written(String command) {
        Path model = Models.copy(Models.llama(), directory.resolve("model"));
        Damage.replace(model, "tokenizer.json", "the\": 262,", "the\": 26200,");
        CommandRun.of(command, model, "--eval", "none", "--samples", 4, "--sequence-length", 64, "--output",
                directory.resolve("out")).failsWith(1, "is outside the model's vocabulary of",
                        "the tokenizer is from another model", "into its folder");
        assertEquals(List.of("model"), Models.names(directory));
    }

    @Test
    void inspect_describes_a_family_that_cannot_be_quantized() {
        Path model = Models.copy(Models.llama(), directory.resolve("model"));
        config(model, "\"model_type\": \"llama\"", "\"model_type\": \"mamba\"");
        CommandRun.of("inspect", model).succeeds().prints("mamba", "not supported", "1,377,408", "BF16");
    }

    private static void config(Path model, String from, String to) {
        Damage.replace(model, "config.json", from, to);
    }

    private static Arguments damage(String name, Consumer<Path> damage, String... parts) {
        return arguments(name, damage, List.of(parts));
    }
}
