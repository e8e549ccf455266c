package dev.optgptq.formats.model;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What of a model's directory goes along with its quantized weights. */
class CompanionsTest {

    @TempDir
    Path folder;

    private Path model = Path.of("");

    @BeforeEach
    void makeModel() throws IOException {
        model = Files.createDirectory(folder.resolve("model"));
        Files.writeString(model.resolve("config.json"), "{}");
    }

    @Test
    void everything_goes_along_that_is_not_weights_not_an_index_not_hidden_and_not_written_anew() throws IOException {
        List<String> companions = List.of("Licence.md", "README.md", "USE_POLICY", "added_tokens.json",
                "chat_template.jinja", "code/__init__.py", "code/nested/layers.py", "generation_config.json",
                "merges.txt",
                "modeling_x.py", "original/params.json", "original/tokenizer.model", "preprocessor_config.json",
                "templates/tools.jinja", "tokenizer.json", "video_processor.json", "vocab.json");
        for (String name : companions) {
            create(name);
        }
        for (String name : List.of("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                "pytorch_model.bin.index.json", "original/consolidated.00.pth", "onnx/model.onnx", "tf_model.h5",
                "x.gguf",
                "quantize_config.json", "report.json", "report.html", ".opt-gptq", ".git/HEAD", ".env",
                ".cache/huggingface/download/x.lock")) {
            create(name);
        }
        assertEquals(companions, names());
    }

    @Test
    void a_report_in_a_folder_of_the_model_is_the_models() throws IOException {
        create("results/report.json");
        assertEquals(List.of("results/report.json"), names());
    }

    @Test
    void links_of_a_hubs_cache_lead_to_its_blobs_and_their_content_is_taken() throws IOException {
        Path blobs = Files.createDirectories(folder.resolve("models--org--name/blobs"));
        Path snapshot = Files.createDirectories(folder.resolve("models--org--name/snapshots/4f3c"));
        Path blob = Files.writeString(blobs.resolve("abc"), "{}");
        Files.createSymbolicLink(snapshot.resolve("tokenizer.json"), Path.of("../../blobs/abc"));

        assertEquals(List.of(new Companion(Path.of("tokenizer.json"), blob.toRealPath())), Companions.in(snapshot));
    }

    @Test
    void a_link_inside_the_model_is_taken() throws IOException {
        Path real = create("original/tokenizer.json");
        Files.createSymbolicLink(model.resolve("tokenizer.json"), Path.of("original/tokenizer.json"));
        assertEquals(List.of(new Companion(Path.of("original/tokenizer.json"), real.toRealPath()),
                new Companion(Path.of("tokenizer.json"), real.toRealPath())), Companions.in(model));
    }

    @Test
    void a_link_to_the_model_shows_what_is_in_it() throws IOException {
        Path real = create("tokenizer.json");
        Path link = Files.createSymbolicLink(folder.resolve("link"), model);
        assertEquals(List.of(new Companion(Path.of("tokenizer.json"), real.toRealPath())), Companions.in(link));
    }

    @Test
    void a_link_out_of_the_model_is_refused_with_its_target() throws IOException {
        Path secret = Files.writeString(folder.resolve("id_rsa"), "secret");
        Files.createSymbolicLink(model.resolve("chat_template.jinja"), secret);
        assertUserError(Code.BAD_MODEL, () -> Companions.in(model), model.resolve("chat_template.jinja").toString(),
                secret.toString(), "outside of the model's directory");
    }

    @Test
    void a_link_to_a_folder_is_refused() throws IOException {
        Files.createDirectory(folder.resolve("elsewhere"));
        Files.createSymbolicLink(model.resolve("templates"), folder.resolve("elsewhere"));
        assertUserError(Code.BAD_MODEL, () -> Companions.in(model), model.resolve("templates").toString(),
                "found a directory");
    }

    @Test
    void a_link_that_leads_nowhere_is_named_with_its_target() throws IOException {
        Files.createSymbolicLink(model.resolve("tokenizer.json"), Path.of("../../blobs/abc"));
        assertUserError(Code.BAD_MODEL, () -> Companions.in(model), model.resolve("tokenizer.json").toString(),
                "leads to ../../blobs/abc", "not there");
    }

    @Test
    void a_pointer_of_git_lfs_is_not_taken_for_the_file() throws IOException {
        Files.writeString(model.resolve("tokenizer.model"),
                "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
        assertUserError(Code.BAD_MODEL, () -> Companions.in(model), "tokenizer.model", "Git LFS pointer");
    }

    private Path create(String name) throws IOException {
        Path file = model.resolve(name);
        Files.createDirectories(file.resolveSibling("."));
        return Files.createFile(file);
    }

    private List<String> names() {
        try (Stream<Companion> companions = Companions.in(model).stream()) {
            return companions.map(companion -> companion.name().toString()).toList();
        }
    }
}
