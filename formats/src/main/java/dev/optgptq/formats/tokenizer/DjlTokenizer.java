package dev.optgptq.formats.tokenizer;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.natives.CacheFolder;
import dev.optgptq.formats.natives.NativeFolder;
import dev.optgptq.formats.natives.PrivateFolder;
import dev.optgptq.formats.natives.UnpackedLibrary;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URL;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.logging.Level;
import java.util.logging.Logger;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/** The Hugging Face tokenizers library through DJL. The only class that knows of ai.djl. */
final class DjlTokenizer implements Tokenizer {

    /** DJL's setting, an environment variable or a system property: the file of its library. */
    private static final String LIBRARY = "RUST_LIBRARY_PATH";
    private static final AtomicBoolean LIBRARY_IS_PLACED = new AtomicBoolean();
    private static final String RESOURCES = "/native/lib/";

    /** Measured: English text at 3.4 characters a token needs less than 40. */
    private static final long HEAP_BYTES_PER_CHAR = 48;

    /** tokenizer.json may ask for truncation and padding; a text is a stream of tokens here. */
    private static final Map<String, String> OPTIONS = Map.of("truncation", "false", "padding", "false",
            "addSpecialTokens", "false");

    /**
     * DJL reports how it looked for its library and for GPUs that a tokenizer does not need; failures come as exceptions
     * too. Kept here because a level is lost with the last reference to its logger.
     */
    private static final Logger NATIVE_LOG = Logger.getLogger("ai.djl");

    private final HuggingFaceTokenizer delegate;
    private final Path file;
    private final boolean cuttable;

    private DjlTokenizer(HuggingFaceTokenizer delegate, Path file, boolean cuttable) {
        this.delegate = delegate;
        this.file = file;
        this.cuttable = cuttable;
    }

