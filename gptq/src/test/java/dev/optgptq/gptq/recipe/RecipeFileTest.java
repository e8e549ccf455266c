package dev.optgptq.gptq.recipe;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Recipes in files. */
class RecipeFileTest {

    @TempDir
    private Path folder = Path.of("");

    @Test
    void yaml_and_json_say_the_same_as_the_options() {
        List<String> yaml = words("""
                # the first layers are sensitive
                override:
                  '.*\\.down_proj': { bits: 8, group: 64, sym: false }
                  .*\\.o_proj:
                    group: -1
                skip:
                  - '.*\\.layers\\.0\\..*'
                """);
        assertEquals(yaml,
                words("""
                        {"override": {".*\\\\.down_proj": {"bits": 8, "group": 64, "sym": false}, ".*\\\\.o_proj": {"group": -1}},
                         "skip": [".*\\\\.layers\\\\.0\\\\..*"]}"""));
        assertEquals(yaml, words(Recipe.of(List.of(".*\\.down_proj=bits:8,group:64,sym:false", ".*\\.o_proj=group:-1"),
                List.of(".*\\.layers\\.0\\..*"))));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', value = {"''|:1: expected rules under override and skip",
            "- a|:1: expected override and skip, found a list",
            "skips: [a]|:1: expected override or skip, found 'skips'",
            "skip:\\n  a: b|:2: expected a list of patterns, found a mapping",
            "skip:\\n- [a]|:2: expected a pattern of module names, found a list",
            "override:\\n\\n  a: { bits: 5 }|:3: expected 2, 3, 4 or 8 for bits, found '5'",
            "override:\\n  a:\\n    bits: 8\\n    damp: 1|:4: expected bits, group or sym, found 'damp'",
            "override:\\n  a: { bits: 8,\\n   bits: 4 }|:3: expected bits once",
            "override:\\n  a: {}|:2: expected settings such as { bits: 8, group: 64 }, found none",
            "skip:\\n- '('|:2: expected a regular expression", "override: {|:1: expected YAML or JSON",
            "{\"skip\": [\"a\",\\n\"(\"]}|:2: expected a regular expression"})
    void what_is_not_understood_is_named_with_file_and_line(String text, String fragment) {
        String content = text.equals("''") ? "" : text.replace("\\n", "\n");
        assertUserError(Code.BAD_SETTING, () -> Recipe.read(write(content)), folder.resolve("recipe.yaml") + fragment);
    }

    @Test
    void a_file_that_is_not_there_is_named() {
        assertUserError(Code.BAD_SETTING, () -> Recipe.read(folder.resolve("none.yaml")), "none.yaml");
    }

    private List<String> words(String text) {
        return words(Recipe.read(write(text)));
    }

    private static List<String> words(Recipe recipe) {
        return recipe.rules().stream().map(rule -> rule.pattern() + " " + rule.action()).toList();
    }

    private Path write(String text) {
        try {
            return Files.writeString(folder.resolve("recipe.yaml"), text);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
