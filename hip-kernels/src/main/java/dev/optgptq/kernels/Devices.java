package dev.optgptq.kernels;

import java.util.List;

/** Finds and opens devices by the name the command line takes. */
public final class Devices {

    private Devices() {}

    /**
     * Opens a device: "auto" (the best that works), "cpu" or "reference".
     *
     * @param threads worker threads of a CPU device; results do not depend on it
     */
    public static Device open(String name, int threads) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Every device that is known, with what it is or why it cannot be used. */
    public static List<Candidate> list() {
        throw new UnsupportedOperationException("not written yet");
    }

    /**
     * A device that was looked for.
     *
     * @param detail what it is, or why it is not usable and what to do
     */
    public record Candidate(String name, boolean usable, String detail) {}
}
