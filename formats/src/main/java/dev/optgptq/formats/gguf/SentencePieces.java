package dev.optgptq.formats.gguf;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/**
 * SentencePiece's BPE as tokenizer.json has it: spaces are U+2581, what no piece covers falls back to bytes, and merges are the pairs of
 * which each piece can be made, in the order of the pieces' scores. GGUF has the scores instead, so that they are the ranks here.
 *
 * @param spaceFirst whether a space is put before a text
 * @param scores of the pieces that are made by merges: less for later ones
 */
record SentencePieces(boolean spaceFirst, Map<String, Float> scores) {

    private static final String SPACE = "\u2581";
    private static final String TYPE = "type";

    /** Empty for any other kind of tokenizer. */
    static Optional<SentencePieces> of(JsonNode tokenizer) {
        JsonNode model = tokenizer.path("model");
        Optional<Boolean> first = spaceFirst(tokenizer.path("normalizer"), tokenizer.path("pre_tokenizer"));
        if (!model.path(TYPE).asString("").equals("BPE") || !model.path("byte_fallback").asBoolean(false)
                || first.isEmpty()) {
            return Optional.empty();
        }
        return scores(model.path("merges")).map(scores -> new SentencePieces(first.get(), scores));
    }

    /** Llama 2's normalizer, Mistral's and later Llamas' Metaspace, or Gemma's replacement alone. */
    private static Optional<Boolean> spaceFirst(JsonNode normalizer, JsonNode splitting) {
        List<JsonNode> steps = new ArrayList<>();
        if (normalizer.isObject()) {
            normalizer.path("normalizers").forEach(steps::add);
            if (steps.isEmpty()) {
                steps.add(normalizer);
            }
        }
        boolean prepends = !steps.isEmpty() && steps.getFirst().path(TYPE).asString("").equals("Prepend")
                && steps.getFirst().path("prepend").asString("").equals(SPACE);
        if (prepends) {
            steps.removeFirst();
        }
        boolean replaces = steps.size() == 1 && steps.getFirst().path(TYPE).asString("").equals("Replace")
                && steps.getFirst().path("pattern").path("String").asString("").equals(" ")
                && steps.getFirst().path("content").asString("").equals(SPACE);
        // After the replacement there is no space left to split at.
        boolean unsplit = !splitting.isObject() || (splitting.path(TYPE).asString("").equals("Split")
                && splitting.path("pattern").path("String").asString("").equals(" "));
        if (replaces && unsplit) {
            return Optional.of(prepends);
        }
        boolean metaspace = steps.isEmpty() && !prepends && splitting.path(TYPE).asString("").equals("Metaspace")
                && splitting.path("replacement").asString("").equals(SPACE) && !splitting.path("split").asBoolean(true);
        return metaspace
                ? Optional.of(!splitting.path("prepend_scheme").asString("always").equals("never"))
                : Optional.empty();
    }

    /** Empty where the ways to make one piece do not follow each other: then no score per piece stands for the order. */
    private static Optional<Map<String, Float>> scores(JsonNode merges) {
        Map<String, Float> scores = new HashMap<>();
        String last = "";
        for (JsonNode merge : merges) {
            String piece = merge.isString()
                    ? merge.stringValue().replaceFirst(" ", "")
                    : merge.path(0).asString("") + merge.path(1).asString("");
            if (!piece.equals(last) && scores.put(piece, 0f - scores.size()) != null) {
                return Optional.empty();
            }
            last = piece;
        }
        return Optional.of(scores);
    }

    /** Of a token; the least for one that no merge makes. */
    float score(String token) {
        return scores.getOrDefault(token, (float) -scores.size());
    }

    static boolean isByte(String token) {
        return token.length() == 6 && token.startsWith("<0x") && token.endsWith(">");
    }
}
