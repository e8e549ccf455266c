package dev.optgptq.formats.tokenizer;

import dev.optgptq.formats.tokenizer.TokenizerProcess.Limits;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Kills a process that exceeds a request's limits of CPU time or memory. Where the memory of a process is unknown (no
 * /proc), only the time counts.
 */
final class Watchdog implements AutoCloseable {

    private static final Duration INTERVAL = Duration.ofMillis(20);

    private final Process process;
    private final Path status;
    private final Thread thread;
    private volatile @Nullable Watch current;
    private volatile @Nullable String exceeded;
    private volatile boolean closed;

    Watchdog(Process process) {
        this.process = process;
        this.status = Path.of("/proc", String.valueOf(process.pid()), "status");
        this.thread = Thread.ofPlatform().daemon().name("watches the tokenizer").start(this::run);
    }

    /** Watches a request until rest(). */
    void watch(Limits limits) {
        current = new Watch(limits, cpuSeconds() + limits.cpuSeconds());
        LockSupport.unpark(thread);
    }

    void rest() {
        current = null;
    }

    /** The exceeded limit, if the process was killed for it. */
    @Nullable
    String exceeded() {
        return exceeded;
    }

    @Override
    public void close() {
        closed = true;
        LockSupport.unpark(thread);
    }

    private void run() {
        while (!closed && process.isAlive()) {
            Watch watch = current;
            if (watch == null) {
                LockSupport.park(this);
                continue;
            }
            String problem = problem(watch);
            if (problem != null && watch.equals(current)) {
                exceeded = problem;
                process.destroyForcibly();
                return;
            }
            LockSupport.parkNanos(this, INTERVAL.toNanos());
        }
    }

    private @Nullable String problem(Watch watch) {
        if (cpuSeconds() > watch.cpuEnd) {
            return String.format(Locale.ROOT, "it took more than %.0f s of CPU time", watch.limits.cpuSeconds());
        }
        if (memoryBytes() > watch.limits.memoryBytes()) {
            return "it took more than " + (watch.limits.memoryBytes() >> 20) + " MiB of memory";
        }
        return null;
    }

    private double cpuSeconds() {
        return process.info().totalCpuDuration().orElse(Duration.ZERO).toMillis() / 1e3;
    }

    private long memoryBytes() {
        try {
            return Files.readAllLines(status).stream().filter(line -> line.startsWith("VmRSS:"))
                    .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10).findFirst().orElse(0);
        } catch (IOException | UncheckedIOException gone) {
            return 0;
        }
    }

    /**
     * A request under way.
     *
     * @param cpuEnd the CPU time of the process at which the limit is reached
     */
    private record Watch(Limits limits, double cpuEnd) {}
}
