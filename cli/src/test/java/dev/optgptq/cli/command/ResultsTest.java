package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.Main;
import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is printed arrives as it is, does nothing to the terminal, and is never lost without a word. */
class ResultsTest {

    private static final String TITLE = "\u001B]0;owned\u0007\r\u009B2J\u202E";

    @TempDir
    Path directory;

    @ParameterizedTest
    @ValueSource(strings = {"--help", "--version", "quantize --help", "completion", "devices", "inspect MODEL",
            "inspect MODEL --json", "eval perplexity MODEL --text TEXT --window 64",
            "eval perplexity MODEL --text TEXT --window 64 --json -",
            "quantize MODEL --calibrator rtn --eval none --output OUT --json"})
    void results_that_standard_output_did_not_take_are_a_failure(String command) {
        String line = command.replace("MODEL", Models.llama().toString())
                .replace("TEXT", Models.text(directory).toString())
                .replace("OUT", directory.resolve("out").toString());
        StringWriter err = new StringWriter();
        int exitCode = Main.run(new PrintWriter(new Full()), new PrintWriter(err), line.split(" "));
        assertEquals(1, exitCode, command);
        assertTrue(err.toString().contains("standard output could not be written"), err::toString);
    }

    @Test
    void a_missed_threshold_stays_one_where_the_output_is_lost_too() {
        int exitCode = Main.run(new PrintWriter(new Full()), new PrintWriter(new StringWriter()), "eval", "perplexity",
                Models.llama().toString(), "--text", Models.text(directory).toString(), "--window", "64",
                "--max-perplexity", "1");
        assertEquals(3, exitCode);
    }

    @ParameterizedTest
    @ValueSource(strings = {"inspect", "quantize", "eval perplexity"})
    void what_a_model_says_of_itself_cannot_act_on_the_terminal(String command) throws IOException {
        Path model = model();
        CommandRun run = CommandRun.of((Object[]) (command + " " + model).split(" "));
        for (String said : new String[] {run.out(), run.err()}) {
            said.lines().forEach(line -> line.chars().forEach(c -> assertTrue(c == '\t' || !acts(c), run::toString)));
        }
        assertTrue((run.out() + run.err()).contains("\\u001b]0;owned\\u0007\\u000d\\u009b2J\\u202e"), run::toString);
    }

    @Test
    void in_json_it_means_what_it_meant() throws IOException {
        CommandRun run = CommandRun.of("inspect", model(), "--json").succeeds();
        assertEquals("llama" + TITLE, run.json().path("modelType").asString());
        assertTrue(run.out().chars().allMatch(c -> c == '\n' || !acts(c)), run::toString);
    }

    private static boolean acts(int character) {
        return Character.isISOControl(character) || Character.getType(character) == Character.FORMAT;
    }

    /** Its config names a family that would rename the terminal's window and clear its screen. */
    private Path model() throws IOException {
        Path model = Models.copy(Models.llama(), directory.resolve("model"));
        Path config = model.resolve("config.json");
        StringBuilder escaped = new StringBuilder();
        TITLE.chars().forEach(c -> escaped.append(String.format("\\u%04x", c)));
        Files.writeString(config, Files.readString(config).replace("\"model_type\": \"llama\"",
                "\"model_type\": \"llama" + escaped + "\""));
        return model;
    }

    /** A disk without room. */
    private static final class Full extends Writer {

        @Override
        public void write(char[] text, int from, int count) throws IOException {
            throw new IOException("No space left on device");
        }

        @Override
        public void flush() throws IOException {
            throw new IOException("No space left on device");
        }

        @Override
        public void close() {}
    }
}
