package dev.optgptq.formats.tokenizer;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.util.Utils;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.natives.CacheFolder;
import dev.optgptq.formats.natives.NativeFolder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.logging.Level;
import java.util.logging.Logger;
import tools.jackson.databind.node.ObjectNode;

/** The Hugging Face tokenizers library through DJL. The only class that knows of ai.djl. */
final class DjlTokenizer implements Tokenizer {

    private static final String FILE_NAME = "tokenizer.json";

    /** What DJL reads, as environment variables or system properties: its library, or else where to unpack that. */
    private static final String LIBRARY = "RUST_LIBRARY_PATH";
    private static final String CACHE = "DJL_CACHE_DIR";

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
    private final TextPieces pieces;

    private DjlTokenizer(HuggingFaceTokenizer delegate, Path file, TextPieces pieces) {
        this.delegate = delegate;
        this.file = file;
        this.pieces = pieces;
    }

    static DjlTokenizer open(Path modelDirectory) {
        Path file = modelDirectory.resolve(FILE_NAME);
        TextPieces pieces = TextPieces.of(readTokenizerFile(file), TextPieces.PIECE_CHARS);
        stayOffline();
        placeLibrary();
        NATIVE_LOG.setLevel(Level.OFF);
        try {
            return new DjlTokenizer(HuggingFaceTokenizer.newInstance(file, OPTIONS), file, pieces);
        } catch (EngineException | LinkageError e) {
            throw nativeLibrary(e);
        } catch (IOException | RuntimeException e) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": the tokenizer cannot be used (" + rootCause(e)
                    + "); fetch it again, or see whether the model needs a newer tokenizers version", e);
        }
    }

    @Override
    public int[] encode(String text) {
        return pieces.of(text).stream().flatMapToInt(piece -> Arrays.stream(encodeWhole(piece))).toArray();
    }

    /** One call of the library. */
    int[] encodeWhole(String text) {
        requireHeap(text);
        try {
            long[] ids = delegate.encode(text, false, false).getIds();
            return Arrays.stream(ids).mapToInt(Math::toIntExact).toArray();
        } catch (RuntimeException e) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": a text of " + text.length() + " characters cannot be"
                    + " tokenized (" + rootCause(e) + "); check that the tokenizer is complete", e);
        }
    }

    /** The library ends the process when the heap cannot take its result; half of the heap is left to everything else. */
    private void requireHeap(String text) {
        long available = Runtime.getRuntime().maxMemory() / 2;
        long needed = text.length() * HEAP_BYTES_PER_CHAR;
        if (needed > available) {
            throw new UserError(Code.MEMORY, file + ": this tokenizer needs a text in one piece, and for "
                    + text.length() + " characters expected " + needed / 1_000_000 + " MB of heap, found "
                    + available / 1_000_000
                    + " MB; use a shorter text, a .jsonl of documents, or a larger heap (-Xmx)");
        }
    }

    @Override
    public String decode(int[] ids) {
        return delegate.decode(Arrays.stream(ids).asLongStream().toArray(), false);
    }

    @Override
    public void close() {
        delegate.close();
    }

    @Override
    public String toString() {
        return file.toString();
    }

    private static ObjectNode readTokenizerFile(Path file) {
        if (!Files.exists(file)) {
            throw new UserError(Code.BAD_TOKENIZER, file + ": the tokenizer is missing; fetch " + FILE_NAME
                    + " with the model (other forms, such as tokenizer.model, are not read)");
        }
        ObjectNode json = Json.readObject(file, Code.BAD_TOKENIZER);
        if (!json.path("model").isObject()) {
            throw new UserError(Code.BAD_TOKENIZER,
                    file + ": expected an object at 'model', found none; the file is not"
                            + " a tokenizer of the Hugging Face tokenizers library, fetch it again");
        }
        return json;
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
     * The library is a file of the distribution, or is unpacked into the folder of all that can be made again. Left to
     * itself DJL would take a folder in /tmp where the home directory cannot be written: a name that anybody can guess,
     * and fill with a library of theirs.
     */
    private static void placeLibrary() {
        Optional<NativeFolder> folder = NativeFolder.ofThisProgram();
        if (folder.isPresent()) {
            System.setProperty(LIBRARY, folder.get().file(System.mapLibraryName("tokenizers")).toString());
            return;
        }
        if (System.getenv(CACHE) == null) {
            try {
                System.setProperty(CACHE, CacheFolder.of(System::getenv).toString());
            } catch (IOException e) {
                throw new UserError(Code.BAD_TOKENIZER,
                        "the native tokenizers library cannot be unpacked: " + e.getMessage(), e);
            }
        }
    }

    private static UserError nativeLibrary(Throwable e) {
        String library = System.getProperty(LIBRARY);
        if (library != null) {
            return new UserError(Code.BAD_TOKENIZER, library + ": the native tokenizers library cannot be loaded ("
                    + rootCause(e) + "); compare what this system has with the needs in the distribution's README", e);
        }
        String variable = System.getenv(CACHE) == null ? CacheFolder.VARIABLE : CACHE;
        return new UserError(Code.BAD_TOKENIZER, Utils.getEngineCacheDir("tokenizers")
                + ": the native tokenizers library cannot be unpacked there or loaded (" + rootCause(e)
                + "); set the environment variable " + variable + " to a writable directory", e);
    }

    private static String rootCause(Throwable e) {
        Throwable cause = e;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause.toString();
    }
}
