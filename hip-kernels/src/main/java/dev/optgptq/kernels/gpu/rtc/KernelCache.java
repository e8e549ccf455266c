package dev.optgptq.kernels.gpu.rtc;

import java.io.IOException;
import dev.optgptq.formats.natives.PrivateFolder;
import java.lang.System.Logger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Supplier;

/**
 * Compiled kernels on disk, one file each: a SHA-256 of the code, then the code. A file is complete or absent, and one
 * that is damaged, or writable by others, is recompiled. An unusable folder only costs the time to compile.
 */
record KernelCache(Path folder) {

    private static final Logger LOG = System.getLogger(KernelCache.class.getName());
    private static final int DIGEST_BYTES = 32;

    /** A file's name: a label for people, and a hash of everything that the code depends on. */
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
        PrivateFolder cache;
        try {
            cache = PrivateFolder.at(folder);
        } catch (IOException e) {
            LOG.log(Logger.Level.WARNING, "compiled kernels cannot be cached, so each start compiles them again: " + e);
            return compile.get();
        }
        byte[] stored = read(cache, key);
        byte[] code = Arrays.copyOfRange(stored, Math.min(DIGEST_BYTES, stored.length), stored.length);
        if (stored.length > 0 && Arrays.equals(sha256().digest(code), Arrays.copyOf(stored, DIGEST_BYTES))) {
            return code;
        }
        LOG.log(Logger.Level.DEBUG, "compiling " + key.file);
        byte[] compiled = compile.get();
        store(cache, key, compiled);
        return compiled;
    }

    /** Empty if there is no such file, or if others could have written it. */
    private static byte[] read(PrivateFolder cache, Key key) {
        try {
            return cache.holds(key.file) ? Files.readAllBytes(cache.path().resolve(key.file)) : new byte[0];
        } catch (IOException e) {
            LOG.log(Logger.Level.WARNING, "compiled kernels cannot be read: " + e);
            return new byte[0];
        }
    }

    private static void store(PrivateFolder cache, Key key, byte[] code) {
        ByteBuffer stored = ByteBuffer.allocate(DIGEST_BYTES + code.length).put(sha256().digest(code)).put(code).flip();
        try {
            cache.put(key.file, channel -> {
                while (stored.hasRemaining()) {
                    channel.write(stored);
                }
            });
        } catch (IOException e) {
            LOG.log(Logger.Level.WARNING, "compiled kernels cannot be cached, so each start compiles them again: " + e);
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
