package dev.optgptq.formats.tokenizer;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.tokenizer.SentencePieceModel.Piece;
import dev.optgptq.formats.tokenizer.SentencePieceModel.Kind;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.JsonNodeFactory;

/** A tokenizer.model alone, beside the ids that SentencePiece itself gave (resources sentencepiece, make_golden.py). */
class SentencePieceTest {

    private static final int MUTATIONS = 3000;

    @TempDir
    private Path folder = Path.of("");

    @ParameterizedTest
    @ValueSource(strings = {"llama", "gemma", "unigram"})
    void a_text_has_the_tokens_of_sentencepiece(String name) throws IOException {
        Files.write(folder.resolve("tokenizer.model"), resource(name + ".model"));
        JsonNode golden = JsonMapper.shared().readTree(resource("golden.json")).path(name);
        try (Tokenizer tokenizer = DjlTokenizer.open(folder)) {
            golden.propertyStream().forEach(text -> assertEquals(text.getValue().toString(),
                    Arrays.toString(tokenizer.encode(text.getKey())).replace(" ", ""),
                    () -> name + ": '" + text.getKey() + "'"));
        }
    }

    @Test
    void a_prompt_begins_as_the_settings_say() throws IOException {
        Files.write(folder.resolve("tokenizer.model"), resource("llama.model"));
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"bos_token\":\"<s>\"}");
        try (Tokenizer tokenizer = DjlTokenizer.open(folder)) {
            assertEquals(1, tokenizer.encodePrompt("The river")[0]);
            assertEquals("The river", tokenizer.decodeText(tokenizer.encodePrompt("The river")));
        }
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"add_bos_token\":false}");
        try (Tokenizer tokenizer = DjlTokenizer.open(folder)) {
            assertEquals(Arrays.toString(tokenizer.encode("The river")),
                    Arrays.toString(tokenizer.encodePrompt("The river")));
        }
    }

    @Test
    void a_damaged_file_is_refused_by_name() throws IOException {
        byte[] model = resource("llama.model");
        assertRefused(Arrays.copyOf(model, model.length - 3), "tokenizer.model", "a SentencePiece model", "bytes with");
        assertRefused(new byte[] {0x0a, 0x7f}, "a field of 127 bytes with 0 left");
        assertRefused(new byte[0], "no pieces");
        assertRefused("{\"model\":{}}".getBytes(StandardCharsets.UTF_8), "wire type");
    }

    @Test
    void pieces_of_the_user_are_refused_where_spaces_would_differ() {
        SentencePieceModel model = new SentencePieceModel(
                List.of(new Piece("<unk>", 0, Kind.UNKNOWN), new Piece("<user>", 0, Kind.USER_DEFINED)), true, true,
                ByteBuffer.allocate(0), true, true);
        assertUserError(Code.BAD_TOKENIZER,
                () -> SentencePieceTokenizer.of(model, JsonNodeFactory.instance.objectNode(),
                        Path.of("tokenizer.model")),
                "<user>", "fetch a tokenizer.json");
    }

    private void assertRefused(byte[] bytes, String... said) {
        assertUserError(Code.BAD_TOKENIZER,
                () -> SentencePieceModel.parse(ByteBuffer.wrap(bytes), Path.of("tokenizer.model")), said);
    }

    /** One seed each for every byte that is changed, cut off or repeated. */
    @ParameterizedTest
    @ValueSource(strings = {"gemma", "unigram"})
    void any_bytes_are_a_tokenizer_or_an_error(String name) throws IOException {
        byte[] model = resource(name + ".model");
        for (long seed = 0; seed < MUTATIONS; seed++) {
            Random random = new Random(seed);
            byte[] mutated = Arrays.copyOf(model, random.nextInt(4) == 0 ? random.nextInt(model.length) : model.length);
            for (int change = random.nextInt(4); change >= 0 && mutated.length > 0; change--) {
                mutated[random.nextInt(mutated.length)] = (byte) random.nextInt(256);
            }
            try {
                Path file = Path.of("seed-" + seed);
                SentencePieceTokenizer.of(SentencePieceModel.parse(ByteBuffer.wrap(mutated), file),
                        JsonNodeFactory.instance.objectNode(), file);
            } catch (UserError e) {
                assertEquals(Code.BAD_TOKENIZER, e.code(), "seed " + seed);
            }
        }
    }

    private static byte[] resource(String name) throws IOException {
        try (InputStream in = SentencePieceTest.class.getResourceAsStream("sentencepiece/" + name)) {
            return Objects.requireNonNull(in, name).readAllBytes();
        }
    }
}
