package dev.optgptq.formats.tokenizer;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.tokenizer.SentencePieceModel.Piece;
import dev.optgptq.formats.tokenizer.SentencePieceModel.Kind;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * A SentencePiece model in the form of tokenizer.json. Scores become the order of merges: of each piece all ways to make it of two
 * others, the best piece first.
 */
final class SentencePieceTokenizer {

    private static final String SPACE = "\u2581";
    private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

    private final SentencePieceModel model;
    private final Path file;
    private final ObjectNode vocab = JSON.objectNode();
    private final ArrayNode added = JSON.arrayNode();
    private String unknown = "";

    private SentencePieceTokenizer(SentencePieceModel model, Path file) {
        this.model = model;
        this.file = file;
    }

    /**
     * Throws UserError BAD_TOKENIZER for a model that tokenizer.json cannot express.
     *
     * @param settings tokenizer_config.json, whose added_tokens_decoder may have more tokens
     */
    static ObjectNode of(SentencePieceModel model, JsonNode settings, Path file) {
        return new SentencePieceTokenizer(model, file).json(settings);
    }

    private ObjectNode json(JsonNode settings) {
        readPieces();
        settings.path("added_tokens_decoder").propertyStream().forEach(entry -> {
            String content = entry.getValue().path("content").asString("");
            if (!vocab.has(content) && entry.getKey().matches("\\d{1,9}")) {
                add(Integer.parseInt(entry.getKey()), content, entry.getValue().path("special").asBoolean(false),
                        false);
            }
        });
        ObjectNode json = JSON.objectNode().put("version", "1.0");
        json.set("added_tokens", added);
        json.set("normalizer", sequence("normalizers", normalizers()));
        json.putNull("pre_tokenizer");
        json.set("post_processor", template(settings));
        json.set("decoder", sequence("decoders", decoders()));
        json.set("model", model.bpe() ? bpe() : unigram());
        return json;
    }

    private void readPieces() {
        for (int id = 0; id < model.pieces().size(); id++) {
            Piece piece = model.pieces().get(id);
            if (vocab.has(piece.text())) {
                throw new UserError(Code.BAD_TOKENIZER, file + ": expected each piece once, found '" + piece.text()
                        + "' twice; the file is damaged, fetch it again");
            }
            vocab.put(piece.text(), id);
            switch (piece.kind()) {
                case UNKNOWN -> {
                    unknown = piece.text();
                    add(id, piece.text(), true, false);
                }
                case CONTROL -> add(id, piece.text(), true, false);
                case USER_DEFINED -> addDefined(id, piece.text());
                case NORMAL, UNUSED, BYTE -> {
                }
            }
        }
        if (unknown.isEmpty()) {
            throw new UserError(Code.BAD_TOKENIZER,
                    file + ": expected a piece for what is unknown, found none; fetch the file again");
        }
    }

    /**
     * A piece that is taken wherever it stands in a text. tokenizer.json cuts a text at those first, and puts a space before each part,
     * or strips it, where SentencePiece does so to the whole.
     */
    private void addDefined(int id, String piece) {
        if (model.spaceFirst() || !model.extraSpaces()) {
            throw new UserError(Code.BAD_TOKENIZER,
                    file + ": expected no user-defined pieces where spaces are put before"
                            + " a text or taken from it, found '" + piece + "'; fetch a tokenizer.json with the model");
        }
        add(id, piece, false, piece.contains(SPACE));
    }

    private void add(int id, String content, boolean special, boolean normalized) {
        added.addObject().put("id", id).put("content", content).put("single_word", false).put("lstrip", false)
                .put("rstrip", false).put("normalized", normalized).put("special", special);
    }

