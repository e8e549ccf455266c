package dev.optgptq.calibrate.weights;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel.MapMode;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class DiskPrefetchTest {

    /** More than is read at a time. */
    private static final int BLOCK_BYTES = (16 << 20) + 1000;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;
    @SuppressWarnings("NullAway.Init") // set before each test
    private Arena arena;
    private final List<Integer> asked = Collections.synchronizedList(new ArrayList<>());

    @BeforeEach
    @SuppressWarnings("MustBeClosedChecker") // closed after each test
    void anArena() {
        arena = Arena.ofShared();
    }

    @AfterEach
    void closeIt() {
        arena.close();
    }

    @Test
    void the_block_that_is_needed_is_read_and_then_the_next() throws IOException, InterruptedException {
        List<MemorySegment> blocks = List.of(mapped("0"), mapped("1"), mapped("2"));
        CountDownLatch read = new CountDownLatch(3);
        try (DiskPrefetch prefetch = new DiskPrefetch(block -> {
            asked.add(block);
            read.countDown();
            return List.of(blocks.get(Math.min(block, 2)));
        })) {
            prefetch.wants(1);
            while (asked.size() < 2) {
                Thread.onSpinWait();
            }
            assertEquals(List.of(1, 2), asked);

            prefetch.wants(0);
            read.await();
        }
        assertEquals(0, asked.get(2));
    }

    @Test
    void a_file_that_was_cut_off_is_for_whoever_loads_it_to_find() throws IOException, InterruptedException {
        MemorySegment cut = mapped("cut");
        try (FileChannel channel = FileChannel.open(folder.resolve("cut"), StandardOpenOption.WRITE)) {
            channel.truncate(4096);
        }
        CountDownLatch both = new CountDownLatch(2);
        try (DiskPrefetch prefetch = new DiskPrefetch(block -> {
            both.countDown();
            return List.of(cut);
        })) {
            prefetch.wants(0);
            both.await();
        }
    }

    /** Its owner unmaps the files next. */
    @Test
    void nothing_is_read_any_more_once_it_is_closed() throws IOException {
        MemorySegment block = mapped("0");
        List<Thread> threads = Collections.synchronizedList(new ArrayList<>());
        try (DiskPrefetch prefetch = new DiskPrefetch(index -> {
            threads.add(Thread.currentThread());
            return Collections.nCopies(Integer.MAX_VALUE, block);
        })) {
            prefetch.wants(0);
            while (threads.isEmpty()) {
                Thread.onSpinWait();
            }
        }
        assertTrue(threads.stream().noneMatch(Thread::isAlive), "still reading");
    }

    private MemorySegment mapped(String name) throws IOException {
        Path file = Files.write(folder.resolve(name), new byte[BLOCK_BYTES]);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return channel.map(MapMode.READ_ONLY, 0, channel.size(), arena);
        }
    }
}
