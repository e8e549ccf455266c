package dev.optgptq.cli.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.Main;
import java.io.PrintWriter;
import java.io.StringReader;
import java.io.StringWriter;
import java.util.List;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * One command line, run in this JVM, with all it said.
 *
 * @param args as they were given
 * @param out standard output
 * @param err standard error
 */
public record CommandRun(List<String> args, int exitCode, String out, String err) {

    public static CommandRun of(Object... args) {
        return typing("", args);
    }

    /** The same, with what the user types. */
    public static CommandRun typing(String typed, Object... args) {
        List<String> words = Stream.of(args).map(Object::toString).toList();
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        int exitCode = Main.run(new StringReader(typed), new PrintWriter(out), new PrintWriter(err),
                words.toArray(String[]::new));
        return new CommandRun(words, exitCode, out.toString(), err.toString());
    }

    /** It did what it was asked. */
    public CommandRun succeeds() {
        assertEquals(0, exitCode, this::toString);
        return this;
    }

    /** It failed in this way, told the user every one of these, and showed no stack trace. */
    public CommandRun failsWith(int expectedExitCode, String... parts) {
        assertEquals(expectedExitCode, exitCode, this::toString);
        assertFalse(err.contains("\tat "), () -> "a stack trace in " + this);
        return says(parts);
    }

    /** Standard error holds every one of these. */
    public CommandRun says(String... parts) {
        for (String part : parts) {
            assertTrue(err.contains(part), () -> "expected \"" + part + "\" on standard error of " + this);
        }
        return this;
    }

    /** Standard output holds every one of these. */
    public CommandRun prints(String... parts) {
        for (String part : parts) {
            assertTrue(out.contains(part), () -> "expected \"" + part + "\" on standard output of " + this);
        }
        return this;
    }

    /** Standard output, which is one JSON document and nothing else. */
    public JsonNode json() {
        return JsonMapper.shared().readTree(out);
    }

    @Override
    public String toString() {
        return "opt-gptq " + String.join(" ", args) + "\nexit code " + exitCode + "\n--- standard output\n" + out
                + "\n--- standard error\n" + err;
    }
}
