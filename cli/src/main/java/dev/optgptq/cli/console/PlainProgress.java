package dev.optgptq.cli.console;

import dev.optgptq.gptq.run.memory.ProcessMemory;
import java.io.PrintWriter;
import java.util.Locale;
import java.util.function.LongSupplier;

/**
 * Lines for files and CI logs: one at the start, then one per phase and per 5 %, at most one a second and at least one
 * every 10 seconds.
 */
final class PlainProgress implements JobProgress {

    private static final double STEP = 0.05;
    private static final long SOONEST_NANOS = 1_000_000_000L;
    private static final long LATEST_NANOS = 10_000_000_000L;

    private final PrintWriter err;
    private final LongSupplier clock;
    private final Pace pace = new Pace();
    private String printedPhase = "";
    private double printedShare;
    private long printedAt;
    private boolean started;
    private boolean closed;

    /** @param clock monotonic nanoseconds */
    PlainProgress(PrintWriter err, LongSupplier clock) {
        this.err = err;
        this.clock = clock;
    }

    @Override
    public synchronized void at(String phase, long done, long total) {
        if (closed) {
            return;
        }
        long now = clock.getAsLong();
        pace.at(now, done, total);
        if (!started || isDue(phase, now - printedAt)) {
            started = true;
            printedPhase = phase;
            printedShare = pace.share();
            printedAt = now;
            print(phase);
        }
    }

    private boolean isDue(String phase, long sincePrinted) {
        boolean news = !phase.equals(printedPhase) || Math.abs(pace.share() - printedShare) >= STEP;
        return sincePrinted >= LATEST_NANOS || (news && sincePrinted >= SOONEST_NANOS);
    }

    private void print(String phase) {
        StringBuilder line = new StringBuilder(
                String.format(Locale.ROOT, "[%3d %%] %s", (int) (100 * pace.share()), phase));
        pace.secondsLeft().ifPresent(left -> line.append(", ").append(Units.duration(left)).append(" left"));
        ProcessMemory.anonymous().ifPresent(bytes -> line.append(", ").append(Units.bytes(bytes)).append(" memory"));
        log(line.toString());
    }

    @Override
    public synchronized void log(String line) {
        err.println(line);
        err.flush();
    }

    @Override
    public synchronized void close() {
        closed = true;
    }
}
