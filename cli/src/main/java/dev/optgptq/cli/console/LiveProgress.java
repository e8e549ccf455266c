package dev.optgptq.cli.console;

import dev.optgptq.gptq.run.memory.ProcessMemory;
import java.io.PrintWriter;
import java.util.Locale;
import java.util.function.LongSupplier;

/** One line, redrawn in place at most ten times a second: phase, bar, percent, time left, memory. */
final class LiveProgress implements JobProgress {

    private static final long REDRAW_NANOS = 100_000_000;
    private static final int BAR = 24;
    private static final String CLEAR = "\r\u001B[2K";
    private static final String CYAN = "\u001B[36m";
    private static final String PLAIN = "\u001B[0m";

    private final PrintWriter err;
    private final Terminal terminal;
    private final LongSupplier clock;
    private final Pace pace = new Pace();
    private String phase = "";
    private long drawn;
    private boolean shown;
    private boolean closed;

    /** @param clock monotonic nanoseconds */
    LiveProgress(PrintWriter err, Terminal terminal, LongSupplier clock) {
        this.err = err;
        this.terminal = terminal;
        this.clock = clock;
    }

    @Override
    public synchronized void at(String newPhase, long done, long total) {
        if (closed) {
            return;
        }
        long now = clock.getAsLong();
        pace.at(now, done, total);
        phase = newPhase;
        if (!shown || now - drawn >= REDRAW_NANOS) {
            drawn = now;
            draw();
        }
    }

    @Override
    public synchronized void log(String line) {
        err.print((shown ? CLEAR : "") + line + System.lineSeparator());
        if (shown) {
            draw();
        }
        err.flush();
    }

    @Override
    public synchronized void close() {
        closed = true;
        if (shown) {
            err.print(CLEAR);
            err.flush();
            shown = false;
        }
    }

    private void draw() {
        shown = true;
        String tail = String.format(Locale.ROOT, " %3d %%%s", (int) (100 * pace.share()), timeAndMemory());
        int room = terminal.columns() - 1 - tail.length();
        int bar = Math.clamp(room - phase.length() - 1, 0, BAR);
        int text = Math.max(0, room - (bar == 0 ? 0 : bar + 1));
        String shownPhase = phase.length() <= text ? phase : phase.substring(0, text);
        String padding = " ".repeat(Math.max(0, Math.min(text, 40) - shownPhase.length()));
        String line = shownPhase + padding + (bar == 0 ? "" : " ") + bar(bar) + tail;
        err.print(CLEAR + line);
        err.flush();
    }

    private String timeAndMemory() {
        StringBuilder text = new StringBuilder();
        pace.secondsLeft().ifPresent(left -> text.append("  ").append(Units.duration(left)).append(" left"));
        ProcessMemory.anonymous().ifPresent(bytes -> text.append("  ").append(Units.bytes(bytes)));
        return text.toString();
    }

    private String bar(int width) {
        int full = (int) Math.round(width * pace.share());
        String done = (terminal.unicode() ? "\u2501" : "#").repeat(full);
        String left = (terminal.unicode() ? "\u2500" : "-").repeat(width - full);
        return terminal.colorErr() ? CYAN + done + PLAIN + left : done + left;
    }
}