    static DjlTokenizer open(Path modelDirectory) {
        Path file = TokenizerFile.in(modelDirectory);
        ObjectNode json = read(modelDirectory, file);
        boolean cuttable = TextPieces.of(json, TextPieces.PIECE_CHARS).isCuttable();
        stayOffline();
        placeLibrary();
        NATIVE_LOG.setLevel(Level.OFF);
        try {
            HuggingFaceTokenizer tokenizer = file.endsWith(TokenizerFile.FILE_NAME)
                    ? HuggingFaceTokenizer.newInstance(file, OPTIONS)
                    : HuggingFaceTokenizer.newInstance(new ByteArrayInputStream(Json.toCompactBytes(json)), OPTIONS);
            return new DjlTokenizer(tokenizer, file, cuttable);
        } catch (EngineException | LinkageError e) {
            throw nativeLibrary(e);
        } catch (IOException | RuntimeException e) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": the tokenizer cannot be used (" + rootCause(e)
                    + "); fetch it again, or see whether the model needs a newer tokenizers version", e);
        }
    }

    /** Whether texts can be split by TextPieces without changing a token. */
    boolean isCuttable() {
        return cuttable;
    }

    @Override
    public int[] encode(String text) {
        return encodeAll(List.of(text)).getFirst();
    }

    /** The ids of each text; the library works on several at a time. */
    List<int[]> encodeAll(List<String> texts) {
        long characters = texts.stream().mapToLong(String::length).sum();
        requireHeap(characters);
        try {
            Encoding[] encodings = texts.size() == 1
                    ? new Encoding[] {delegate.encode(texts.getFirst(), false, false)}
                    : delegate.batchEncode(texts, false, false);
            return Arrays.stream(encodings)
                    .map(encoding -> Arrays.stream(encoding.getIds()).mapToInt(Math::toIntExact).toArray()).toList();
        } catch (RuntimeException e) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": a text of " + characters + " characters cannot be"
                    + " tokenized (" + rootCause(e) + "); check that the tokenizer is complete", e);
        }
    }

    /**
     * The library aborts the process when its result does not fit the heap; half of the heap is left for everything
     * else.
     */
    private void requireHeap(long characters) {
        long available = Runtime.getRuntime().maxMemory() / 2;
        long needed = characters * HEAP_BYTES_PER_CHAR;
        if (needed > available) {
            throw new UserError(Code.MEMORY, file + ": this tokenizer needs a text in one piece, and for "
                    + characters + " characters expected " + needed / 1_000_000 + " MB of heap, found "
                    + available / 1_000_000
                    + " MB; use a shorter text, a .jsonl of documents, or a larger heap (-Xmx)");
        }
    }

    @Override
    public String decode(int[] ids) {
        return delegate.decode(Arrays.stream(ids).asLongStream().toArray(), false);
    }

    @Override
    public int[] encodePrompt(String text) {
        requireHeap(text.length());
        try {
            return Arrays.stream(delegate.encode(text, true, false).getIds()).mapToInt(Math::toIntExact).toArray();
        } catch (RuntimeException e) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": a prompt of " + text.length() + " characters cannot be"
                    + " tokenized (" + rootCause(e) + "); check that the tokenizer is complete", e);
        }
    }

    @Override
    public String decodeText(int[] ids) {
        return delegate.decode(Arrays.stream(ids).asLongStream().toArray(), true);
    }

    @Override
    public void close() {
        delegate.close();
    }

    @Override
    public String toString() {
        return file.toString();
    }

    private static ObjectNode read(Path modelDirectory, Path file) {
        ObjectNode json = TokenizerFile.read(modelDirectory);
        if (!json.path("model").isObject()) {
            throw new UserError(Code.BAD_TOKENIZER,
                    file + ": expected an object at 'model', found none; the file is not"
                            + " a tokenizer of the Hugging Face tokenizers library, fetch it again");
        }
        requireNoDropout(json.path("model").path("dropout"), file);
        return json;
    }

    /** For training: it skips merges at random, so that a text has different tokens each time. */
    private static void requireNoDropout(JsonNode dropout, Path file) {
        if (dropout.isNumber() && dropout.doubleValue() != 0) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": expected no dropout at 'model.dropout', found "
                    + Json.kind(dropout) + ", which gives a text different tokens each time; set it to null");
        }
    }

    /**
     * By default DJL reports its use to a server, and on a CUDA machine downloads another native library. These switches
     * are read when its classes are first used.
     */
    private static void stayOffline() {
        System.setProperty("ai.djl.offline", "true");
        System.setProperty("OPT_OUT_TRACKING", "true");
        System.setProperty("RUST_FLAVOR", "cpu");
    }

    /**
     * The library is a file of the distribution, or is unpacked into the cache folder. DJL itself would trust any file
     * of that name in its own cache. A process loads it once, so that once is enough.
     */
    private static synchronized void placeLibrary() {
        if (LIBRARY_IS_PLACED.get()) {
            return;
        }
        String name = System.mapLibraryName("tokenizers");
        Optional<NativeFolder> folder = NativeFolder.ofThisProgram();
        if (folder.isPresent()) {
            placed(folder.get().file(name));
            return;
        }
        URL library = HuggingFaceTokenizer.class.getResource(RESOURCES + platform() + "/cpu/" + name);
        if (library == null) {
            throw new UserError(Code.BAD_TOKENIZER, "the native tokenizers library is not available for " + platform()
                    + "; use a supported machine, such as Linux on x86-64 or aarch64");
        }
        try {
            PrivateFolder cache = PrivateFolder.at(CacheFolder.of(System::getenv).resolve("tokenizers-" + platform()));
            placed(UnpackedLibrary.of(library, cache, name));
        } catch (IOException e) {
            throw new UserError(Code.BAD_TOKENIZER, "the native tokenizers library cannot be unpacked (" + e
                    + "); set the environment variable " + CacheFolder.VARIABLE + " to a writable directory", e);
        }
    }

    private static void placed(Path library) {
        System.setProperty(LIBRARY, library.toString());
        LIBRARY_IS_PLACED.set(true);
    }

    /** In DJL's spelling. */
    private static String platform() {
        String system = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String os = system.startsWith("mac") ? "osx" : system.startsWith("windows") ? "win" : system;
        return os + "-" + switch (System.getProperty("os.arch")) {
            case "amd64" -> "x86_64";
            default -> System.getProperty("os.arch");
        };
    }

    private static UserError nativeLibrary(Throwable e) {
        return new UserError(Code.BAD_TOKENIZER, System.getProperty(LIBRARY)
                + ": the native tokenizers library cannot be loaded (" + rootCause(e)
                + "); compare what this system has with the needs in the distribution's README", e);
    }

    private static String rootCause(Throwable e) {
        Throwable cause = e;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause.toString();
    }
}
