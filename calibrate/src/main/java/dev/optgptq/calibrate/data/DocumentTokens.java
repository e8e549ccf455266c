package dev.optgptq.calibrate.data;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.chat.ChatTemplate;
import dev.optgptq.formats.tokenizer.SpecialTokens;
import dev.optgptq.formats.tokenizer.Tokenizer;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;

/** Documents as tokens of one model. Loads the model's chat template when the first messages come. */
public final class DocumentTokens {

    /** The same data must give the same tokens, whatever the day. */
    private static final LocalDateTime DATE = LocalDateTime.of(2026, 1, 1, 12, 0);
    private static final int[] NONE = {};

    private final Tokenizer tokenizer;
    private final Path model;
    /** Tokens before each document. */
    private final int[] begin;
    /** Tokens before each sequence. */
    private final int[] first;
    /** Tokens after each document. */
    private final int[] end;
    /** What messages must not begin with. */
    private final OptionalInt unwanted;
    private @Nullable ChatTemplate template;

    private DocumentTokens(Tokenizer tokenizer, Path model, int[] begin, int[] first, int[] end,
            OptionalInt unwanted) {
        this.tokenizer = tokenizer;
        this.model = model;
        this.begin = begin;
        this.first = first;
        this.end = end;
        this.unwanted = unwanted;
    }

    /** UserError BAD_TOKENIZER where the model has no token that is asked for. */
    public static DocumentTokens of(Path model, Tokenizer tokenizer, DocumentForm form) {
        int[] begin = form.bos() == Bos.AUTO ? SpecialTokens.addedBefore(tokenizer) : NONE;
        int[] first = form.bos() == Bos.ALWAYS
                ? new int[] {require(SpecialTokens.BEGIN, model, tokenizer, "--bos always")}
                : NONE;
        int[] end = form.pack() ? new int[] {require(SpecialTokens.END, model, tokenizer, "--pack")} : NONE;
        OptionalInt unwanted = form.bos() == Bos.AUTO
                ? OptionalInt.empty()
                : SpecialTokens.find(SpecialTokens.BEGIN, model, tokenizer);
        return new DocumentTokens(tokenizer, model, begin, first, end, unwanted);
    }

    private static int require(String name, Path model, Tokenizer tokenizer, String option) {
        return SpecialTokens.find(name, model, tokenizer).orElseThrow(() -> new UserError(Code.BAD_TOKENIZER, option
                + ": expected " + name + " in tokenizer_config.json or " + name + "_id in config.json of " + model
                + ", found none; leave the option out, or add the token"));
    }

    /** Of text. */
    int[] of(String text) {
        return joined(begin, tokenizer.encode(text));
    }

    /**
     * Of a document: text, or messages, which go through the model's chat template. UserError BAD_TEXT for anything else.
     *
     * @param place of the document, for errors
     */
    int[] of(JsonNode document, String place) {
        int[] tokens = document instanceof ArrayNode messages ? chat(messages, place) : of(document.stringValue());
        boolean isEnded = end.length > 0 && tokens.length > 0 && tokens[tokens.length - 1] == end[0];
        return isEnded ? tokens : joined(tokens, end);
    }

    /** The template itself writes special tokens. */
    private int[] chat(ArrayNode messages, String place) {
        if (template == null) {
            template = ChatTemplate.load(model);
        }
        int[] tokens = tokenizer.encode(template.render(messages, false, DATE, place));
        boolean begins = tokens.length > 0 && unwanted.isPresent() && unwanted.getAsInt() == tokens[0];
        return begins ? Arrays.copyOfRange(tokens, 1, tokens.length) : tokens;
    }

    /** Of all documents, one after the other. */
    int[] all(JsonLines documents) {
        List<int[]> tokens = IntStream.range(0, documents.documents()).mapToObj(documents::document)
                .map(document -> of(document.value(), document.place())).toList();
        return tokens.stream().flatMapToInt(Arrays::stream).toArray();
    }

    /** Tokens of text in a sequence of that length. */
    int textLength(int length) {
        return length - first.length;
    }

    /** Sequences of text with the tokens that each begins with. */
    TokenSequences marked(TokenSequences text) {
        if (first.length == 0) {
            return text;
        }
        int length = text.length() + first.length;
        int[] ids = new int[Math.multiplyExact(text.count(), length)];
        for (int i = 0; i < text.count(); i++) {
            System.arraycopy(first, 0, ids, i * length, first.length);
            System.arraycopy(text.ids(), i * text.length(), ids, i * length + first.length, text.length());
        }
        return new TokenSequences(ids, text.count(), length);
    }

    private static int[] joined(int[] before, int[] after) {
        if (before.length == 0 || after.length == 0) {
            return before.length == 0 ? after : before;
        }
        int[] all = Arrays.copyOf(before, before.length + after.length);
        System.arraycopy(after, 0, all, before.length, after.length);
        return all;
    }
}
