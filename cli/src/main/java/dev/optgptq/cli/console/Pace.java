package dev.optgptq.cli.console;

import java.util.OptionalDouble;

/** Estimates the time left from the share of a job that is done. Starts over when another job begins. */
final class Pace {

    /** Below this share or this time an estimate is meaningless. */
    private static final double MIN_SHARE = 0.02;
    private static final double MIN_SECONDS = 1;

    private long startNanos;
    private double startShare;
    private double share;
    private double seconds;
    private boolean running;

    /** @param nanos a monotonic clock, in nanoseconds */
    void at(long nanos, long done, long total) {
        double now = total <= 0 ? 0 : Math.clamp((double) done / total, 0, 1);
        if (!running || now < share) {
            running = true;
            startNanos = nanos;
            startShare = now;
        }
        share = now;
        seconds = (nanos - startNanos) / 1e9;
    }

    /** Share done, 0 to 1. */
    double share() {
        return share;
    }

    /** Seconds left at the mean pace since the job's start; empty while that would be a guess. */
    OptionalDouble secondsLeft() {
        double covered = share - startShare;
        if (covered < MIN_SHARE || seconds < MIN_SECONDS) {
            return OptionalDouble.empty();
        }
        return OptionalDouble.of(seconds * (1 - share) / covered);
    }
}
