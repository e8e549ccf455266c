package dev.optgptq.gptq.run.memory;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The process's memory as the operating system sees it (Linux /proc; elsewhere unknown). Anonymous memory cannot be
 * dropped and read again: heap, device buffers, the JVM itself, but not mapped weights.
 */
public final class ProcessMemory implements AutoCloseable {

    private static final Path STATUS = Path.of("/proc/self/status");
    private static final Path SYSTEM = Path.of("/proc/meminfo");
    private static final Path CGROUP_LIMIT = Path.of("/sys/fs/cgroup/memory.max");
    /** Its "anon" line counts against the limit permanently; page cache is freed under pressure. */
    private static final Path CGROUP_STAT = Path.of("/sys/fs/cgroup/memory.stat");
    private static final long SAMPLE_MILLIS = 20;

    private final AtomicLong peak = new AtomicLong(-1);
    private final Thread sampler;

    /** Starts measuring the peak. */
    public ProcessMemory() {
        sampler = Thread.ofPlatform().daemon().name("memory-sampler").start(this::sample);
    }

    private void sample() {
        try {
            while (true) {
                peak.accumulateAndGet(anonymous().orElse(-1), Math::max);
                Thread.sleep(SAMPLE_MILLIS);
            }
        } catch (InterruptedException ignored) {
            Thread.currentThread().interrupt();
        }
    }

    /** The most anonymous memory seen since the start, in bytes; -1 where unknown. */
    public long peakAnonymous() {
        return peak.accumulateAndGet(anonymous().orElse(-1), Math::max);
    }

    /** Anonymous memory now, in bytes; empty where unknown. */
    public static OptionalLong anonymous() {
        long bytes = kilobytes(STATUS, "RssAnon:");
        return bytes < 0 ? OptionalLong.empty() : OptionalLong.of(bytes);
    }

    /** Free memory of the machine or container, in bytes; Long.MAX_VALUE where unknown. */
    static long available() {
        long system = kilobytes(SYSTEM, "MemAvailable:");
        return Math.min(system < 0 ? Long.MAX_VALUE : system, availableInContainer());
    }

    private static long availableInContainer() {
        try {
            String limit = Files.readString(CGROUP_LIMIT).strip();
            long used = number(CGROUP_STAT, "anon ");
            return limit.equals("max") || used < 0 ? Long.MAX_VALUE : Math.max(0, Long.parseLong(limit) - used);
        } catch (IOException | NumberFormatException ignored) {
            return Long.MAX_VALUE; // no cgroup v2 here
        }
    }

    private static long kilobytes(Path file, String key) {
        long number = number(file, key);
        return number < 0 ? number : number * 1024;
    }

    private static long number(Path file, String key) {
        try (var lines = Files.lines(file)) {
            return lines.filter(line -> line.startsWith(key)).findFirst()
                    .map(line -> Long.parseLong(line.replaceAll("\\D", ""))).orElse(-1L);
        } catch (IOException ignored) {
            return -1; // not Linux
        }
    }

    @Override
    public void close() {
        sampler.interrupt();
    }
}