    private List<ObjectNode> normalizers() {
        List<ObjectNode> steps = new ArrayList<>();
        if (model.charsMap().hasRemaining()) {
            ByteBuffer map = Base64.getEncoder().encode(model.charsMap().duplicate());
            steps.add(step("Precompiled").put("precompiled_charsmap",
                    StandardCharsets.US_ASCII.decode(map).toString()));
        }
        if (!model.extraSpaces()) {
            steps.add(step("Strip").put("strip_left", true).put("strip_right", true));
            ObjectNode once = step("Replace").put("content", " ");
            once.putObject("pattern").put("Regex", " {2,}");
            steps.add(once);
        }
        if (model.spaceFirst()) {
            steps.add(step("Prepend").put("prepend", SPACE));
        }
        steps.add(replace(" ", SPACE));
        return steps;
    }

    private List<ObjectNode> decoders() {
        List<ObjectNode> steps = new ArrayList<>(List.of(replace(SPACE, " "), step("ByteFallback"), step("Fuse")));
        if (model.spaceFirst()) {
            steps.add(step("Strip").put("content", " ").put("start", 1).put("stop", 0));
        }
        return steps;
    }

    private static ObjectNode step(String type) {
        return JSON.objectNode().put("type", type);
    }

    private static ObjectNode replace(String from, String to) {
        ObjectNode replace = step("Replace").put("content", to);
        replace.putObject("pattern").put("String", from);
        return replace;
    }

    private static ObjectNode sequence(String key, List<ObjectNode> steps) {
        ObjectNode sequence = step("Sequence");
        ArrayNode all = sequence.putArray(key);
        steps.forEach(all::add);
        return sequence;
    }

    /** A text begins with the token that tokenizer_config.json names, unless it says otherwise, as with Llama and Gemma. */
    private JsonNode template(JsonNode settings) {
        JsonNode named = settings.path("bos_token");
        String begin = named.isObject() ? named.path("content").asString("") : named.asString("<s>");
        if (!vocab.has(begin) || !settings.path("add_bos_token").asBoolean(true)) {
            return JSON.nullNode();
        }
        ObjectNode template = step("TemplateProcessing");
        for (String key : List.of("single", "pair")) {
            ArrayNode parts = template.putArray(key);
            parts.addObject().putObject("SpecialToken").put("id", begin).put("type_id", 0);
            parts.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
            if (key.equals("pair")) {
                parts.addObject().putObject("Sequence").put("id", "B").put("type_id", 1);
            }
        }
        ObjectNode token = template.putObject("special_tokens").putObject(begin).put("id", begin);
        token.putArray("ids").add(vocab.path(begin).intValue());
        token.putArray("tokens").add(begin);
        return template;
    }

    private ObjectNode unigram() {
        ObjectNode unigram = step("Unigram").put("unk_id", vocab.path(unknown).intValue()).put("byte_fallback",
                model.bytes());
        ArrayNode scored = unigram.putArray("vocab");
        model.pieces().forEach(piece -> scored.addArray().add(piece.text()).add((double) piece.score()));
        return unigram;
    }

    private ObjectNode bpe() {
        ObjectNode bpe = step("BPE").put("unk_token", unknown).put("fuse_unk", true).put("byte_fallback", model.bytes())
                .put("ignore_merges", false);
        bpe.set("vocab", vocab);
        List<Piece> merged = new ArrayList<>();
        Set<String> parts = new HashSet<>();
        for (Piece piece : model.pieces()) {
            if (piece.kind() == Kind.NORMAL || piece.kind() == Kind.USER_DEFINED) {
                merged.add(piece);
                parts.add(piece.text());
            }
        }
        merged.sort(Comparator.comparingDouble(piece -> -piece.score()));
        ArrayNode merges = bpe.putArray("merges");
        for (Piece piece : merged) {
            String text = piece.text();
            for (int cut = 1; cut < text.length(); cut++) {
                if (parts.contains(text.substring(0, cut)) && parts.contains(text.substring(cut))) {
                    merges.addArray().add(text.substring(0, cut)).add(text.substring(cut));
                }
            }
        }
        return bpe;
    }
}
