package dev.optgptq.gptq.journal;

import dev.optgptq.formats.json.Json;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.zip.CRC32C;
import tools.jackson.databind.node.ObjectNode;

/** Detects parts that changed since they were recorded. */
final class Checksum {

    private static final int BUFFER_BYTES = 1 << 20;

    private Checksum() {}

    /** CRC-32C of the note without white space, followed by the file. */
    static long of(ObjectNode note, Path file) throws IOException {
        CRC32C crc = new CRC32C();
        crc.update(Json.toCompactBytes(note));
        ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            while (channel.read(buffer.clear()) >= 0) {
                crc.update(buffer.flip());
            }
        }
        return crc.getValue();
    }
}
