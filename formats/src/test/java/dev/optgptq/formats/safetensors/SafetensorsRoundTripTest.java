package dev.optgptq.formats.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What is written is what is read, whatever the shapes, dtypes, names and order of writing. */
class SafetensorsRoundTripTest {

    @TempDir
    Path directory;

    static IntStream seeds() {
        return IntStream.range(0, 50);
    }

    @ParameterizedTest
    @MethodSource("seeds")
    void random_tensors_come_back_bit_for_bit_and_aligned(int seed) throws IOException {
        Random random = new Random(seed);
        List<TensorSpec> specs = randomSpecs(random);
        Map<String, byte[]> contents = new HashMap<>();
        Path file = directory.resolve("model.safetensors");
        Map<String, String> metadata = random.nextBoolean() ? Map.of("format", "pt", "ключ", "\"\\\n") : Map.of();
        List<TensorSpec> order = new ArrayList<>(specs);
        Collections.shuffle(order, random);
        try (SafetensorsWriter writer = new SafetensorsWriter(file, specs, metadata);
                Arena arena = Arena.ofConfined()) {
            for (TensorSpec spec : order) {
                byte[] bytes = new byte[Math.toIntExact(spec.bytes())];
                random.nextBytes(bytes);
                contents.put(spec.name(), bytes);
                MemorySegment heap = MemorySegment.ofArray(bytes);
                writer.write(spec.name(), random.nextBoolean() ? heap : arena.allocate(bytes.length).copyFrom(heap));
            }
            writer.finish();
        }
        long dataStart = dataStart(file);
        assertEquals(0, dataStart % 64, "seed " + seed);
        try (SafetensorsFile read = SafetensorsFile.open(file)) {
            assertEquals(metadata, read.metadata(), "seed " + seed);
            assertEquals(contents.keySet(), read.tensors().keySet(), "seed " + seed);
            long offset = dataStart;
            for (TensorView view : read.tensors().values()) {
                assertEquals(0, offset % view.dtype().bytes(), () -> "seed " + seed + ", " + view.name());
                assertArrayEquals(contents.get(view.name()), view.data().toArray(ValueLayout.JAVA_BYTE),
                        () -> "seed " + seed + ", " + view.name());
                offset += view.data().byteSize();
            }
            assertEquals(Set.copyOf(specs), read.tensors().values().stream()
                    .map(view -> new TensorSpec(view.name(), view.dtype(), view.shape())).collect(Collectors.toSet()),
                    "seed " + seed);
        }
    }

    @Test
    void tensors_larger_than_a_buffer_are_written_whole_from_native_and_heap_memory() {
        long elements = 5_000_001;
        Path file = directory.resolve("large.safetensors");
        float[] heap = new float[(int) elements];
        for (int i = 0; i < elements; i++) {
            heap[i] = i;
        }
        try (Arena arena = Arena.ofConfined();
                SafetensorsWriter writer = new SafetensorsWriter(file,
                        List.of(new TensorSpec("heap", DType.F32, Shape.of(elements)),
                                new TensorSpec("native", DType.F32, Shape.of(elements))),
                        Map.of())) {
            writer.write("native", arena.allocateFrom(ValueLayout.JAVA_FLOAT, heap));
            writer.write("heap", MemorySegment.ofArray(heap));
            writer.finish();
        }
        try (SafetensorsFile read = SafetensorsFile.open(file)) {
            for (TensorView view : read.tensors().values()) {
                assertEquals(-1, MemorySegment.ofArray(heap).mismatch(view.data()), view.name());
            }
        }
    }

    @Test
    void views_are_read_only_and_die_with_the_file() {
        Path file = directory.resolve("one.safetensors");
        try (SafetensorsWriter writer = new SafetensorsWriter(file,
                List.of(new TensorSpec("w", DType.U8, Shape.of(1))), Map.of())) {
            writer.write("w", MemorySegment.ofArray(new byte[] {42}));
            writer.finish();
        }
        SafetensorsFile read = SafetensorsFile.open(file);
        MemorySegment data = read.tensors().sequencedValues().getFirst().data();
        assertTrue(data.isReadOnly() && data.scope().isAlive());
        read.close();
        read.close();
        assertTrue(!data.scope().isAlive());
    }

    private static List<TensorSpec> randomSpecs(Random random) {
        List<TensorSpec> specs = new ArrayList<>();
        List<DType> dtypes = List.of(DType.values());
        int count = random.nextInt(12);
        for (int i = 0; i < count; i++) {
            long[] dimensions = random.longs(random.nextInt(5), 0, 9).toArray();
            DType dtype = dtypes.get(random.nextInt(dtypes.size()));
            String name = List.of("w", "модель.", "quoted \" \\ ", "emoji \uD83D\uDE00", "tab\t").get(random.nextInt(5))
                    + i;
            specs.add(new TensorSpec(name, dtype, Shape.of(dimensions)));
        }
        return specs;
    }

    private static long dataStart(Path file) throws IOException {
        return Long.BYTES + ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN).getLong();
    }
}
