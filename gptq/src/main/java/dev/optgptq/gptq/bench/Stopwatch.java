package dev.optgptq.gptq.bench;

import dev.optgptq.kernels.Device;
import java.util.Arrays;

/** Times work on a device: the median of a few rounds after a warm-up. */
record Stopwatch(Device device) {

    private static final int ROUNDS = 3;
    /** Shorter work is repeated within a round, so that launch and synchronization do not count. */
    private static final double ROUND_SECONDS = 0.02;
    private static final int MOST_REPEATS = 100;

    /** Seconds of one call. */
    double seconds(Runnable work) {
        double first = round(work, 1); // compiles kernels and allocates memory
        first = Math.min(first, round(work, 1));
        int repeats = (int) Math.clamp(ROUND_SECONDS / first, 1, MOST_REPEATS);
        double[] times = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            times[i] = round(work, repeats);
        }
        Arrays.sort(times);
        return times[ROUNDS / 2];
    }

    private double round(Runnable work, int repeats) {
        device.synchronize();
        long start = System.nanoTime();
        for (int i = 0; i < repeats; i++) {
            work.run();
        }
        device.synchronize();
        return Math.max(1, System.nanoTime() - start) / 1e9 / repeats;
    }
}
