package dev.optgptq.formats.natives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** A folder of code that is run: nobody else may put something there. */
@DisabledOnOs(OS.WINDOWS)
class PrivateFolderTest {

    private static final String LIBRARY = "libx.so";

    @TempDir
    Path temporary;

    @Test
    void it_is_made_for_its_owner_alone_with_the_folders_above_it() throws IOException {
        PrivateFolder folder = PrivateFolder.at(temporary.resolve("a/b"));
        assertEquals("rwx------", permissions(folder.path()));
    }

    @Test
    void one_that_others_could_write_is_closed_to_them_and_what_they_could_have_written_does_not_count()
            throws IOException {
        Path open = Files.createDirectory(temporary.resolve("open"));
        Path file = Files.writeString(open.resolve("x"), "code");
        Files.setPosixFilePermissions(open, PosixFilePermissions.fromString("rwxrwxrwx"));
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-rw-rw-"));

        PrivateFolder folder = PrivateFolder.at(open);

        assertEquals("rwx------", permissions(open));
        assertFalse(folder.holds("x"));
        assertFalse(folder.holds("not there"));
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r--r--"));
        assertTrue(folder.holds("x"));
    }

    @Test
    void one_of_another_user_is_refused() throws IOException {
        Path foreign = Files.createDirectory(temporary.resolve("foreign"));
        assumeTrue("root".equals(System.getProperty("user.name")), "only root can give a folder away");
        Files.setAttribute(foreign, "unix:uid", 12345);
        IOException refused = assertThrows(IOException.class, () -> PrivateFolder.at(foreign));
        assertTrue(String.valueOf(refused.getMessage()).contains("12345"), refused.getMessage());
    }

    @Test
    void a_link_is_not_followed_neither_as_folder_nor_as_file() throws IOException {
        Path elsewhere = Files.createDirectory(temporary.resolve("elsewhere"));
        Path link = Files.createSymbolicLink(temporary.resolve("link"), elsewhere);
        IOException refused = assertThrows(IOException.class, () -> PrivateFolder.at(link));
        assertTrue(String.valueOf(refused.getMessage()).contains("found a link"), refused.getMessage());

        Path victim = Files.writeString(temporary.resolve("victim"), "precious");
        PrivateFolder folder = PrivateFolder.at(temporary.resolve("folder"));
        Files.createSymbolicLink(folder.path().resolve("x"), victim);
        assertFalse(folder.holds("x"));
        folder.put("x", channel -> channel.write(ByteBuffer.wrap(new byte[] {1})));
        assertEquals("precious", Files.readString(victim));
        assertTrue(folder.holds("x"));
    }

    @Test
    void a_library_is_unpacked_once() throws IOException {
        PrivateFolder folder = PrivateFolder.at(temporary.resolve("cache"));
        Path file = UnpackedLibrary.of(resource(), folder, LIBRARY);
        Object key = Files.getAttribute(file, "unix:ino");
        UnpackedLibrary.of(resource(), folder, LIBRARY);
        assertEquals(key, Files.getAttribute(file, "unix:ino"));
        assertEquals(List.of(LIBRARY, LIBRARY + ".sha256"), names(folder.path()));
    }

    /** What a crash, a full disk, or somebody with the same size leaves. */
    @Test
    void a_library_that_is_not_the_jars_is_unpacked_again_whatever_its_size() throws IOException {
        PrivateFolder folder = PrivateFolder.at(temporary.resolve("cache"));
        Path file = UnpackedLibrary.of(resource(), folder, LIBRARY);
        byte[] right = Files.readAllBytes(file);
        byte[] planted = right.clone();
        planted[planted.length / 2] ^= 1;
        for (byte[] wrong : List.of(planted, Arrays.copyOf(right, right.length / 2), new byte[0],
                new byte[right.length])) {
            Files.write(file, wrong);
            assertEquals(-1,
                    Arrays.mismatch(right, Files.readAllBytes(UnpackedLibrary.of(resource(), folder, LIBRARY))));
        }
        Files.writeString(folder.path().resolve(LIBRARY + ".sha256"), "");
        assertEquals(-1, Arrays.mismatch(right, Files.readAllBytes(UnpackedLibrary.of(resource(), folder, LIBRARY))));
    }

    /** Any file of a jar will do. */
    private static URL resource() {
        return Objects.requireNonNull(Test.class.getResource("Test.class"));
    }

    private static String permissions(Path path) throws IOException {
        return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
    }

    private static List<String> names(Path directory) throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.map(entry -> String.valueOf(entry.getFileName())).sorted().toList();
        }
    }
}
