package dev.optgptq.calibrate.data;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.calibrate.testing.CharacterTokenizer;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.tokenizer.Tokenizer;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A token is a character here; "^" and "$" stand for the tokens at the beginning and the end. */
class CorpusTest {

    private static final Tokenizer PLAIN = new CharacterTokenizer();

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @BeforeEach
    void name_the_special_tokens() throws IOException {
        write("tokenizer_config.json", "{\"bos_token\": \"^\", \"eos_token\": {\"content\": \"$\"}}");
        write("chat_template.jinja",
                "{{ bos_token }}{% for m in messages %}{{ m.role[0] ~ ':' ~ m.content ~ eos_token }}{% endfor %}");
    }

    @ParameterizedTest
    @ValueSource(strings = {"text-snappy.parquet", "text-gzip.parquet"})
    void a_column_of_a_parquet_file_holds_documents_and_nulls_are_none(String name) throws IOException {
        assertEquals("abcdefghijklmnüop", all(resource(name), "text"));
    }

    @Test
    void messages_in_a_parquet_file_go_through_the_chat_template() throws IOException {
        assertEquals("^u:Hi$a:Hello$^u:Bye$", all(resource("chats-zstd.parquet"), "chat.messages"));
    }

    @Test
    void a_json_file_holds_an_array_or_lines() throws IOException {
        assertEquals("abcd", all(write("array.json", " [{\"a\": {\"b\": \"ab\"}}, {\"a\": {\"b\": \"cd\"}}]"), "a.b"));
        assertEquals("abcd", all(write("lines.json", "{\"a.b\": \"ab\"}\n{\"a.b\": \"cd\"}\n"), "a.b"));
        assertEquals("^u:Hi$", all(write("chat.jsonl", "{\"m\": [{\"role\": \"user\", \"content\": \"Hi\"}]}"), "m"));
    }

    @Test
    void what_is_missing_or_damaged_is_named_with_its_place() throws IOException {
        assertRefused(resource("chats-zstd.parquet"), "chats-zstd.parquet", "\"text\"", "the columns chat, score",
                "--field");
        assertRefused(write("a.jsonl", "{\"text\": \"ab\"}\n\n{\"id\": 1, \"body\": \"cd\"}\n"), "a.jsonl, line 3",
                "the fields id, body", "--field");
        assertRefused(write("b.json", "[{\"text\": \"ab\"}, {\"text\": 7}]"), "b.json, element 2", "the number 7");
        assertRefused(write("c.json", "[{\"text\": \"ab\"}, {\"text"), "c.json", "expected an array of objects");
        assertRefused(write("h.json", "[{\"text\": \"ab\"}]\n[{\"text\": \"cd\"}]"), "h.json", "found more after it");
        assertRefused(write("d.json", "[]"), "d.json", "no documents");
        assertRefused(write("e.parquet", "PAR1 and no more PAR1"), "e.parquet", "cannot be read as Parquet");
        assertRefused(write("f.parquet", ""), "f.parquet", "cannot be read as Parquet");
        for (String name : List.of("g.parquet", "g.json", "g.jsonl")) {
            assertRefused(write(name, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), name,
                    "Git LFS pointer");
        }
        assertRefused(folder.resolve("gone.parquet"), "gone.parquet", "no such file");
    }

    private void assertRefused(Path file, String... fragments) {
        assertUserError(Code.BAD_TEXT, () -> all(file, "text"), fragments);
    }

    @ParameterizedTest
    @ValueSource(strings = {"SEQUENTIAL", "RANDOM"})
    void sequences_of_several_files_are_in_proportion_and_spread_evenly(Sampling sampling) throws IOException {
        Path a = write("a.txt", "a".repeat(50));
        Path b = write("b.jsonl", ("{\"text\": \"" + "b".repeat(50) + "\"}\n").repeat(3));
        Corpus corpus = Corpus.of(List.of(a + ":2", b.toString()), Corpus.Bundled.CALIBRATION, DocumentForm.DEFAULT);
        TokenSequences found = corpus.sample(tokens(PLAIN, DocumentForm.DEFAULT), sampling, 6, 2, 3);
        assertEquals("aabbaaaabbaa", PLAIN.decode(found.ids()));
        assertArrayEquals(found.ids(), corpus.sample(tokens(PLAIN, DocumentForm.DEFAULT), sampling, 6, 2, 3).ids());
        assertEquals(a + ":2 " + b, corpus.toString());
    }

    @Test
    void windows_of_several_files_are_as_many_as_the_weights_allow() throws IOException {
        Corpus corpus = Corpus.of(List.of(write("a.txt", "a".repeat(50)).toString(), write("b.txt", "bbbb") + ":0.5"),
                Corpus.Bundled.CALIBRATION, DocumentForm.DEFAULT);
        assertEquals("aabbaaaabbaa", PLAIN.decode(
                corpus.windows(tokens(PLAIN, DocumentForm.DEFAULT), 2).ids()));
    }

