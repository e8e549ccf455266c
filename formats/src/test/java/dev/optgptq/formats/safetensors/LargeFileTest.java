package dev.optgptq.formats.safetensors;

import static java.nio.file.StandardOpenOption.CREATE_NEW;
import static java.nio.file.StandardOpenOption.SPARSE;
import static java.nio.file.StandardOpenOption.WRITE;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.testing.RawSafetensors;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LargeFileTest {

    /** Sparse: five gigabytes of holes take no room on the disk. */
    @Test
    void tensors_beyond_4_gib_are_read_at_their_place(@TempDir Path directory) throws IOException {
        long large = 5L << 30;
        byte[] head = RawSafetensors.file("""
                {"large":{"dtype":"U8","shape":[5,1073741824],"data_offsets":[0,%d]},
                 "tail":{"dtype":"I32","shape":[2],"data_offsets":[%d,%d]}}""".formatted(large, large, large + 8), 0);
        Path file = directory.resolve("sparse.safetensors");
        try (FileChannel channel = FileChannel.open(file, CREATE_NEW, WRITE, SPARSE)) {
            channel.write(ByteBuffer.wrap(head), 0);
            channel.write(ByteBuffer.wrap(new byte[] {7}), head.length + (3L << 30));
            channel.write(ByteBuffer.wrap(new byte[] {1, 0, 0, 0, 2, 0, 0, 0}), head.length + large);
        }
        try (SafetensorsFile opened = SafetensorsFile.open(file)) {
            MemorySegment data = opened.tensors().sequencedValues().getFirst().data();
            assertEquals(large, data.byteSize());
            assertEquals(7, data.get(ValueLayout.JAVA_BYTE, 3L << 30));
            assertEquals(0, data.get(ValueLayout.JAVA_BYTE, large - 1));
            MemorySegment tail = opened.tensors().sequencedValues().getLast().data();
            assertEquals(2, tail.get(ValueLayout.JAVA_INT_UNALIGNED, 4));
        }
    }
}
