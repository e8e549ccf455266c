package dev.optgptq.formats.tokenizer;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.testing.ChildJvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.node.JsonNodeFactory;

/** Files over which the native library aborts, overflows its stack, or takes all time and memory. */
class HostileTokenizerTest {

    @TempDir
    Path model;

    /** Beyond the regular expression engine's limit of retries the library panics, across JNI. */
    @Test
    void an_expression_that_backtracks_without_end_is_an_error_that_names_the_file() throws IOException {
        write("null", split("(a+)+$"), vocabulary("\"a\":0"));
        assertEncodingFails("a".repeat(40) + "b", "the native library ended its process", "signal 6");
    }

    @Test
    void parentheses_nested_by_the_thousand_are_an_error_that_names_the_file() throws IOException {
        write("null", split("(".repeat(50_000) + "a" + ")".repeat(50_000)), vocabulary("\"a\":0"));
        assertUserError(Code.BAD_TOKENIZER, this::load, model.resolve("tokenizer.json").toString());
    }

    @ParameterizedTest
    @ValueSource(strings = {"/////w==", "AAAAAA==", "BAAAAP////8="})
    void a_charsmap_that_is_damaged_is_an_error_that_names_the_file(String charsmap) throws IOException {
        write("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"" + charsmap + "\"}", "null",
                vocabulary("\"a\":0"));
        assertLoadingOrEncodingSaysTheFile("aé");
    }

    @Test
    void a_subword_prefix_longer_than_a_token_is_an_error_that_names_the_file() throws IOException {
        write("null", "null", """
                {"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]],
                 "continuing_subword_prefix":"####################"}""");
        assertLoadingOrEncodingSaysTheFile("ab");
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void replacements_that_grow_without_end_are_stopped_at_a_limit() throws IOException {
        String grow = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"" + "a".repeat(40) + "\"}";
        write("{\"type\":\"Sequence\",\"normalizers\":[" + String.join(",", List.of(grow, grow, grow, grow, grow, grow))
                + "]}", "null", vocabulary("\"a\":0"));
        assertEncodingFails("a".repeat(1700), "it took more than");
    }

    @Test
    void after_a_text_that_fails_another_tokenizer_works() throws IOException {
        write("null", split("(a+)+$"), vocabulary("\"a\":0,\"b\":1"));
        assertEncodingFails("a".repeat(40) + "b", "signal 6");
        try (Tokenizer tokenizer = Tokenizer.load(model)) {
            assertArrayEquals(new int[] {0, 1}, tokenizer.encode("ab"));
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    @EnabledOnOs(OS.LINUX)
    void the_process_ends_with_its_parent_however_that_ends(boolean forcibly) throws Exception {
        write("null", "null", vocabulary("\"a\":0"));
        Process parent = ChildJvm.start(LoadsAndWaits.class, Map.of(), model.toString());
        try (BufferedReader output = parent.inputReader()) {
            String line = String.valueOf(output.readLine());
            assertTrue(line.matches("\\d+"), line);
            ProcessHandle child = ProcessHandle.of(Long.parseLong(line)).orElseThrow();
            if (forcibly) {
                parent.destroyForcibly();
            } else {
                parent.destroy();
            }
            assertTrue(parent.waitFor(30, TimeUnit.SECONDS), "the parent did not end");
            child.onExit().get(30, TimeUnit.SECONDS);
            assertFalse(child.isAlive());
        } finally {
            parent.destroyForcibly();
        }
    }

    /** Loads a tokenizer, prints its process, and sleeps until it is ended. */
    static final class LoadsAndWaits {
        public static void main(String[] args) throws Exception {
            Tokenizer tokenizer = Tokenizer.load(Path.of(args[0]));
            System.out.println(ProcessHandle.current().children().findFirst().orElseThrow().pid());
            Thread.sleep(60_000);
            tokenizer.close();
        }
    }

    @Test
    void closing_ends_the_process() throws Exception {
        write("null", "null", vocabulary("\"a\":0"));
        Tokenizer tokenizer = Tokenizer.load(model);
        List<ProcessHandle> children = ProcessHandle.current().children().filter(child -> child.info().commandLine()
                .orElse("").contains(model.toString())).toList();
        assertEquals(1, children.size());
        tokenizer.close();
        children.getFirst().onExit().get(30, TimeUnit.SECONDS);
    }

    private void load() {
        Tokenizer.load(model).close();
    }

    private void assertEncodingFails(String text, String... fragments) {
        try (Tokenizer tokenizer = Tokenizer.load(model)) {
            assertUserError(Code.BAD_TOKENIZER, () -> tokenizer.encode(text), fragments);
            assertUserError(Code.BAD_TOKENIZER, () -> tokenizer.encode(text),
                    model.resolve("tokenizer.json").toString());
        }
    }

    /** Versions of the library differ in when they look. */
    private void assertLoadingOrEncodingSaysTheFile(String text) {
        assertUserError(Code.BAD_TOKENIZER, () -> {
            try (Tokenizer tokenizer = Tokenizer.load(model)) {
                tokenizer.encode(text);
            }
        }, model.resolve("tokenizer.json").toString());
    }

    private void write(String normalizer, String preTokenizer, String bpe) throws IOException {
        Files.writeString(model.resolve("tokenizer.json"), "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":"
                + normalizer + ",\"pre_tokenizer\":" + preTokenizer
                + ",\"post_processor\":null,\"decoder\":null,\"model\":"
                + bpe + "}");
    }

    private static String vocabulary(String entries) {
        return "{\"type\":\"BPE\",\"vocab\":{" + entries + "},\"merges\":[]}";
    }

    private static String split(String expression) {
        return "{\"type\":\"Split\",\"pattern\":{\"Regex\":"
                + JsonNodeFactory.instance.stringNode(expression) + "},\"behavior\":\"Isolated\",\"invert\":false}";
    }
}
