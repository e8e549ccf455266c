package dev.optgptq.formats.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.testing.SharedFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.node.ObjectNode;

class TextPiecesTest {

    private static final String BYTE_LEVEL = """
            {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":%s}""";
    private static final String SPLIT = """
            {"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","invert":false,"pattern":{"Regex":
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}%s| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"}},
            %s]}""";
    private static final String GPT_2 = BYTE_LEVEL.formatted("true");
    private static final String LLAMA_3 = SPLIT.formatted("{1,3}", BYTE_LEVEL.formatted("false"));
    private static final String QWEN_2 = SPLIT.formatted("", BYTE_LEVEL.formatted("false"));

    /** Where words, contractions, numbers, white space of all kinds, added tokens and other scripts meet. */
    private static final List<String> FRAGMENTS = List.of(" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "a", "the",
            "word", "'s", "'LL", "'", "é", "e\u0301", "\u4f60\u597d", "\uD83D\uDE00", "1", "2345", ".", "...", "<s>",
            "</s>", "x y", "a b c", "\u0301", "ß ẞ", "ﬁ");

    @ParameterizedTest
    @ValueSource(strings = {"gpt 2", "llama 3", "qwen 2"})
    void the_tokens_of_the_pieces_are_the_tokens_of_the_whole(String splitting, @TempDir Path directory)
            throws IOException {
        ObjectNode json = json();
        json.set("pre_tokenizer", Json.parseObject(expression(splitting), "splitting", Code.BAD_TOKENIZER));
        Files.write(directory.resolve("tokenizer.json"), Json.toBytes(json));
        TextPieces pieces = TextPieces.of(json, 1);
        assertTrue(pieces.isCuttable());
        try (DjlTokenizer tokenizer = DjlTokenizer.open(directory)) {
            for (long seed = 0; seed < 300; seed++) {
                Random random = new Random(seed);
                StringBuilder text = new StringBuilder();
                for (int i = 0; i < 60; i++) {
                    text.append(FRAGMENTS.get(random.nextInt(FRAGMENTS.size())));
                }
                assertSameTokens(tokenizer, pieces, text.toString(), "seed " + seed);
            }
        }
    }

    @Test
    void a_long_text_is_cut_and_gives_the_tokens_of_the_whole() throws IOException {
        String book = Files.readString(SharedFiles.require("data/wikitext2-test.txt"));
        String text = book.substring(0, book.length() / 4);
        TextPieces pieces = TextPieces.of(json(), TextPieces.PIECE_CHARS);
        assertEquals(text.length() / TextPieces.PIECE_CHARS + 1, pieces.of(text).size());
        Path model = SharedFiles.require("models/wiki-llama-14m");
        try (DjlTokenizer tokenizer = DjlTokenizer.open(model); Tokenizer cutting = Tokenizer.load(model)) {
            assertSameTokens(tokenizer, pieces, text, "wikitext2-test.txt");
            assertArrayEquals(tokenizer.encode(text), cutting.encode(text));
        }
    }

    @Test
    void cuts_are_made_only_before_a_space_between_letters() {
        TextPieces pieces = TextPieces.of(json(), 1);
        assertEquals(List.of("one", " two", " three  four. five 6 seven"),
                pieces.of("one two three  four. five 6 seven"));
        assertEquals(List.of(""), pieces.of(""));
        assertEquals(List.of(" a "), pieces.of(" a "));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {
            "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"_\"}]}}",
            "{\"normalizer\":{\"type\":\"Lowercase\"}}", "{\"pre_tokenizer\":null}",
            "{\"pre_tokenizer\":{\"type\":\"Metaspace\"}}",
            "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}}",
            "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}}",
            "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\".\"}}]}}",
            "{\"model\":{\"type\":\"Unigram\"}}", "{\"added_tokens\":[{\"content\":\"two words\",\"rstrip\":false}]}",
            "{\"added_tokens\":[{\"content\":\"<x>\",\"rstrip\":true}]}"})
    void a_tokenizer_that_may_look_across_words_gets_the_text_whole(String change) {
        ObjectNode json = json();
        json.setAll(Json.parseObject(change, "change", Code.BAD_TOKENIZER));
        TextPieces pieces = TextPieces.of(json, 1);
        assertFalse(pieces.isCuttable());
        assertEquals(List.of("one two three"), pieces.of("one two three"));
    }

    private static void assertSameTokens(DjlTokenizer tokenizer, TextPieces pieces, String text, String message) {
        int[] joined = pieces.of(text).stream().flatMapToInt(piece -> Arrays.stream(tokenizer.encode(piece)))
                .toArray();
        assertArrayEquals(tokenizer.encode(text), joined, () -> message + ": " + text);
    }

    private static String expression(String name) {
        return switch (name) {
            case "llama 3" -> LLAMA_3;
            case "qwen 2" -> QWEN_2;
            default -> GPT_2;
        };
    }

    private static ObjectNode json() {
        return Json.readObject(SharedFiles.sample("wiki-tiny-llama").resolve("tokenizer.json"), Code.BAD_TOKENIZER);
    }
}
