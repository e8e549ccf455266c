package dev.optgptq.gptq.run;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.zip.CRC32C;

/** Tells whether two directories hold the same bytes under the same names. */
public final class Checksums {

    private Checksums() {}

    public static SortedMap<String, Long> of(Path directory) {
        SortedMap<String, Long> checksums = new TreeMap<>();
        try (Stream<Path> files = Files.list(directory)) {
            for (Path file : files.toList()) {
                CRC32C crc = new CRC32C();
                crc.update(Files.readAllBytes(file));
                checksums.put(String.valueOf(file.getFileName()), crc.getValue());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return checksums;
    }
}
