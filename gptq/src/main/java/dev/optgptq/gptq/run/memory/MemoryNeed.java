package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.ranks.Ranks;
import java.util.List;
import java.util.OptionalLong;

/**
 * Peak memory of a job, in bytes, to be compared with free memory before it starts.
 *
 * @param job the job's name in messages: "this run"
 * @param host of the machine's memory, the process included
 * @param device of the device's memory, where it has its own, the libraries included
 * @param parts the items, for people
 */
public record MemoryNeed(String job, long host, long device, String parts) {

    /** The JVM, its heap and the libraries: measured, not computed. */
    static final long PROCESS = 250L << 20;
    /** On a device of its own memory. */
    static final long LIBRARIES = ModelMemory.LIBRARIES;

    /**
     * Free memory.
     *
     * @param host bytes that the machine can still give
     * @param device bytes that the device can still give, where it has memory of its own; of several the least
     */
    public record Free(long host, OptionalLong device) {

        public static Free of(List<Device> devices) {
            return new Free(ProcessMemory.available(),
                    devices.stream().map(Device::freeMemory).flatMapToLong(OptionalLong::stream).min());
        }

        /**
         * The least that any rank has: what is planned decides batches, which must be the same everywhere. Those of one host share its
         * memory.
         */
        public Free leastOf(Ranks ranks) {
            if (!ranks.areSeveral()) {
                return this;
            }
            List<long[]> all = ranks.exchange(host / ranks.onThisHost(), device.orElse(Long.MAX_VALUE));
            long least = all.stream().mapToLong(each -> each[1]).min().orElseThrow();
            return new Free(all.stream().mapToLong(each -> each[0]).min().orElseThrow(),
                    least == Long.MAX_VALUE ? OptionalLong.empty() : OptionalLong.of(least));
        }
    }

    /** Advice for this job if memory is short, beside the general advice; may be empty. */
    record Remedies(String host, String device) {}

    /**
     * Throws UserError MEMORY if there is too little to evaluate models.
     *
     * @param devices that share it
     * @param bytes that it allocates on each device, which may be the host
     * @param models how many are evaluated together
     */
    public static void requireToEvaluate(List<Device> devices, long bytes, int models) {
        Free free = Free.of(devices);
        evaluating(bytes, models, free).require(free, toEvaluate(models));
    }

    static MemoryNeed evaluating(long bytes, int models, Free free) {
        boolean own = free.device().isPresent();
        return new MemoryNeed("evaluating", own ? PROCESS : PROCESS + bytes, own ? bytes + LIBRARIES : 0,
                (models == 1 ? "one model" : models + " models") + ", each with its head and one block at a time, "
                        + mebibytes(bytes) + "; process " + mebibytes(PROCESS));
    }

    static Remedies toEvaluate(int models) {
        String one = models == 1 ? "" : ", and without --baseline one model is evaluated alone";
        return new Remedies("; a smaller --window lowers the batch buffers only" + one, one);
    }

    /** Throws UserError MEMORY with what is needed, what is free, and what to do. */
    void require(Free free, Remedies remedies) {
        if (host > free.host()) {
            throw new UserError(UserError.Code.MEMORY, job + " needs about " + mebibytes(host) + " of memory (" + parts
                    + "), and " + mebibytes(free.host())
                    + " are free. Close other programs, or use a machine with more memory" + remedies.host());
        }
        if (device > free.device().orElse(Long.MAX_VALUE)) {
            throw new UserError(UserError.Code.MEMORY, job + " needs about " + mebibytes(device)
                    + " of device memory (" + parts + "), and " + mebibytes(free.device().orElse(0))
                    + " are free there. End other programs on the device, use another device, or --device cpu"
                    + remedies.device());
        }
    }

    private static String mebibytes(long bytes) {
        return (bytes >> 20) + " MiB";
    }
}