    @Test
    void a_weight_that_gives_nothing_is_refused() throws IOException {
        Path a = write("a.txt", "aaaa");
        assertUserError(Code.BAD_SETTING, () -> WeightedFile.parse(a + ":0"), "above 0");
        Corpus corpus = Corpus.of(List.of(a + ":100", a.toString()), Corpus.Bundled.CALIBRATION, DocumentForm.DEFAULT);
        assertUserError(Code.BAD_SETTING,
                () -> corpus.sample(tokens(PLAIN, DocumentForm.DEFAULT), Sampling.RANDOM, 2, 2, 0), "none of 2");
        Path named = write("b:2", "bb");
        assertEquals(new WeightedFile(named, 1), WeightedFile.parse(named.toString()));
    }

    @Test
    void the_first_token_stands_where_it_is_asked_for() throws IOException {
        Path file = write("two.jsonl", "{\"text\": \"abc\"}\n{\"text\": \"def\"}\n");
        assertEquals("^abc^def", windows(file, "text", Bos.AUTO, BEGINS, 4));
        assertEquals("abcd", windows(file, "text", Bos.AUTO, PLAIN, 4));
        assertEquals("abcd", windows(file, "text", Bos.NEVER, BEGINS, 4));
        assertEquals("^abc^def", windows(file, "text", Bos.ALWAYS, PLAIN, 4));
        Path chat = write("chat.jsonl", "{\"text\": [{\"role\": \"user\", \"content\": \"Hi\"}]}");
        assertEquals("^u:Hi$", windows(chat, "text", Bos.AUTO, BEGINS, 6));
        assertEquals("^u:Hi$", windows(chat, "text", Bos.ALWAYS, BEGINS, 6));
        assertEquals("u:Hi$", windows(chat, "text", Bos.NEVER, BEGINS, 5));
        Files.delete(folder.resolve("tokenizer_config.json"));
        assertUserError(Code.BAD_TOKENIZER, () -> windows(file, "text", Bos.ALWAYS, PLAIN, 4), "bos_token", "--bos");
        write("config.json", "{\"bos_token_id\": 94}");
        assertEquals("^abc^def", windows(file, "text", Bos.ALWAYS, PLAIN, 4));
    }

    @Test
    void packed_documents_follow_each_other_with_the_last_token_between_them() throws IOException {
        Path file = write("short.jsonl", "{\"text\": \"ab\"}\n{\"text\": \"cd$\"}\n{\"text\": \"ef\"}\n");
        DocumentForm packed = new DocumentForm("text", Bos.AUTO, true);
        Corpus corpus = Corpus.of(file, Corpus.Bundled.CALIBRATION, packed);
        DocumentTokens tokens = tokens(PLAIN, packed);
        assertEquals("ab$cd$ef", PLAIN.decode(corpus.sample(tokens, Sampling.SEQUENTIAL, 2, 4, 0).ids()));
        assertEquals("ab$cd$ef$", PLAIN.decode(corpus.windows(tokens, 3).ids()));
        String random = PLAIN.decode(corpus.sample(tokens, Sampling.RANDOM, 3, 3, 1).ids());
        assertEquals(List.of("ab", "cd", "ef"), Arrays.stream(random.split("\\$")).sorted().toList(), "seed 1");
    }

    /** Puts its first token before a prompt. */
    private static final Tokenizer BEGINS = new Tokenizer() {
        @Override
        public int[] encode(String text) {
            return PLAIN.encode(text);
        }

        @Override
        public String decode(int[] ids) {
            return PLAIN.decode(ids);
        }

        @Override
        public int[] encodePrompt(String text) {
            return PLAIN.encode("^" + text);
        }

        @Override
        public String decodeText(int[] ids) {
            return PLAIN.decodeText(ids);
        }

        @Override
        public void close() {
            // holds nothing
        }
    };

    private String all(Path file, String field) {
        return windows(file, field, Bos.AUTO, PLAIN, 1);
    }

    private String windows(Path file, String field, Bos bos, Tokenizer tokenizer, int length) {
        DocumentForm form = new DocumentForm(field, bos, false);
        return PLAIN.decode(Corpus.of(file, Corpus.Bundled.CALIBRATION, form).windows(tokens(tokenizer, form), length)
                .ids());
    }

    private DocumentTokens tokens(Tokenizer tokenizer, DocumentForm form) {
        return DocumentTokens.of(folder, tokenizer, form);
    }

    private Path resource(String name) throws IOException {
        try (InputStream in = CorpusTest.class.getResourceAsStream(name)) {
            return Files.write(folder.resolve(name), Objects.requireNonNull(in, name).readAllBytes());
        }
    }

    private Path write(String name, String text) throws IOException {
        return Files.writeString(folder.resolve(name), text);
    }
}
