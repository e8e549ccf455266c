package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Where a run writes, and what it refuses to write over. */
class OutputTest {

    @TempDir
    Path directory;

    @Test
    void the_default_is_a_sibling_named_after_the_settings_and_the_run_says_so() {
        Path model = Models.copy(Models.llama(), directory.resolve("model"));
        CommandRun.of("quantize", model, "--calibrator", "rtn", "--bits", 3, "--group-size", -1, "--no-symmetric",
                "--eval", "none").succeeds().says("--output " + directory.resolve("model-rtn-w3-row-asym"))
                .prints("wrote " + directory.resolve("model-rtn-w3-row-asym"));
        assertEquals(List.of("model", "model-rtn-w3-row-asym"), Models.names(directory));
    }

    @Test
    void a_complete_model_directory_is_written_and_nothing_beside_it() {
        rtn("out").succeeds();
        assertEquals(List.of(".opt-gptq", "config.json", "generation_config.json", "model.safetensors",
                "quantize_config.json",
                "report.html", "report.json", "tokenizer.json"), Models.names(directory.resolve("out")));
        assertEquals(List.of("out"), Models.names(directory));
    }

    @Test
    void an_existing_output_is_left_alone_without_overwrite() throws IOException {
        Path marker = Files.createDirectories(directory.resolve("out")).resolve("config.json");
        Files.writeString(marker, "mine");
        rtn("out").failsWith(1, "out exists", "--overwrite");
        assertEquals("mine", Files.readString(marker));
        assertEquals(List.of("config.json"), Models.names(directory.resolve("out")));
    }

    @Test
    void overwrite_replaces_an_older_checkpoint_whole() throws IOException {
        rtn("out").succeeds();
        rtn("out", "--bits", 8, "--overwrite").succeeds();
        CommandRun.of("inspect", directory.resolve("out")).succeeds().prints("8 bits");
        assertEquals(List.of("out"), Models.names(directory));
    }

    @Test
    void overwrite_keeps_the_older_checkpoint_when_the_run_fails() {
        rtn("out").succeeds();
        rtn("out", "--overwrite", "--eval", directory.resolve("nowhere.txt")).failsWith(1, "nowhere.txt");
        CommandRun.of("inspect", directory.resolve("out")).succeeds().prints("4 bits");
        assertEquals(List.of("out"), Models.names(directory));
    }

    @Test
    void overwrite_never_removes_what_is_no_model() throws IOException {
        Path precious = Files.createDirectories(directory.resolve("home")).resolve("thesis.tex");
        Files.writeString(precious, "years of work");
        rtn("home", "--overwrite").failsWith(1, "home", "did not write", "left alone");
        assertTrue(Files.exists(precious));
    }

    @Test
    void what_came_into_an_output_later_is_not_removed() throws IOException {
        rtn("out").succeeds();
        Path notes = Files.writeString(directory.resolve("out/notes.md"), "mine");
        rtn("out", "--overwrite").failsWith(1, "notes.md in it", "left alone");
        assertEquals("mine", Files.readString(notes));
    }

    @Test
    void a_text_inside_the_output_is_not_removed() throws IOException {
        rtn("out").succeeds();
        Path text = Models.text(directory.resolve("out"));
        rtn("out", "--overwrite", "--eval", text).failsWith(1, text.toString(), "outside of the output");
        assertTrue(Files.exists(text));
    }

    @Test
    void a_report_does_not_replace_a_file_of_a_model() throws IOException {
        Path model = Models.copy(Models.llama(), directory.resolve("model"));
        String config = Files.readString(model.resolve("config.json"));
        rtn("out", "--report", model.resolve("config")).failsWith(1, "config.json", "a file of the model");
        assertEquals(config, Files.readString(model.resolve("config.json")));
    }

    @Test
    void the_model_itself_is_never_the_output() {
        Path model = Models.copy(Models.llama(), directory.resolve("model"));
        CommandRun.of("quantize", model, "--output", model, "--overwrite").failsWith(1, "is or holds the model");
        CommandRun.of("inspect", model).succeeds().prints("none");
    }

    @ParameterizedTest
    @ValueSource(strings = {"quantize", "convert-gqa"})
    void nothing_is_written_into_the_model(String command) throws IOException {
        Path model = Models.copy(Models.llama(), directory.resolve("model"));
        Path link = Files.createSymbolicLink(directory.resolve("link"), model);
        List<Path> before = files(model);
        for (Path output : List.of(model.resolve("w4"), model.resolve("new/w4"), link.resolve("w4"))) {
            CommandRun.of(command, model, "--output", output).failsWith(1, output + " lies in the model");
        }
        assertEquals(before, files(model));
    }

    private static List<Path> files(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.sorted().toList();
        }
    }

    @Test
    void a_place_that_cannot_be_written_is_named_before_anything_is_computed() throws IOException {
        Files.writeString(directory.resolve("file"), "not a directory");
        CommandRun run = rtn("file/out").failsWith(1, directory.resolve("file").toString());
        assertFalse(run.err().contains("block 1/4"), run::toString);
        assertEquals(List.of("file"), Models.names(directory));
    }

    @Test
    void a_report_that_cannot_be_written_is_named_before_anything_is_computed() throws IOException {
        Files.writeString(directory.resolve("file"), "not a directory");
        CommandRun run = rtn("out", "--report", directory.resolve("file/report")).failsWith(1, "file/report.json",
                "cannot be written");
        assertFalse(run.err().contains("block 1/4"), run::toString);
        assertEquals(List.of("file"), Models.names(directory));
    }

    @Test
    void the_report_goes_where_it_is_asked_to_go() throws IOException {
        Files.createDirectory(directory.resolve("reports"));
        rtn("a", "--report", directory.resolve("reports")).succeeds();
        rtn("b", "--report", directory.resolve("reports/b.html")).succeeds();
        rtn("c", "--report", directory.resolve("new") + "/").succeeds();
        assertEquals(List.of("report.html", "report.json"), Models.names(directory.resolve("new")));
        assertEquals(List.of("b.html", "b.json", "report.html", "report.json"),
                Models.names(directory.resolve("reports")));
        assertFalse(Files.exists(directory.resolve("a/report.json")));
    }

    @Test
    void an_option_that_nothing_reads_and_scripts_may_pass_is_warned_about() {
        rtn("out", "--samples", 4, "--seed", 1, "--window", 64).succeeds().says(
                "warning: --samples does nothing with --calibrator rtn, which uses no text",
                "warning: --seed does nothing with --calibrator rtn",
                "warning: --window does nothing with --eval none");
    }

    private CommandRun rtn(String output, Object... more) {
        List<Object> args = new ArrayList<>(List.of("quantize", Models.llama(), "--calibrator", "rtn",
                "--output", directory.resolve(output)));
        if (!List.of(more).contains("--eval")) {
            args.addAll(List.of("--eval", "none"));
        }
        args.addAll(List.of(more));
        return CommandRun.of(args.toArray());
    }
}
