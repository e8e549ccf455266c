package dev.optgptq.formats.model;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.safetensors.TensorView;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.SequencedMap;

/** Identifies the state of a model's files without reading the weights, which can be hundreds of gigabytes. */
public final class SourceFiles {

    private static final int PAGE = 4096;
    private static final int PAGES = 256;

    private SourceFiles() {}

    /**
     * The state of each file, by name: config.json by its content, weights by size, modification time and header. A
     * replacement with the same values goes unnoticed, as do weights that are not in a file.
     */
    public static SequencedMap<String, String> describe(ModelDirectory model) {
        SequencedMap<String, String> files = new LinkedHashMap<>();
        files.put("config.json", "SHA-256 " + sha256(Json.toCompactBytes(model.config().json())));
        model.tensors().values().stream().map(TensorView::file).distinct()
                .forEach(file -> files.put(name(file), weights(file)));
        return files;
    }

    /**
     * The same without the times, which copies do not share, and with a sample of the weights: models of one shape differ there.
     */
    public static SequencedMap<String, String> sample(ModelDirectory model) {
        SequencedMap<String, String> files = new LinkedHashMap<>();
        files.put("config.json", "SHA-256 " + sha256(Json.toCompactBytes(model.config().json())));
        model.tensors().values().stream().map(TensorView::file).distinct()
                .forEach(file -> files.put(name(file), sampled(file)));
        return files;
    }

    /** Of its size and of pages from its first to its last one. */
    private static String sampled(Path file) {
        if (!Files.exists(file)) {
            return "in no file";
        }
        try (FileChannel channel = FileChannel.open(file)) {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            ByteBuffer page = ByteBuffer.allocate(PAGE);
            for (int i = 0; i < PAGES; i++) {
                channel.read(page.clear(), Math.max(0, channel.size() - PAGE) / (PAGES - 1) * i);
                digest.update(page.flip());
            }
            return channel.size() + " bytes, SHA-256 of a sample " + HexFormat.of().formatHex(digest.digest(), 0, 8);
        } catch (IOException e) {
            throw unreadable(file, e);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    private static String weights(Path file) {
        if (!Files.exists(file)) {
            return "in no file";
        }
        try (InputStream stream = Files.newInputStream(file); DataInputStream data = new DataInputStream(stream)) {
            int length = Math.toIntExact(Long.reverseBytes(data.readLong()));
            return Files.size(file) + " bytes of " + Files.getLastModifiedTime(file) + ", header SHA-256 "
                    + sha256(data.readNBytes(length));
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    private static UserError unreadable(Path file, IOException e) {
        return new UserError(Code.BAD_MODEL, file + ": cannot be read (" + e + "); check that it is a readable file",
                e);
    }

    private static String name(Path file) {
        return String.valueOf(file.getFileName());
    }

    private static String sha256(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }
}
