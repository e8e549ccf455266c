package dev.optgptq.formats.tokenizer;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.natives.ChildJava;
import dev.optgptq.formats.natives.NativeFolder;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * A tokenizer in its own process, with limits of time and memory: see TokenizerMain. A failure of that process is an
 * error that names the tokenizer's file. One request at a time.
 */
final class TokenizerProcess implements Tokenizer {

    /** Pieces of a long text in one request: enough that the library's threads all have work. */
    private static final int BATCH = 8;
    private static final int BUFFER_BYTES = 1 << 16;

    /** Limits of a request: measured, a 33 MB tokenizer.json loads in 3 s, and 1 MB of text takes 1.4 to 2.5 s. */
    private static final Limits LOADING = new Limits(60, 3L << 30);
    private static final Limits REQUEST = new Limits(5, 2L << 30);
    private static final double SECONDS_PER_BYTE = 30e-6;
    private static final long MEMORY_PER_BYTE = 512;

    private final Path file;
    private final Process process;
    private final Watchdog watchdog;
    private final LastWords lastWords;
    private final DataOutputStream requests;
    private final DataInputStream answers;
    private final TextPieces pieces;

    private TokenizerProcess(Path file, Process process) {
        this.file = file;
        this.process = process;
        this.watchdog = new Watchdog(process);
        this.lastWords = new LastWords(process.getErrorStream());
        this.requests = new DataOutputStream(new BufferedOutputStream(process.getOutputStream(), BUFFER_BYTES));
        this.answers = new DataInputStream(new BufferedInputStream(process.getInputStream(), BUFFER_BYTES));
        this.pieces = new TextPieces(exchange(LOADING, () -> {
            Frames.readStatus(answers);
            return answers.readBoolean();
        }), TextPieces.PIECE_CHARS);
    }

    static TokenizerProcess open(Path modelDirectory) {
        Path file = TokenizerFile.in(modelDirectory);
        Process process;
        try {
            process = ChildJava.of(TokenizerMain.class, Runtime.getRuntime().maxMemory(),
                    List.of(NativeFolder.PROPERTY), List.of(modelDirectory.toString())).start();
        } catch (IOException e) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": the process that tokenizes cannot be started ("
                    + e.getMessage() + "); see whether this system allows more processes", e);
        }
        try {
            return new TokenizerProcess(file, process);
        } catch (RuntimeException | Error e) {
            process.destroyForcibly();
            throw e;
        }
    }

    @Override
    public int[] encode(String text) {
        requireWhole(text);
        List<String> all = pieces.of(text);
        List<int[]> ids = new ArrayList<>();
        for (int at = 0; at < all.size(); at += BATCH) {
            ids.addAll(encode(all.subList(at, Math.min(all.size(), at + BATCH))));
        }
        return ids.size() == 1 ? ids.getFirst() : ids.stream().flatMapToInt(Arrays::stream).toArray();
    }

    private List<int[]> encode(List<String> texts) {
        long bytes = texts.stream().mapToLong(String::length).sum();
        return exchange(REQUEST.forText(bytes), () -> {
            requests.writeByte(Frames.ENCODE);
            Frames.writeTexts(requests, texts);
            requests.flush();
            Frames.readStatus(answers);
            List<int[]> ids = new ArrayList<>();
            for (int i = 0; i < texts.size(); i++) {
                ids.add(Frames.readIds(answers));
            }
            return ids;
        });
    }

    /** Half a surrogate pair, which JSON can hold and UTF-8 cannot. */
    private void requireWhole(String text) {
        if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
            throw new UserError(Code.BAD_TEXT, "a text holds half a surrogate pair, which is not a character; fix "
                    + "the file that it comes from");
        }
    }

    @Override
    public int[] encodePrompt(String text) {
        requireWhole(text);
        return exchange(REQUEST.forText(text.length()), () -> {
            requests.writeByte(Frames.ENCODE_PROMPT);
            Frames.writeText(requests, text);
            requests.flush();
            Frames.readStatus(answers);
            return Frames.readIds(answers);
        });
    }

    @Override
    public String decode(int[] ids) {
        return decode(Frames.DECODE, ids);
    }

    @Override
    public String decodeText(int[] ids) {
        return decode(Frames.DECODE_TEXT, ids);
    }

    private String decode(int operation, int[] ids) {
        return exchange(REQUEST.forText(8L * ids.length), () -> {
            requests.writeByte(operation);
            Frames.writeIds(requests, ids);
            requests.flush();
            Frames.readStatus(answers);
            return Frames.readText(answers);
        });
    }

    /** A request and its answer, watched. */
    private synchronized <T> T exchange(Limits limits, Exchange<T> exchange) {
        watchdog.watch(limits);
        try {
            return exchange.run();
        } catch (IOException e) {
            throw ended(e);
        } finally {
            watchdog.rest();
        }
    }

    private UserError ended(IOException e) {
        try {
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
            String exceeded = watchdog.exceeded();
            String how = exceeded == null
                    ? "the native library ended its process (" + ChildJava.describeExit(process.waitFor()) + ")"
                            + lastWords.text()
                    : exceeded;
            return new UserError(Code.BAD_TOKENIZER, file + ": cannot be used: " + how
                    + "; the file is damaged or not of the kind that the library expects, fetch it again", e);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            return new UserError(Code.BAD_TOKENIZER, file + ": interrupted while a text was tokenized", interrupted);
        }
    }

    @Override
    public void close() {
        process.destroyForcibly();
        watchdog.close();
    }

    @Override
    public String toString() {
        return file.toString();
    }

    /** One question and its answer. */
    private interface Exchange<T> {
        T run() throws IOException;
    }

    /**
     * Limits of a request.
     *
     * @param cpuSeconds of all threads of the process, so that a busy machine changes nothing
     * @param memoryBytes of the process, by any part of it
     */
    record Limits(double cpuSeconds, long memoryBytes) {

        Limits forText(long bytes) {
            return new Limits(cpuSeconds + bytes * SECONDS_PER_BYTE, memoryBytes + bytes * MEMORY_PER_BYTE);
        }
    }
}
