package dev.optgptq.calibrate.data;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.calibrate.testing.CharacterTokenizer;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.tokenizer.Tokenizer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenSequencesTest {

    private static final Tokenizer CHARACTERS = new CharacterTokenizer();

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void sequentialTakesTheFirstTokensInOrder() {
        TokenSequences found = sample("abcdefgh", Sampling.SEQUENTIAL, 2, 3, 0);
        assertEquals("abcdef", CHARACTERS.decode(found.ids()));
        assertEquals(2, found.count());
        assertEquals(3, found.length());
    }

    @Test
    void sequentialReadsNoMoreOfALongTextThanItNeedsAndGetsTheSame() {
        String text = "word ".repeat(100_000);
        CharacterTokenizer tokenizer = new CharacterTokenizer();
        TokenSequences found = new Sampler(tokens(tokenizer), 4, 16, "a text").first(text);
        assertEquals(text.substring(0, 64), tokenizer.decode(found.ids()));
        assertTrue(tokenizer.longest() < 1000, () -> "tokenized " + tokenizer.longest() + " characters");
    }

    /** One of the two texts has a pair of surrogates across any place that it could be cut at. */
    @ParameterizedTest
    @ValueSource(strings = {"", "x"})
    void sequentialNeverCutsACharacterInTwo(String start) {
        String text = start + "\uD83D\uDE00".repeat(10_000);
        int[] ids = sample(text, Sampling.SEQUENTIAL, 1, 101, 0).ids();
        assertArrayEquals(text.substring(0, 101).chars().toArray(), ids);
    }

    @Test
    void randomWindowsOfATextAreConsecutiveTokensFromManyPlaces() {
        String text = alphabet();
        TokenSequences found = sample(text, Sampling.RANDOM, 200, 4, 1);
        Set<Integer> starts = new HashSet<>();
        for (int sequence = 0; sequence < 200; sequence++) {
            int[] ids = sequence(found, sequence);
            int start = text.indexOf(ids[0]);
            assertEquals(text.substring(start, start + 4), CHARACTERS.decode(ids));
            starts.add(start);
        }
        assertEquals(text.length() - 3, starts.size(), "200 draws from 23 places reach all, with seed 1");
    }

    @ParameterizedTest
    @EnumSource(Sampling.class)
    void theSameSeedDrawsTheSame(Sampling sampling) throws IOException {
        Path documents = documents("{\"text\": \"abcdefgh\"}", "{\"text\": \"ijklmnop\"}", "{\"text\": \"qrstuvwx\"}");
        for (long seed = 0; seed < 5; seed++) {
            assertArrayEquals(sample(alphabet(), sampling, 5, 4, seed).ids(),
                    sample(alphabet(), sampling, 5, 4, seed).ids(), "seed " + seed);
            assertArrayEquals(sample(documents, sampling, 5, 4, seed).ids(),
                    sample(documents, sampling, 5, 4, seed).ids(), "seed " + seed);
        }
    }

    @Test
    void anotherSeedDrawsOthers() {
        assertFalse(Arrays.equals(sample(alphabet(), Sampling.RANDOM, 5, 4, 0).ids(),
                sample(alphabet(), Sampling.RANDOM, 5, 4, 1).ids()));
    }

    @Test
    void randomDocumentsAreLongEnoughAndEachIsDrawnBeforeAnyIsDrawnAgain() throws IOException {
        Path file = documents("{\"text\": \"abcde\"}", "{\"text\": \"xyz\"}", "{\"text\": \"fghij\"}",
                "{\"text\": \"klmno\"}");
        for (long seed = 0; seed < 20; seed++) {
            TokenSequences found = sample(file, Sampling.RANDOM, 6, 4, seed);
            for (int round = 0; round < 2; round++) {
                Set<Integer> documents = new HashSet<>();
                for (int sequence = 3 * round; sequence < 3 * round + 3; sequence++) {
                    documents.add((sequence(found, sequence)[0] - 'a') / 5);
                }
                assertEquals(Set.of(0, 1, 2), documents, "seed " + seed + ", round " + round);
            }
        }
    }

    @Test
    void sequentialJoinsDocumentsInOrder() throws IOException {
        Path file = documents("{\"text\": \"abc\", \"id\": 1}", "", "{\"text\": \"def\"}", "{\"text\": \"never read\"");
        assertEquals("abcd", CHARACTERS.decode(
                sample(file, Sampling.SEQUENTIAL, 2, 2, 0).ids()));
    }

    @Test
    void windowsCoverTheTextAndDropTheTail() throws IOException {
        assertEquals("abcdef",
                CHARACTERS.decode(TokenSequences.windows(CHARACTERS.encode("abcdefg"), "a text", 3).ids()));
        Path file = documents("{\"text\": \"abcd\"}", "{\"text\": \"efg\"}");
        assertEquals("abcdef", CHARACTERS.decode(windows(file, 2).ids()));
    }

    @Test
    void aTextTooShortSaysWhatItHasAndWhatIsNeeded() throws IOException {
        Path file = write("short.txt", "abcde");
        assertUserError(Code.BAD_TEXT, () -> sample(file, Sampling.SEQUENTIAL, 2, 3, 0),
                "short.txt", "holds 5 tokens", "need 6");
        assertUserError(Code.BAD_TEXT, () -> sample(file, Sampling.RANDOM, 1, 6, 0),
                "short.txt", "holds 5 tokens", "needs 6");
        assertUserError(Code.BAD_TEXT, () -> windows(file, 6), "short.txt", "5", "6");
    }

    @Test
    void documentsTooShortSayHowLongTheLongestIs() throws IOException {
        Path file = documents("{\"text\": \"abc\"}", "{\"text\": \"abcd\"}");
        assertUserError(Code.BAD_TEXT, () -> sample(file, Sampling.RANDOM, 1, 6, 0),
                "the longest of its 2 documents has 4", "needs 6");
        assertUserError(Code.BAD_TEXT, () -> sample(file, Sampling.SEQUENTIAL, 2, 4, 0),
                "holds 7 tokens", "need 8");
    }

    @Test
    void aLineWithoutTextIsNamedByItsNumber() throws IOException {
        Path file = documents("{\"text\": \"abc\"}", "", "{\"content\": \"abcd\"}");
        assertUserError(Code.BAD_TEXT, () -> windows(file, 2), "line 3", "\"text\"");
        Path broken = documents("{\"text\": \"abc\"}", "{\"text\": ");
        assertUserError(Code.BAD_TEXT, () -> windows(broken, 2), "line 2", "not JSON");
    }

    @ParameterizedTest
    @ValueSource(strings = {"[\"a text\", \"another\"]", "\n [{\"text\":\"a\"}]\n", "{\"text\":\"a\"}",
            "{\"text\":\"a\"}\n{\"text\":\"b\"}\n"})
    void json_does_not_become_calibration_text(String json) throws IOException {
        Path text = Files.writeString(folder.resolve("texts.txt"), json);
        assertUserError(Code.BAD_TEXT, () -> windows(text, 2), "texts.txt", "found JSON",
                ".jsonl");
    }

    @ParameterizedTest
    @ValueSource(strings = {"[1] As was shown", "{ braces } in prose", "[sic]"})
    void prose_that_begins_with_a_bracket_is_text(String prose) throws IOException {
        Path text = Files.writeString(folder.resolve("prose.txt"), prose);
        assertEquals(prose.length() / 2, windows(text, 2).count());
    }

    @Test
    void a_byte_order_mark_is_no_text_and_utf16_and_lfs_pointers_are_named() throws IOException {
        Path text = Files.writeString(folder.resolve("text.txt"), "\uFEFFabcd");
        assertEquals(2, windows(text, 2).count());
        Path lines = Files.writeString(folder.resolve("text.jsonl"), "\uFEFF{\"text\":\"abcd\"}\n");
        assertEquals(2, windows(lines, 2).count());
        Files.writeString(text, "\uFEFFabcd", StandardCharsets.UTF_16LE);
        assertUserError(Code.BAD_TEXT, () -> windows(text, 2), "text.txt", "UTF-16");
        Files.writeString(text, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
        assertUserError(Code.BAD_TEXT, () -> windows(text, 2), "text.txt",
                "Git LFS pointer");
    }

    @Test
    void bytesThatAreNotUtf8AreRefusedWithTheirPlace() throws IOException {
        Path text = Files.write(folder.resolve("latin1.txt"),
                "caf\u00e9 au lait".getBytes(StandardCharsets.ISO_8859_1));
        assertUserError(Code.BAD_TEXT, () -> windows(text, 2), "latin1.txt", "not UTF-8",
                "byte 3");
        Path lines = Files.write(folder.resolve("latin1.jsonl"),
                "{\"text\": \"caf\u00e9\"}\n".getBytes(StandardCharsets.ISO_8859_1));
        assertUserError(Code.BAD_TEXT, () -> windows(lines, 2), "line 1", "not UTF-8");
    }

    @Test
    void emptyAndMissingFilesAreNamed() throws IOException {
        assertUserError(Code.BAD_TEXT, () -> windows(write("empty.txt", " \n"), 2),
                "empty.txt",
                "no text");
        assertUserError(Code.BAD_TEXT, () -> windows(write("empty.jsonl", "\n\n"), 2),
                "empty.jsonl", "no documents");
        assertUserError(Code.BAD_TEXT, () -> windows(write("none.jsonl", ""), 2),
                "none.jsonl",
                "no documents");
        assertUserError(Code.BAD_TEXT, () -> windows(folder.resolve("gone.txt"), 2),
                "gone.txt",
                "no such file");
        assertUserError(Code.BAD_TEXT, () -> windows(folder, 2), folder.toString());
    }

    @Test
    void numbersThatCannotBeDrawnAreASettingError() {
        assertUserError(Code.BAD_SETTING, () -> sample("abc", Sampling.SEQUENTIAL, 0, 2, 0), "0 sequences");
        assertUserError(Code.BAD_SETTING, () -> sample("abc", Sampling.RANDOM, 1 << 20, 1 << 20, 0), "1048576");
    }

    @Test
    void selectedSequencesComeInTheGivenOrderAndMayComeTwice() {
        TokenSequences all = new TokenSequences(new int[] {1, 2, 3, 4, 5, 6}, 3, 2);

        TokenSequences selected = all.select(new int[] {2, 0, 2});

        assertArrayEquals(new int[] {5, 6, 1, 2, 5, 6}, selected.ids());
        assertEquals(3, selected.count());
        assertEquals(2, selected.length());
    }

    @Test
    void placesThatComeAgainAreNotDifferentTokens() {
        int[] twice = new int[64];
        Arrays.setAll(twice, i -> i % 32);
        assertEquals(32, new TokenSequences(twice, 2, 32).differentTokens());
        Arrays.setAll(twice, i -> i);
        assertEquals(64, new TokenSequences(twice, 2, 32).differentTokens());
        assertEquals(4, new TokenSequences(new int[] {1, 2, 3, 4}, 1, 4).differentTokens());
    }

    @Test
    void idsOutsideTheVocabularyAreRefused() {
        TokenSequences ids = new TokenSequences(new int[] {0, 5}, 1, 2);
        ids.requireVocabulary(6);
        assertUserError(Code.BAD_TOKENIZER, () -> ids.requireVocabulary(5), "5");
    }

    @Test
    void theBundledTextsAreThereWithTheirLicence() {
        assertTrue(BundledText.calibration().length() > 400_000);
        assertTrue(BundledText.evaluation().length() > 100_000);
        assertTrue(BundledText.licence().contains("CC BY-SA"));
    }

    private static TokenSequences sample(String text, Sampling sampling, int count, int length, long seed) {
        return switch (sampling) {
            case SEQUENTIAL -> new Sampler(tokens(CHARACTERS), count, length, "a text").first(text);
            case RANDOM -> new Sampler(tokens(CHARACTERS), count, length, "a text").random(text, seed);
        };
    }

    private static TokenSequences sample(Path file, Sampling sampling, int count, int length, long seed) {
        return Corpus.calibration(file).sample(tokens(CHARACTERS), sampling, count, length, seed);
    }

    private static TokenSequences windows(Path file, int length) {
        return Corpus.calibration(file).windows(tokens(CHARACTERS), length);
    }

    private static DocumentTokens tokens(Tokenizer tokenizer) {
        return DocumentTokens.of(Path.of("no model"), tokenizer, DocumentForm.DEFAULT);
    }

    private static int[] sequence(TokenSequences sequences, int index) {
        return Arrays.copyOfRange(sequences.ids(), index * sequences.length(), (index + 1) * sequences.length());
    }

    private static String alphabet() {
        return "abcdefghijklmnopqrstuvwxyz";
    }

    private Path documents(String... lines) throws IOException {
        return write("documents.jsonl", String.join("\n", lines) + "\n");
    }

    private Path write(String name, String text) throws IOException {
        return Files.writeString(folder.resolve(name), text);
    }
}
