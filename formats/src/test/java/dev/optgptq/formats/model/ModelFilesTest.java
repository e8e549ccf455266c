package dev.optgptq.formats.model;

import static dev.optgptq.formats.testing.Failures.assertUserError;

import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ModelFilesTest {

    @TempDir
    Path folder;

    @BeforeEach
    void makeModel() throws IOException {
        Files.writeString(folder.resolve("config.json"), "{}");
    }

    @ParameterizedTest
    @ValueSource(strings = {"config.json", "quantize_config.json", "tokenizer.json", "tokenizer_config.json",
            "model.safetensors", "model.safetensors.index.json", "merges.txt", "modeling_x.py", "chat_template.jinja"})
    void a_report_does_not_replace_a_file_of_the_model(String name) throws IOException {
        Files.writeString(folder.resolve(name), "{}");
        assertUserError(Code.OUTPUT, () -> ModelFiles.requireNone(folder.resolve(name)), name, "a file of the model");
    }

    @Test
    void nor_through_a_link() throws IOException {
        Path elsewhere = Files.createDirectory(folder.resolve("elsewhere"));
        Path link = Files.createSymbolicLink(elsewhere.resolve("x.json"), folder.resolve("config.json"));
        Path weights = Files.writeString(folder.resolve("model.safetensors"), "x");
        Path other = Files.createSymbolicLink(elsewhere.resolve("logits"), weights);
        assertUserError(Code.OUTPUT, () -> ModelFiles.requireNone(link), "x.json", "a file of the model");
        assertUserError(Code.OUTPUT, () -> ModelFiles.requireNone(other), "logits", "a file of the model");
    }

    @ParameterizedTest
    @ValueSource(strings = {"report.json", "report.html", "eval.json", "junit.xml", "not-there.txt"})
    void a_report_of_before_may_be_replaced(String name) throws IOException {
        if (!name.startsWith("not-there")) {
            Files.writeString(folder.resolve(name), "{}");
        }
        ModelFiles.requireNone(folder.resolve(name));
    }

    @Test
    void files_beside_no_model_may_be_replaced() throws IOException {
        Files.delete(folder.resolve("config.json"));
        ModelFiles.requireNone(Files.writeString(folder.resolve("tokenizer.json"), "{}"));
        ModelFiles.requireNoWeights(Files.writeString(folder.resolve("x.safetensors"), "{}"));
    }

    @Test
    void tensors_do_not_go_beside_a_models_weights() {
        assertUserError(Code.OUTPUT, () -> ModelFiles.requireNoWeights(folder.resolve("logits.safetensors")),
                "logits.safetensors", "take the file for weights");
    }
}
