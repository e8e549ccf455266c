package dev.optgptq.formats.gguf;

import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/**
 * How a byte-level tokenizer splits words before it merges bytes, as the name under which llama.cpp has the same expressions
 * ("tokenizer.ggml.pre", llama-vocab.cpp).
 */
final class WordSplitting {

    private static final String CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|";
    private static final String REST = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    private static final String LLAMA3 = CONTRACTIONS + "\\p{N}{1,3}" + REST;
    private static final Map<String, String> EXPRESSIONS = Map.of(LLAMA3, "llama-bpe",
            CONTRACTIONS + "\\p{N}" + REST, "qwen2",
            CONTRACTIONS + "\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", "seed-coder",
            " ?[^(\\s|[.,!?…。，、।۔،])]+", "bloom");
    private static final String STEPS = "pretokenizers";

    private WordSplitting() {}

    /** Empty where llama.cpp has no such expressions. */
    static Optional<String> name(JsonNode tokenizer) {
        JsonNode splitting = tokenizer.path("pre_tokenizer");
        JsonNode steps = splitting.path(STEPS);
        if (isByteLevel(splitting, true) || (steps.size() == 1 && isByteLevel(steps.path(0), true))) {
            return Optional.of("gpt-2");
        }
        if (steps.size() == 2 && isByteLevel(steps.path(1), true) && isDigits(steps.path(0), true)) {
            return Optional.of("smollm");
        }
        if (isFalcon(steps)) {
            return Optional.of("falcon");
        }
        String expression = steps.path(0).path("pattern").path("Regex").asString("");
        if (steps.size() != 2 || !isByteLevel(steps.path(1), false)) {
            return Optional.empty();
        }
        // Under Llama 3's own name llama.cpp takes a word that is a token without merging.
        boolean merges = !tokenizer.path("model").path("ignore_merges").asBoolean(false);
        return Optional.ofNullable(expression.equals(LLAMA3) && merges ? "dbrx" : EXPRESSIONS.get(expression));
    }

    private static boolean isFalcon(JsonNode steps) {
        boolean digits = steps.size() == 4 && isDigits(steps.path(2), false);
        return (steps.size() == 3 || digits) && steps.path(0).path("type").asString("").equals("Punctuation")
                && steps.path(0).path("behavior").asString("").equals("Contiguous") && isByteLevel(steps.path(1), true)
                && steps.path(steps.size() - 1).path("pattern").path("Regex").asString("").equals("[0-9][0-9][0-9]");
    }

    private static boolean isDigits(JsonNode step, boolean individual) {
        return step.path("type").asString("").equals("Digits")
                && step.path("individual_digits").asBoolean(false) == individual;
    }

    private static boolean isByteLevel(JsonNode step, boolean splits) {
        return step.path("type").asString("").equals("ByteLevel") && !step.path("add_prefix_space").asBoolean(true)
                && step.path("use_regex").asBoolean(true) == splits;
    }
}
