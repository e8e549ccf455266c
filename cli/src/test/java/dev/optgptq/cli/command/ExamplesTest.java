package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.Terminal;
import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.io.BufferedReader;
import java.io.PrintWriter;
import java.io.Reader;
import java.io.StringWriter;
import java.nio.file.Files;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Every command line that the documentation and the help show is one that the program takes. */
class ExamplesTest {

    /** The program, by any of its paths, at the start of a line or of a YAML item, and what follows it in that line. */
    private static final Pattern COMMAND = Pattern
            .compile(
                    "^(?: {2,}|run: |\\$ |- )*(?:\\./|opt-gptq/)?opt-gptq ((?:quantize|generate|eval|inspect|devices|bench|completion)\\b.*)$");
    /** One in double quotes may hold spaces. */
    private static final Pattern ARGUMENT = Pattern.compile("\"[^\"]*\"|\\S+");
    /** A line that continues in the next, in a shell and in YAML. */
    private static final Pattern CONTINUED = Pattern.compile("( \\\\)?\\R {6,}--");

    @ParameterizedTest
    @ValueSource(strings = {"README.md", "docs/eval.md", "docs/inference.md",
            "docs/results/inference.md", "config/dist/README.md", "samples/ci/github-actions.yml",
            "samples/ci/gitlab-ci.yml"})
    void a_page_shows_commands_that_run(String page) throws IOException {
        takesAll(Files.readString(Models.root().resolve(page)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"quantize", "generate", "eval", "eval perplexity", "eval logits", "inspect", "devices",
            "bench"})
    void the_help_of_a_command_shows_commands_that_run(String command) {
        Object[] args = (command + " --help").split(" ");
        takesAll(CommandRun.of(args).succeeds().out());
    }

    private static void takesAll(String page) {
        List<String> lines = CONTINUED.matcher(page).replaceAll(" --").lines()
                .map(COMMAND::matcher).flatMap(found -> found.matches() ? Stream.of(found.group(1)) : Stream.of())
                .map(line -> line.replaceFirst(" [#>].*", "").strip()).toList();
        assertTrue(!lines.isEmpty(), "no command in the page");
        lines.forEach(line -> assertDoesNotThrow(() -> takes(line), line));
    }

    private static void takes(String line) {
        String[] args = ARGUMENT.matcher(line).results().map(found -> found.group().replace("\"", ""))
                .toArray(String[]::new);
        PrintWriter nowhere = new PrintWriter(new StringWriter());
        CommandTree.of(new Console(new BufferedReader(Reader.nullReader()), nowhere, nowhere, Terminal.NONE), args)
                .parseArgs(args);
    }
}
