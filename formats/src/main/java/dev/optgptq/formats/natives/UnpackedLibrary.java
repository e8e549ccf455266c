package dev.optgptq.formats.natives;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.net.URLConnection;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/**
 * A native library of a jar as a file. It is unpacked once; beside it is NAME.sha256, the hash of the jar's entry, and
 * the file is compared with it on every start, so that a partial or changed one is unpacked again.
 */
public final class UnpackedLibrary {

    private static final int PIECE_BYTES = 1 << 20;

    private UnpackedLibrary() {}

    /**
     * Unpacks a library if that is not done yet, or if the jar holds another by now.
     *
     * @param resource of the library
     * @param folder for it
     * @param name of the file in the folder
     * @return the file
     */
    public static Path of(URL resource, PrivateFolder folder, String name) throws IOException {
        Path file = folder.path().resolve(name);
        String note = name + ".sha256";
        String entry = entry(resource);
        if (folder.holds(name) && folder.holds(note)
                && Files.readString(folder.path().resolve(note)).equals(sha256(file) + " " + entry + "\n")) {
            return file;
        }
        MessageDigest digest = sha256();
        folder.put(name, channel -> copy(resource, channel, digest));
        String line = HexFormat.of().formatHex(digest.digest()) + " " + entry + "\n";
        folder.put(note, channel -> write(line.getBytes(StandardCharsets.UTF_8), channel));
        return file;
    }

    /** Identifies the jar's entry without reading it: its size and CRC-32, from the jar's directory. */
    private static String entry(URL resource) throws IOException {
        URLConnection connection = resource.openConnection();
        return connection instanceof JarURLConnection jar
                ? jar.getJarEntry().getSize() + " " + Long.toHexString(jar.getJarEntry().getCrc())
                : String.valueOf(connection.getContentLengthLong());
    }

    private static void copy(URL resource, FileChannel channel, MessageDigest digest) throws IOException {
        try (InputStream in = resource.openStream()) {
            byte[] piece = new byte[PIECE_BYTES];
            for (int read = in.read(piece); read >= 0; read = in.read(piece)) {
                digest.update(piece, 0, read);
                channel.write(ByteBuffer.wrap(piece, 0, read));
            }
        }
    }

    private static void write(byte[] bytes, FileChannel channel) throws IOException {
        channel.write(ByteBuffer.wrap(bytes));
    }

    private static String sha256(Path file) throws IOException {
        MessageDigest digest = sha256();
        try (FileChannel channel = FileChannel.open(file)) {
            ByteBuffer piece = ByteBuffer.allocateDirect(PIECE_BYTES);
            while (channel.read(piece) >= 0) {
                digest.update(piece.flip());
                piece.clear();
            }
        }
        return HexFormat.of().formatHex(digest.digest());
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e); // every JDK has it
        }
    }
}
