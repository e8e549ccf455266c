package dev.optgptq.formats.tokenizer;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.InputFiles;
import dev.optgptq.formats.tokenizer.ProtobufReader.MalformedException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * tokenizer.model, as sentencepiece_model.proto defines it: pieces by id, with the settings of training and of the normalizer
 * that say how a text becomes pieces. A stranger's file: sizes are bounded, and anything else than such a message is a UserError
 * BAD_TOKENIZER.
 *
 * @param bpe whether pieces are merged by score; else the likeliest sequence of them is taken (unigram)
 * @param bytes whether what no piece covers becomes bytes; else the unknown token
 * @param charsMap what is replaced by what before all else, as compiled by SentencePiece; empty for nothing
 * @param spaceFirst whether a space is put before a text
 * @param extraSpaces whether spaces at the ends, and all but one of several, are kept
 */
record SentencePieceModel(List<Piece> pieces, boolean bpe, boolean bytes, ByteBuffer charsMap, boolean spaceFirst,
        boolean extraSpaces) {

    static final String FILE_NAME = "tokenizer.model";
    /** The largest known is 5 MB. */
    private static final long MAX_BYTES = 32L << 20;
    private static final int MAX_PIECES = 1 << 21;
    /** Known ones have less than 100; the ways to cut a piece grow with its square. */
    private static final int MAX_PIECE_CHARS = 512;

    /** ModelProto.SentencePiece.Type, by its numbers from 1. */
    enum Kind {
        NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE
    }

    record Piece(String text, float score, Kind kind) {}

    private record Trainer(boolean bpe, boolean bytes) {}

    private record Normalizer(ByteBuffer charsMap, boolean spaceFirst, boolean extraSpaces) {}

    static SentencePieceModel read(Path file) {
        return parse(ByteBuffer.wrap(InputFiles.read(file, MAX_BYTES, Code.BAD_TOKENIZER)), file);
    }

    static SentencePieceModel parse(ByteBuffer message, Path file) {
        try {
            return model(message, file);
        } catch (MalformedException e) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": expected a SentencePiece model, found " + e.getMessage()
                    + "; the file is damaged or another kind of tokenizer, fetch it again", e);
        }
    }

    private static SentencePieceModel model(ByteBuffer message, Path file) throws MalformedException {
        List<Piece> pieces = new ArrayList<>();
        Trainer trainer = new Trainer(false, false);
        Normalizer normalizer = new Normalizer(ByteBuffer.allocate(0), true, false);
        ProtobufReader fields = new ProtobufReader(message);
        while (fields.next()) {
            switch (fields.field()) {
                case 1 -> pieces.add(piece(new ProtobufReader(fields.bytes())));
                case 2 -> trainer = trainer(new ProtobufReader(fields.bytes()), file);
                case 3 -> normalizer = normalizer(new ProtobufReader(fields.bytes()));
                default -> fields.skip();
            }
            if (pieces.size() > MAX_PIECES) {
                throw new MalformedException("more than " + MAX_PIECES + " pieces");
            }
        }
        if (pieces.isEmpty()) {
            throw new MalformedException("no pieces");
        }
        return new SentencePieceModel(List.copyOf(pieces), trainer.bpe, trainer.bytes, normalizer.charsMap,
                normalizer.spaceFirst, normalizer.extraSpaces);
    }

    private static Piece piece(ProtobufReader fields) throws MalformedException {
        String text = "";
        float score = 0;
        long type = 1;
        while (fields.next()) {
            switch (fields.field()) {
                case 1 -> text = fields.text();
                case 2 -> score = fields.real();
                case 3 -> type = fields.number();
                default -> fields.skip();
            }
        }
        if (text.isEmpty() || text.length() > MAX_PIECE_CHARS || type < 1 || type > Kind.values().length
                || !Float.isFinite(score)) {
            throw new MalformedException("a piece of " + text.length() + " characters, type " + type + " and score "
                    + score);
        }
        return new Piece(text, score, Kind.values()[(int) type - 1]);
    }

    /** TrainerSpec: model_type (1 unigram, 2 BPE), treat_whitespace_as_suffix, byte_fallback. */
    private static Trainer trainer(ProtobufReader fields, Path file) throws MalformedException {
        long kind = 1;
        boolean bytes = false;
        while (fields.next()) {
            switch (fields.field()) {
                case 3 -> kind = fields.number();
                case 24 -> {
                    if (fields.flag()) {
                        throw unsupported(file, "spaces before words", "treat_whitespace_as_suffix");
                    }
                }
                case 35 -> bytes = fields.flag();
                default -> fields.skip();
            }
        }
        if (kind != 1 && kind != 2) {
            throw unsupported(file, "model_type 1 (unigram) or 2 (BPE)", "model_type " + kind);
        }
        return new Trainer(kind == 2, bytes);
    }

    /** NormalizerSpec: precompiled_charsmap, add_dummy_prefix, remove_extra_whitespaces; the last two hold unless they are false. */
    private static Normalizer normalizer(ProtobufReader fields) throws MalformedException {
        ByteBuffer charsMap = ByteBuffer.allocate(0);
        boolean spaceFirst = true;
        boolean extraSpaces = false;
        while (fields.next()) {
            switch (fields.field()) {
                case 2 -> charsMap = fields.bytes();
                case 3 -> spaceFirst = fields.flag();
                case 4 -> extraSpaces = !fields.flag();
                default -> fields.skip();
            }
        }
        return new Normalizer(charsMap, spaceFirst, extraSpaces);
    }

    private static UserError unsupported(Path file, String expected, String found) {
        return new UserError(Code.BAD_TOKENIZER, file + ": expected " + expected + ", found " + found
                + "; fetch a tokenizer.json with the model");
    }
}
