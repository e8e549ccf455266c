package dev.optgptq.kernels.gpu.rtc;

import java.io.IOException;
import java.lang.System.Logger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Supplier;

/**
 * Compiled kernels on disk, one file each: a SHA-256 of the code, then the code. A file is there in full or not at all, and
 * one that was damaged is made again. A folder that cannot be used only costs the time to compile.
 */
record KernelCache(Path folder) {

    private static final Logger LOG = System.getLogger(KernelCache.class.getName());
    private static final int DIGEST_BYTES = 32;

    /** A file's name: something for people, and a hash of all that the code depends on. */
    record Key(String file) {

        static Key of(String label, List<String> parts) {
            MessageDigest digest = sha256();
            for (String part : parts) {
                byte[] bytes = part.getBytes(StandardCharsets.UTF_8);
                // The length first, so that moving text from one part to the next gives another key.
                digest.update((bytes.length + ":").getBytes(StandardCharsets.UTF_8));
                digest.update(bytes);
            }
            return new Key(label + "-" + HexFormat.of().formatHex(digest.digest(), 0, 12) + ".bin");
        }
    }

    byte[] get(Key key, Supplier<byte[]> compile) {
        Path file = folder.resolve(key.file);
        try {
            byte[] stored = Files.readAllBytes(file);
            byte[] code = Arrays.copyOfRange(stored, Math.min(DIGEST_BYTES, stored.length), stored.length);
            if (Arrays.equals(sha256().digest(code), Arrays.copyOf(stored, DIGEST_BYTES))) {
                return code;
            }
            LOG.log(Logger.Level.WARNING, file + " is damaged and is compiled again");
        } catch (NoSuchFileException e) {
            LOG.log(Logger.Level.DEBUG, "compiling " + key.file);
        } catch (IOException e) {
            LOG.log(Logger.Level.WARNING, "compiled kernels cannot be read: " + e);
        }
        byte[] code = compile.get();
        store(file, code);
        return code;
    }

    private void store(Path file, byte[] code) {
        try {
            Files.createDirectories(folder);
            Path part = Files.createTempFile(folder, file.getFileName().toString(), ".part");
            try {
                byte[] stored = Arrays.copyOf(sha256().digest(code), DIGEST_BYTES + code.length);
                System.arraycopy(code, 0, stored, DIGEST_BYTES, code.length);
                Files.write(part, stored);
                Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
            } finally {
                Files.deleteIfExists(part);
            }
        } catch (IOException e) {
            LOG.log(Logger.Level.WARNING, "compiled kernels cannot be kept, so each start compiles them again: " + e);
        }
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e); // every JDK has it
        }
    }
}
