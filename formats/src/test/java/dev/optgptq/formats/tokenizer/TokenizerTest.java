package dev.optgptq.formats.tokenizer;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.natives.NativeFolder;
import dev.optgptq.formats.testing.ChildJvm;
import dev.optgptq.formats.testing.SharedFiles;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenizerTest {

    /** Ids 0 to 4 for "<s>", "a", "b", "ab" and a space; byte-level BPE. It asks for what a stream of tokens must not have. */
    private static final String SMALL = """
            {"version":"1.0","truncation":{"direction":"Right","max_length":2,"strategy":"LongestFirst","stride":0},
             "padding":{"strategy":{"Fixed":16},"direction":"Right","pad_to_multiple_of":null,"pad_id":0,"pad_type_id":0,
               "pad_token":"<s>"},
             "added_tokens":[{"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,
               "normalized":false,"special":true}],
             "normalizer":null,
             "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
             "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
               {"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},
               {"Sequence":{"id":"B","type_id":0}}],
               "special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}},
             "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
             "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
               "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
               "vocab":{"<s>":0,"a":1,"b":2,"ab":3,"\u0120":4},"merges":[["a","b"]]}}""";

    @TempDir
    Path model;

    @ParameterizedTest
    @CsvSource({"wikitext2-test.txt, 364948", "wikitext2-train-head.txt, 378031"})
    void a_whole_text_gives_the_token_count_of_the_reference_library(String text, int tokens) throws IOException {
        Path directory = SharedFiles.require("models/wiki-llama-14m");
        String content = Files.readString(SharedFiles.require("data/" + text));
        try (Tokenizer tokenizer = Tokenizer.load(directory)) {
            int[] ids = tokenizer.encode(content);
            assertEquals(tokens, ids.length);
            assertEquals(content, tokenizer.decode(ids));
        }
    }

    @Test
    void text_is_never_cut_padded_or_wrapped_in_special_tokens_whatever_the_file_asks_for() throws IOException {
        Files.writeString(model.resolve("tokenizer.json"), SMALL);
        Files.writeString(model.resolve("tokenizer_config.json"), """
                {"model_max_length":2,"add_bos_token":true,"bos_token":"<s>","tokenizer_class":"LlamaTokenizer"}""");
        try (Tokenizer tokenizer = Tokenizer.load(model)) {
            assertArrayEquals(new int[] {3, 1, 4, 2, 3, 3}, tokenizer.encode("aba bab" + "ab"));
            assertArrayEquals(new int[0], tokenizer.encode(""));
            assertEquals(100_000, tokenizer.encode("ab".repeat(100_000)).length);
        }
    }

    @Test
    void special_tokens_in_the_text_are_recognized_and_decoded() throws IOException {
        Files.writeString(model.resolve("tokenizer.json"), SMALL);
        try (Tokenizer tokenizer = Tokenizer.load(model)) {
            assertArrayEquals(new int[] {1, 0, 2}, tokenizer.encode("a<s>b"));
            assertEquals("a<s>b", tokenizer.decode(new int[] {1, 0, 2}));
        }
    }

    @Test
    void text_beyond_the_basic_plane_and_control_characters_survive() {
        try (Tokenizer tokenizer = Tokenizer.load(SharedFiles.sample("wiki-tiny-llama"))) {
            String text = "\uD83D\uDE00 \u0000 \u4F60\u597D \uFEFF \r\n\t e\u0301";
            assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
        }
    }

    @Test
    void half_a_surrogate_pair_is_no_text() throws IOException {
        Files.writeString(model.resolve("tokenizer.json"), SMALL);
        try (Tokenizer tokenizer = Tokenizer.load(model)) {
            assertUserError(Code.BAD_TEXT, () -> tokenizer.encode("a\uD83D"), "half a surrogate pair");
        }
    }

    @Test
    void dropout_would_give_other_tokens_each_time_and_is_refused() throws IOException {
        Files.writeString(model.resolve("tokenizer.json"), SMALL.replace("\"dropout\":null", "\"dropout\":0.1"));
        assertUserError(Code.BAD_TOKENIZER, this::load, model.resolve("tokenizer.json").toString(), "'model.dropout'",
                "found the number 0.1");
        Files.writeString(model.resolve("tokenizer.json"), SMALL.replace("\"dropout\":null", "\"dropout\":0.0"));
        load();
    }

    @Test
    void a_pointer_of_git_lfs_or_a_link_to_nowhere_is_named() throws IOException {
        Path file = model.resolve("tokenizer.json");
        Files.writeString(file, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
        assertUserError(Code.BAD_TOKENIZER, this::load, file.toString(), "Git LFS pointer");
        Files.delete(file);
        Files.createSymbolicLink(file, Path.of("../blobs/abc"));
        assertUserError(Code.BAD_TOKENIZER, this::load, file.toString(), "leads to ../blobs/abc");
    }

    @Test
    void a_missing_tokenizer_is_named() {
        assertUserError(Code.BAD_TOKENIZER, this::load, model.resolve("tokenizer.json").toString(), "missing");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{", "[]", "{}", "{\"model\":{}}", "{\"model\":{\"type\":\"No\",\"vocab\":{}}}",
            "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a z\"]}}",
            "{\"model\":{\"type\":\"BPE\",\"vocab\":[],\"merges\":{}}}",
            "{\"version\":\"9.0\",\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}"})
    void a_damaged_tokenizer_is_named(String json) throws IOException {
        Files.writeString(model.resolve("tokenizer.json"), json);
        assertUserError(Code.BAD_TOKENIZER, this::load, model.resolve("tokenizer.json").toString());
    }

    @Test
    void a_cache_directory_that_cannot_be_written_says_which_variable_to_set() throws Exception {
        String variable = "OPT_GPTQ_CACHE";
        Files.writeString(model.resolve("tokenizer.json"), SMALL);
        Path file = Files.createFile(model.resolve("not a directory"));
        String output = run(Map.of(variable, file.toString()), "1");
        assertTrue(output.startsWith("BAD_TOKENIZER"), output);
        assertTrue(output.contains(file.toString()) && output.contains(variable), output);
        assertEquals(1, output.strip().lines().count(), output);
    }

    @Test
    @EnabledOnOs(value = OS.LINUX, architectures = "amd64")
    void a_distribution_brings_the_library_as_a_file_and_needs_no_cache() throws Exception {
        Files.writeString(model.resolve("tokenizer.json"), SMALL);
        Path natives = Files.createDirectory(model.resolve("native"));
        try (InputStream library = TokenizerTest.class
                .getResourceAsStream("/native/lib/linux-x86_64/cpu/libtokenizers.so")) {
            Files.copy(Objects.requireNonNull(library), natives.resolve("libtokenizers.so"));
        }
        assertEquals("1", run(Map.of("OPT_GPTQ_CACHE", "/dev/null"), "1", natives.toString()).strip());
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void a_distributions_library_that_does_not_load_is_named_with_the_systems_reason() throws Exception {
        Files.writeString(model.resolve("tokenizer.json"), SMALL);
        Path library = Files.writeString(model.resolve("libtokenizers.so"), "no library");
        String output = run(Map.of(), "1", model.toString());
        assertTrue(output.contains("BAD_TOKENIZER " + library + ": the native tokenizers library cannot"), output);
        assertTrue(output.contains("file too short") || output.contains("invalid ELF header"), output);
    }

    @Test
    void a_text_that_must_stay_whole_and_does_not_fit_the_heap_is_refused() throws Exception {
        Files.writeString(model.resolve("tokenizer.json"), SMALL.replace("\"add_prefix_space\":false",
                "\"add_prefix_space\":true"));
        String output = run(Map.of(), "3000000");
        assertTrue(output.startsWith("MEMORY") && output.contains("for 6000000 characters"), output);
    }

    /** Tokenizes in another process: which library is taken is settled once in each. */
    private String run(Map<String, String> environment, String copies, String... natives) throws Exception {
        List<String> arguments = new ArrayList<>(List.of(model.toString(), copies));
        arguments.addAll(List.of(natives));
        Process process = ChildJvm.start(EncodesCopies.class, environment, arguments.toArray(String[]::new));
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        return output;
    }

    /** Tokenizes "ab" repeated many times, in 256 MB of heap, and prints the outcome. */
    static final class EncodesCopies {
        public static void main(String[] args) {
            if (args.length > 2) {
                System.setProperty(NativeFolder.PROPERTY, args[2]);
            }
            try (Tokenizer tokenizer = Tokenizer.load(Path.of(args[0]))) {
                System.out.println(tokenizer.encode("ab".repeat(Integer.parseInt(args[1]))).length);
            } catch (UserError e) {
                System.out.println(e.code() + " " + e.getMessage());
            }
        }
    }

    private void load() {
        Tokenizer.load(model).close();
    }
}
