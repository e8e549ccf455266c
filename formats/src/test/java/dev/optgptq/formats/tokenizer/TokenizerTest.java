package dev.optgptq.formats.tokenizer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.testing.SharedFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TokenizerTest {

    @ParameterizedTest
    @CsvSource({"wikitext2-test.txt, 364948", "wikitext2-train-head.txt, 378031"})
    void a_whole_text_gives_the_token_count_of_the_reference_library(String text, int tokens) throws IOException {
        Path model = SharedFiles.require("models/wiki-llama-14m");
        String content = Files.readString(SharedFiles.require("data/" + text));
        try (Tokenizer tokenizer = Tokenizer.load(model)) {
            assertEquals(tokens, tokenizer.encode(content).length);
        }
    }
}
