package dev.optgptq.formats.tokenizer;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/**
 * Splits a long text into pieces whose concatenated tokens are those of the whole text. The library takes about 150
 * bytes per character, so that a book in one piece costs gigabytes.
 *
 * <p>A cut is made only before a space between two letters, and only for byte-level BPE whose regular expression splits
 * words first. In the known expressions a space can start a match but never follow a letter in one, and none has a
 * lookbehind: such a place is always a word boundary, and what follows does not depend on the text before. Other
 * tokenizers, such as SentencePiece ones, which merge across words, get the whole text.
 */
final class TextPieces {

    /** Long enough to make the cost of calls negligible, short enough to use little memory. */
    static final int PIECE_CHARS = 1 << 16;

    private static final String CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    private static final String WORDS = "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|";
    private static final String REST = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

    /** The expressions of Llama 3 and of Qwen 2 and 3; they differ in how digits are grouped. */
    private static final Set<String> WORD_EXPRESSIONS = Set.of(CONTRACTIONS + WORDS + "\\p{N}{1,3}" + REST,
            CONTRACTIONS + WORDS + "\\p{N}" + REST);

    private final boolean cuttable;
    private final int pieceChars;

    TextPieces(boolean cuttable, int pieceChars) {
        this.cuttable = cuttable;
        this.pieceChars = pieceChars;
    }

    /**
     * @param tokenizer the document of tokenizer.json
     * @param pieceChars characters a piece has at least, the last one aside
     */
    static TextPieces of(JsonNode tokenizer, int pieceChars) {
        boolean cuttable = keepsSpaces(tokenizer.path("normalizer")) && splitsWords(tokenizer.path("pre_tokenizer"))
                && tokenizer.path("model").path("type").asString("").equals("BPE")
                && addedTokensStayInWords(tokenizer.path("added_tokens"));
        return new TextPieces(cuttable, pieceChars);
    }

    boolean isCuttable() {
        return cuttable;
    }

    List<String> of(String text) {
        List<String> pieces = new ArrayList<>();
        int start = 0;
        for (int cut = nextCut(text, start); cut < text.length(); cut = nextCut(text, start)) {
            pieces.add(text.substring(start, cut));
            start = cut;
        }
        pieces.add(text.substring(start));
        return pieces;
    }

    /** The first cut that leaves a whole piece before it; the length of the text when there is none. */
    private int nextCut(String text, int start) {
        if (cuttable && pieceChars < text.length() - start) {
            for (int at = start + pieceChars; at + 1 < text.length(); at++) {
                if (text.charAt(at) == ' ' && Character.isLetter(text.charAt(at - 1))
                        && Character.isLetter(text.charAt(at + 1))) {
                    return at;
                }
            }
        }
        return text.length();
    }

    /** NFC composes nothing with a space; other normalizers may move or replace spaces. */
    private static boolean keepsSpaces(JsonNode normalizer) {
        return absent(normalizer) || normalizer.path("type").asString("").equals("NFC");
    }

    /** Byte-level splitting by GPT-2's own expression, or by a known one before it. */
    private static boolean splitsWords(JsonNode preTokenizer) {
        if (isByteLevel(preTokenizer)) {
            return preTokenizer.path("use_regex").asBoolean(true);
        }
        JsonNode steps = preTokenizer.path("pretokenizers");
        JsonNode split = steps.path(0);
        return preTokenizer.path("type").asString("").equals("Sequence") && steps.size() == 2
                && split.path("type").asString("").equals("Split")
                && WORD_EXPRESSIONS.contains(split.path("pattern").path("Regex").asString(""))
                && split.path("behavior").asString("").equals("Isolated") && !split.path("invert").asBoolean(false)
                && isByteLevel(steps.path(1)) && !steps.path(1).path("use_regex").asBoolean(true);
    }

    /** A space put before the text would be put before every piece. */
    private static boolean isByteLevel(JsonNode step) {
        return step.path("type").asString("").equals("ByteLevel") && !step.path("add_prefix_space").asBoolean(true);
    }

    /** Added tokens are found before words are split: none may contain a space or absorb one after it. */
    private static boolean addedTokensStayInWords(JsonNode tokens) {
        for (JsonNode token : tokens) {
            if (token.path("content").asString(" ").contains(" ") || token.path("rstrip").asBoolean(true)) {
                return false;
            }
        }
        return true;
    }

    private static boolean absent(JsonNode node) {
        return node.isMissingNode() || node.isNull();
    }
}
