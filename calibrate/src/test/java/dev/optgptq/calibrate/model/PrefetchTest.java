package dev.optgptq.calibrate.model;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.kernels.testing.EmulatedGpu;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Loading blocks that were prefetched, on the emulator, where a stream that does not wait for another gives wrong bits. */
class PrefetchTest {

    private static final short BFLOAT16_NAN = 0x7FC0;
    private static final String DAMAGED = "model.layers.1.mlp.up_proj.weight";
    private static final int NONE = -1;
    /** Orders of the streams within which a missing wait must show. */
    private static final int ROUNDS = 30;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    private EmulatedGpu gpu;
    private Device device;

    @BeforeEach
    void open() {
        gpu = EmulatedGpu.open();
        device = gpu.device();
    }

    @AfterEach
    void close() {
        gpu.close();
    }

    @ParameterizedTest
    @CsvSource({"llama-mha, F32", "llama-mha, BF16", "llama-mha, F16", "mpt, F32", "llama-gqa-rope-llama3, BF16"})
    void blocks_that_were_uploaded_ahead_have_the_same_bits(String fixture, DType products) {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(fixture))) {
            Transformer model = Transformer.open(directory, device).withProducts(products);
            List<float[]> expected = new ArrayList<>();
            for (int block = 0; block < model.spec().blocks(); block++) {
                expected.addAll(parameters(model, block));
            }
            for (int round = 0; round < ROUNDS; round++) {
                List<float[]> found = new ArrayList<>();
                try (Prefetch prefetch = model.prefetch(model.prefetchBytes())) {
                    for (int block = 0; block < model.spec().blocks(); block++) {
                        prefetch.wants(block);
                        found.addAll(parameters(model, block));
                    }
                }
                assertSame(expected, found, "round " + round);
            }
        }
    }

    private static void assertSame(List<float[]> expected, List<float[]> found, String when) {
        assertEquals(expected.size(), found.size());
        for (int i = 0; i < expected.size(); i++) {
            assertArrayEquals(expected.get(i), found.get(i), when + ", parameter " + i);
        }
    }

    /** Blocks of memory that were given back are handed out again at once, though the device may still use them. */
    @Test
    void memory_that_the_device_still_reads_is_not_uploaded_to() {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA));
                TensorArena arena = device.arena()) {
            Transformer model = Transformer.open(directory, device);
            long bytes = directory.tensor("model.layers.0.mlp.up_proj.weight").data().byteSize();
            Tensor copy = arena.vector(DType.F32, bytes / Float.BYTES);
            for (int round = 1; round <= ROUNDS; round++) {
                try (Prefetch prefetch = model.prefetch(model.prefetchBytes())) {
                    try (TensorArena scratch = device.arena()) {
                        Tensor used = scratch.vector(DType.F32, bytes / Float.BYTES);
                        device.matrix().fill(used, round);
                        device.synchronize();
                        device.neural().convert(used, copy);
                    }
                    prefetch.wants(0, NONE);
                    prefetch.wants(1, NONE); // when this returns, the first has gone where it was to go
                    assertEquals(round, TestDevices.download(device, copy)[0]);
                }
            }
        }
    }

    @Test
    void a_block_that_is_there_is_not_read_again_however_often_it_is_loaded() {
        Path path = Fixture.copy(Fixture.LLAMA, folder.resolve("model"), config -> {});
        try (ModelDirectory directory = ModelDirectory.open(path)) {
            Transformer model = Transformer.open(directory, device);
            try (Prefetch prefetch = model.prefetch(model.prefetchBytes())) {
                prefetch.wants(1);
                List<float[]> first = parameters(model, 1);
                Fixture.damage(path, DAMAGED, 42, BFLOAT16_NAN);
                List<float[]> second = parameters(model, 1);
                assertArrayEquals(first.getLast(), second.getLast());
            }
            assertUserError(Code.NUMERIC, () -> parameters(model, 1), DAMAGED);
        }
    }

    @Test
    void a_NaN_in_a_block_that_was_uploaded_ahead_is_named_when_it_is_loaded() {
        Path path = Fixture.copy(Fixture.LLAMA, folder.resolve("model"), config -> {});
        Fixture.damage(path, DAMAGED, 42, BFLOAT16_NAN);
        try (ModelDirectory directory = ModelDirectory.open(path)) {
            Transformer model = Transformer.open(directory, device);
            try (Prefetch prefetch = model.prefetch(model.prefetchBytes())) {
                prefetch.wants(0);
                assertDoesNotThrow(() -> parameters(model, 0));
                prefetch.wants(1);
                assertUserError(Code.NUMERIC, () -> parameters(model, 1), DAMAGED, "1 of 10240");
            }
        }
        assertEquals(0, device.memoryInUse());
    }

    @Test
    void no_more_than_two_blocks_are_on_the_device_and_none_is_left_behind() {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA))) {
            Transformer model = Transformer.open(directory, device);
            try (Prefetch prefetch = model.prefetch(model.prefetchBytes())) {
                prefetch.wants(0);
                long both = device.memoryInUse();
                assertTrue(both >= model.prefetchBytes() && both < model.prefetchBytes() * 11 / 10 + 8192,
                        () -> both + " bytes of " + model.prefetchBytes());
                prefetch.wants(1, NONE);
                assertTrue(device.memoryInUse() <= both / 2 + 256, () -> device.memoryInUse() + " of " + both);
                prefetch.wants(0, 1); // closed while it is copied
            }
            assertEquals(0, device.memoryInUse());
        }
    }

    @Test
    void memory_to_which_an_upload_was_broken_off_can_be_used_at_once() {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA))) {
            Transformer model = Transformer.open(directory, device);
            List<Long> sizes = directory.tensors().values().stream()
                    .filter(view -> view.name().startsWith("model.layers."))
                    .map(view -> view.data().byteSize() / Float.BYTES).toList();
            for (int round = 1; round <= ROUNDS; round++) {
                try (Prefetch prefetch = model.prefetch(model.prefetchBytes())) {
                    prefetch.wants(0);
                    LockSupport.parkNanos(round * 20_000L); // broken off here and there
                }
                try (TensorArena arena = device.arena()) {
                    List<Tensor> again = new ArrayList<>();
                    for (long values : sizes) {
                        again.add(arena.vector(DType.F32, values));
                        device.matrix().fill(again.getLast(), round);
                    }
                    for (Tensor tensor : again) {
                        assertEquals(round, TestDevices.download(device, tensor)[0]);
                    }
                }
            }
        }
    }

    @Test
    void nothing_is_uploaded_ahead_where_there_is_no_room() {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA))) {
            Transformer model = Transformer.open(directory, device);
            try (Prefetch prefetch = model.prefetch(model.prefetchBytes() - 1)) {
                prefetch.wants(0);
                assertEquals(0, device.memoryInUse());
                assertDoesNotThrow(() -> parameters(model, 0));
            }
        }
    }

    @Test
    void a_device_that_computes_in_the_hosts_memory_has_nothing_to_upload() {
        try (Device cpu = Devices.open("cpu", 1);
                ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA))) {
            Transformer model = Transformer.open(directory, cpu);
            assertEquals(0, model.prefetchBytes());
            try (Prefetch prefetch = model.prefetch(Long.MAX_VALUE)) {
                prefetch.wants(0);
                assertEquals(0, cpu.memoryInUse());
            }
        }
    }

    @Test
    void one_at_a_time() {
        try (ModelDirectory directory = ModelDirectory.open(Fixture.directory(Fixture.LLAMA))) {
            Transformer model = Transformer.open(directory, device);
            try (Prefetch prefetch = model.prefetch(model.prefetchBytes())) {
                prefetch.wants(0);
                assertThrows(IllegalStateException.class,
                        () -> model.withProducts(DType.BF16).prefetch(model.prefetchBytes()));
            }
        }
    }

    private List<float[]> parameters(Transformer model, int block) {
        List<float[]> values = new ArrayList<>();
        try (TensorArena arena = device.arena()) {
            for (Tensor parameter : model.parameters().all(model.loadBlock(block, arena)).values()) {
                Tensor widened = arena.matrix(DType.F32, parameter.rows(), parameter.columns());
                device.neural().convert(parameter, widened);
                values.add(TestDevices.download(device, widened));
            }
        }
        return values;
    }
}
