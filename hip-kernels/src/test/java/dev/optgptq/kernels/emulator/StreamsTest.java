package dev.optgptq.kernels.emulator;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import dev.optgptq.kernels.gpu.driver.GpuDrivers;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What the emulator must find of streams: work that was not told to wait, and memory that is used again too early. */
class StreamsTest {

    /** Seeds within which a missing wait must show: about half of all orders of two streams do. */
    private static final int SEEDS = 40;
    private static final int BYTES = 1000;

    private Emulator emulator;
    private GpuDriver driver;
    private long one;
    private long other;

    @BeforeEach
    void open() {
        emulator = Emulator.open(64);
        driver = GpuDrivers.hip();
        driver.makeCurrent(0);
        one = driver.createStream();
        other = driver.createStream();
    }

    @AfterEach
    void close() {
        emulator.reset();
        driver.makeCurrent(0);
        driver.destroyStream(one);
        driver.destroyStream(other);
        emulator.close();
    }

    /** Something that two streams do. Returns a byte of the result. */
    private interface Program {
        byte run();
    }

    private boolean isAlways(int expected, Program program) {
        boolean right = true;
        for (int seed = 0; seed < SEEDS; seed++) {
            emulator.seed(seed);
            right &= program.run() == expected;
        }
        return right;
    }

    /** One stream writes 7s after zeros, the other copies them. */
    private byte copyOfWhatAnotherStreamWrites(boolean waits) {
        long source = driver.allocate(BYTES);
        long target = driver.allocate(BYTES);
        long written = driver.createEvent(false);
        try {
            driver.fill(source, (byte) 0, BYTES, one);
            driver.fill(source, (byte) 7, BYTES, one);
            driver.record(written, one);
            if (waits) {
                driver.await(other, written);
            }
            driver.copyOnDevice(target, source, BYTES, other);
            return lastByte(target, other);
        } finally {
            driver.destroyEvent(written);
            driver.free(source);
            driver.free(target);
        }
    }

    private byte lastByte(long address, long stream) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment bytes = host.allocate(BYTES);
            driver.copyToHost(bytes, address, stream);
            driver.synchronize(stream);
            return bytes.get(ValueLayout.JAVA_BYTE, BYTES - 1);
        }
    }

    @Test
    void a_stream_that_does_not_wait_for_another_shows_under_some_order() {
        assertFalse(isAlways(7, () -> copyOfWhatAnotherStreamWrites(false)), SEEDS + " orders did not show it");
    }

    @Test
    void a_stream_that_waits_for_another_gets_the_same_under_every_order() {
        assertTrue(isAlways(7, () -> copyOfWhatAnotherStreamWrites(true)));
    }

    private byte uploadOfChangingMemory(MemorySegment host, boolean waits) {
        long target = driver.allocate(BYTES);
        long copied = driver.createEvent(false);
        try {
            host.fill((byte) 7);
            driver.copyToDevice(target, host, one);
            driver.record(copied, one);
            if (waits) {
                driver.synchronizeEvent(copied);
            }
            host.fill((byte) 1);
            return lastByte(target, one);
        } finally {
            driver.destroyEvent(copied);
            driver.free(target);
        }
    }

    @Test
    void a_staging_buffer_that_is_overwritten_too_early_shows_under_some_order() {
        MemorySegment buffer = driver.allocatePinned(BYTES);
        assertFalse(isAlways(7, () -> uploadOfChangingMemory(buffer, false)), SEEDS + " orders did not show it");
        driver.freePinned(buffer);
    }

    @Test
    void a_staging_buffer_may_be_overwritten_once_the_copy_is_done() {
        MemorySegment buffer = driver.allocatePinned(BYTES);
        assertTrue(isAlways(7, () -> uploadOfChangingMemory(buffer, true)));
        driver.freePinned(buffer);
    }

    /** As HIP has it: there is no page-locked memory to copy from later. */
    @Test
    void memory_that_is_not_page_locked_has_been_read_when_the_call_returns() {
        try (Arena host = Arena.ofShared()) {
            MemorySegment pageable = host.allocate(BYTES);
            assertTrue(isAlways(7, () -> uploadOfChangingMemory(pageable, false)));
        }
    }

    /** What a pool of memory does that forgets a stream: the next owner writes while the last one still reads. */
    @Test
    void memory_that_one_stream_uses_again_while_another_still_reads_it_shows_under_some_order() {
        long reused = driver.allocate(BYTES);
        long target = driver.allocate(BYTES);
        boolean right = isAlways(7, () -> {
            driver.fill(reused, (byte) 7, BYTES, one);
            driver.synchronize(one);
            driver.copyOnDevice(target, reused, BYTES, one);
            driver.fill(reused, (byte) 1, BYTES, other);
            driver.synchronize(other);
            return lastByte(target, one);
        });
        driver.free(reused);
        driver.free(target);
        assertFalse(right, SEEDS + " orders did not show it");
    }

    @Test
    void giving_memory_back_to_the_driver_waits_for_every_stream_of_the_device() {
        long target = driver.allocate(BYTES);
        boolean right = isAlways(7, () -> {
            long source = driver.allocate(BYTES);
            driver.fill(source, (byte) 7, BYTES, other);
            driver.synchronize(other);
            driver.copyOnDevice(target, source, BYTES, other);
            driver.free(source);
            return lastByte(target, one);
        });
        driver.free(target);
        assertTrue(right);
    }

    @Test
    void memory_of_another_device_that_is_given_back_before_it_was_copied_loses_the_device_that_copies() {
        UserError lost = assertThrows(UserError.class, () -> {
            for (int seed = 0; seed < SEEDS; seed++) {
                emulator.seed(seed);
                driver.makeCurrent(1);
                long source = driver.allocate(BYTES);
                driver.makeCurrent(0);
                long target = driver.allocate(BYTES);
                driver.copyBetween(new GpuDriver.PeerCopy(target, 0, source, 1, BYTES), one);
                driver.makeCurrent(1);
                driver.free(source);
                driver.makeCurrent(0);
                driver.synchronize(one);
            }
        });
        assertEquals(UserError.Code.DEVICE_LOST, lost.code());
        assertTrue(String.valueOf(lost.getMessage()).contains("a copy between devices uses memory that was given back"),
                lost.getMessage());
        driver.makeCurrent(1);
    }

    @Test
    void page_locked_memory_that_is_given_back_before_it_was_copied_loses_the_device() {
        long target = driver.allocate(BYTES);
        UserError lost = assertThrows(UserError.class, () -> {
            for (int seed = 0; seed < SEEDS; seed++) {
                emulator.seed(seed);
                MemorySegment buffer = driver.allocatePinned(BYTES);
                driver.copyToDevice(target, buffer, one);
                driver.freePinned(buffer);
                driver.synchronize(one);
            }
        });
        assertEquals(UserError.Code.DEVICE_LOST, lost.code());
        emulator.reset();
        driver.free(target);
    }

    @Test
    void an_event_tells_when_it_happened_and_not_when_it_was_asked_for() {
        long from = driver.createEvent(true);
        long to = driver.createEvent(true);
        driver.record(from, one);
        driver.record(to, other);
        driver.synchronizeEvent(from);
        driver.await(other, from);
        driver.record(to, other);
        driver.synchronizeEvent(to);
        assertTrue(driver.elapsedMillis(from, to) > 0);
        driver.destroyEvent(from);
        driver.destroyEvent(to);
    }
}
