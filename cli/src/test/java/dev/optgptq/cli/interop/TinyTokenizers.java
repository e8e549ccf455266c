package dev.optgptq.cli.interop;

import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** Tokenizers of 288 tokens: two for the ends of a text, all bytes, and pairs of letters or pieces. */
final class TinyTokenizers {

    private static final JsonMapper JSON = JsonMapper.shared();
    private static final int VOCABULARY = 288;

    private static final String SPACE = "\u2581";
    /** Each but a single character is made of two before it. */
    private static final List<String> PIECES = List.of(SPACE, "a", "e", "h", "i", "n", "o", "r", "s", "t", SPACE + "t",
            "he", "in", "er", SPACE + "the", "an", SPACE + "a", "re", "on", "at", "th", "is", "en", SPACE + "s", "or",
            "es", SPACE + "in", "rain", SPACE + "an");

    private TinyTokenizers() {}

    /** Byte-level BPE that splits words as GPT-2 does. */
    static String byteLevel() {
        ObjectNode tokenizer = JSON.createObjectNode();
        ArrayNode added = tokenizer.put("version", "1.0").putArray("added_tokens");
        ObjectNode model = JSON.createObjectNode().put("type", "BPE").put("byte_fallback", false);
        ObjectNode vocab = model.putObject("vocab");
        for (String end : List.of("<s>", "</s>")) {
            added.addObject().put("id", vocab.size()).put("content", end).put("single_word", false).put("lstrip", false)
                    .put("rstrip", false).put("normalized", false).put("special", true);
            vocab.put(end, vocab.size());
        }
        bytes().forEach(character -> vocab.put(character, vocab.size()));
        ArrayNode merges = model.putArray("merges");
        for (String pair : pairs(VOCABULARY - vocab.size())) {
            merges.add(pair.charAt(0) + " " + pair.charAt(1));
            vocab.put(pair, vocab.size());
        }
        tokenizer.putNull("normalizer").putObject("pre_tokenizer").put("type", "ByteLevel")
                .put("add_prefix_space", false)
                .put("trim_offsets", true).put("use_regex", true);
        tokenizer.putObject("decoder").put("type", "ByteLevel").put("add_prefix_space", true).put("trim_offsets", true)
                .put("use_regex", true);
        tokenizer.set("model", model);
        return tokenizer.toString();
    }

    /** SentencePiece's BPE as Mistral's files have it with a space before a text, and Gemma's without. */
    static String sentencePieces(boolean spaceFirst) {
        ObjectNode tokenizer = JSON.createObjectNode();
        ArrayNode added = tokenizer.put("version", "1.0").putArray("added_tokens");
        ObjectNode model = JSON.createObjectNode().put("type", "BPE").put("unk_token", "<unk>").put("fuse_unk", true)
                .put("byte_fallback", true);
        ObjectNode vocab = model.putObject("vocab");
        for (String special : List.of("<s>", "</s>", "<unk>")) {
            added.addObject().put("id", vocab.size()).put("content", special).put("single_word", false)
                    .put("lstrip", false).put("rstrip", false).put("normalized", false).put("special", true);
            vocab.put(special, vocab.size());
        }
        for (int value = 0; value < 256; value++) {
            vocab.put("<0x%02X>".formatted(value), vocab.size());
        }
        ArrayNode merges = model.putArray("merges");
        for (String piece : PIECES) {
            for (int cut = 1; cut < piece.length(); cut++) {
                if (vocab.has(piece.substring(0, cut)) && vocab.has(piece.substring(cut))) {
                    merges.addArray().add(piece.substring(0, cut)).add(piece.substring(cut));
                }
            }
            vocab.put(piece, vocab.size());
        }
        ObjectNode space = JSON.createObjectNode();
        if (spaceFirst) {
            tokenizer.putNull("normalizer");
            space.put("type", "Metaspace").put("replacement", SPACE).put("prepend_scheme", "first").put("split", false);
        } else {
            tokenizer.putObject("normalizer").put("type", "Replace").put("content", SPACE).putObject("pattern")
                    .put("String", " ");
            space.put("type", "Split").put("behavior", "MergedWithPrevious").put("invert", false).putObject("pattern")
                    .put("String", " ");
        }
        tokenizer.set("pre_tokenizer", space);
        tokenizer.set("model", model);
        return tokenizer.toString();
    }

    /** GPT-2's characters for the bytes: themselves where they can be printed, others from 256 on. */
    private static List<String> bytes() {
        List<String> characters = new ArrayList<>();
        int next = 256;
        for (int value = 0; value < 256; value++) {
            boolean printed = (value > 0x20 && value < 0x7f) || (value > 0xa0 && value != 0xad);
            characters.add(String.valueOf((char) (printed ? value : next++)));
        }
        return characters;
    }

    private static List<String> pairs(int count) {
        List<String> pairs = new ArrayList<>();
        for (char first = 'a'; pairs.size() < count; first++) {
            pairs.add(first + "e");
            pairs.add("\u0120" + first);
        }
        return pairs.subList(0, count);
    }
}
