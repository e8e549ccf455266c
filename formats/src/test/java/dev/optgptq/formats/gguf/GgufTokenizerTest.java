package dev.optgptq.formats.gguf;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.node.JsonNodeFactory;

/** Tokenizers as the families have them: what llama.cpp is told. */
class GgufTokenizerTest {

    private static final String PIECES = """
            {"added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true}],
             "normalizer":%s,"pre_tokenizer":%s,
             "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}]},
             "model":{"type":"BPE","byte_fallback":true,"unk_token":"<unk>",
              "vocab":{"<unk>":0,"<s>":1,"<0x0A>":2,"\u2581a":3,"abc":4,"ab":5,"a":6,"b":7,"c":8,"\u2581":9,"bc":10},
              "merges":%s}}""";
    private static final String MERGES = "[\"\u2581 a\",[\"a\",\"b\"],[\"b\",\"c\"],[\"ab\",\"c\"],[\"a\",\"bc\"]]";
    private static final String REPLACE = "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}";
    private static final String BYTES = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":%s}";

    @TempDir
    private Path folder = Path.of("");

    @Test
    void pieces_have_the_ranks_of_their_merges_as_scores() throws IOException {
        SequencedMap<String, GgufValue> found = read(PIECES.formatted(REPLACE, "null", MERGES), 12);
        assertEquals(new GgufValue.Text("llama"), found.get("tokenizer.ggml.model"));
        assertEquals(new GgufValue.Floats(List.of(-4f, -4f, -4f, 0f, -3f, -1f, -4f, -4f, -4f, -4f, -2f, -4f)),
                found.get("tokenizer.ggml.scores"));
        assertEquals(new GgufValue.Integers(List.of(2, 3, 6, 1, 1, 1, 1, 1, 1, 1, 1, 5)),
                found.get("tokenizer.ggml.token_type"));
        assertEquals(new GgufValue.U32(0), found.get("tokenizer.ggml.unknown_token_id"));
        assertEquals(new GgufValue.Flag(true), found.get("tokenizer.ggml.add_bos_token"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
            "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\u2581\"},REPLACE]}|null|true",
            "null|{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":\"first\",\"split\":false}|true",
            "null|{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":\"never\",\"split\":false}|false",
            "REPLACE|{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"MergedWithPrevious\"}|false"})
    void a_space_is_put_first_as_the_tokenizer_does(String normalizer, String splitting, boolean first)
            throws IOException {
        SequencedMap<String, GgufValue> found = read(
                PIECES.formatted(normalizer.replace("REPLACE", REPLACE), splitting, MERGES), 12);
        assertEquals(new GgufValue.Flag(first), found.get("tokenizer.ggml.add_space_prefix"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {"chat_template.jinja|{{ messages }}",
            "tokenizer_config.json|{\"chat_template\":\"{{ messages }}\"}",
            "tokenizer_config.json|{\"chat_template\":[{\"name\":\"default\",\"template\":\"{{ messages }}\"}]}"})
    void the_chat_template_goes_along_wherever_it_stands(String name, String content) throws IOException {
        Files.writeString(folder.resolve(name), content);
        SequencedMap<String, GgufValue> found = read(PIECES.formatted(REPLACE, "null", MERGES), 12);
        assertEquals(new GgufValue.Text("{{ messages }}"), found.get("tokenizer.chat_template"));
    }

    @Test
    void merges_that_no_scores_stand_for_are_refused() throws IOException {
        String mixed = "[[\"ab\",\"c\"],[\"b\",\"c\"],[\"a\",\"bc\"]]";
        write(PIECES.formatted(REPLACE, "null", mixed));
        assertUserError(Code.UNSUPPORTED_MODEL, () -> read(12), "tokenizer.json", "SentencePiece's BPE");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
            "{\"type\":\"Digits\",\"individual_digits\":true},SPLITS|smollm",
            "{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"},SPLITS,{\"type\":\"Digits\",\"individual_digits\":false},"
                    + "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[0-9][0-9][0-9]\"}}|falcon",
            "~{\"type\":\"Split\",\"pattern\":{\"Regex\":\" ?[^(\\\\s|[.,!?…。，、।۔،])]+\"}},BYTES~|bloom",
            "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"LLAMA3\"}},BYTES|dbrx"})
    void words_are_split_by_an_expression_of_llama_cpp(String steps, String name) throws IOException {
        String filled = steps.replace("SPLITS", BYTES.formatted(true)).replace("BYTES", BYTES.formatted(false)).replace(
                "LLAMA3", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}"
                        + "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+");
        SequencedMap<String, GgufValue> found = read("""
                {"added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"Sequence","pretokenizers":[%s]},
                 "model":{"type":"BPE","vocab":{"a":0},"merges":[]}}""".formatted(filled), 1);
        assertEquals(new GgufValue.Text(name), found.get("tokenizer.ggml.pre"));
    }

    private SequencedMap<String, GgufValue> read(String tokenizer, int vocabulary) throws IOException {
        write(tokenizer);
        return read(vocabulary);
    }

    private void write(String tokenizer) throws IOException {
        Files.writeString(folder.resolve("tokenizer.json"), tokenizer);
    }

    private SequencedMap<String, GgufValue> read(int vocabulary) {
        return GgufTokenizer.of(folder, vocabulary, JsonNodeFactory.instance.objectNode());
    }
}
