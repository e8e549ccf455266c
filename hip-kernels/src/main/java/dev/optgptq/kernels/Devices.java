package dev.optgptq.kernels;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.cpu.CpuDevice;
import dev.optgptq.kernels.reference.ReferenceDevice;
import java.util.List;

/** Finds and opens devices by the name the command line takes. */
public final class Devices {

    private static final String NO_ACCELERATORS = "not built yet: this version computes on the processor only, use --device cpu";

    private Devices() {}

    /**
     * Opens a device: "auto" (the best that works; today that is the cpu), "cpu" or "reference". UserError BAD_SETTING for
     * any other name and for fewer than one thread; UserError DEVICE when the device cannot be used. "auto" never falls
     * back to reference, which is a thousand times slower: it fails as "cpu" does.
     *
     * @param threads worker threads of a CPU device; results do not depend on it
     */
    public static Device open(String name, int threads) {
        if (threads < 1) {
            throw new UserError(UserError.Code.BAD_SETTING, "threads: expected at least 1, found " + threads);
        }
        return switch (name) {
            case "auto", "cpu" -> CpuDevice.open(threads);
            case "reference" -> ReferenceDevice.open();
            case "hip", "cuda" -> throw new UserError(UserError.Code.DEVICE, "device " + name + ": " + NO_ACCELERATORS);
            default -> throw new UserError(UserError.Code.BAD_SETTING,
                    "device: expected auto, cpu or reference, found " + name);
        };
    }

    /** Every device that is known, with what it is or why it cannot be used; "auto" takes the first usable one. */
    public static List<Candidate> list() {
        return List.of(new Candidate("hip", false, NO_ACCELERATORS), new Candidate("cuda", false, NO_ACCELERATORS),
                cpu(),
                new Candidate("reference", true, ReferenceDevice.description()));
    }

    private static Candidate cpu() {
        try {
            return new Candidate("cpu", true, CpuDevice.description(Runtime.getRuntime().availableProcessors()));
        } catch (UserError e) {
            return new Candidate("cpu", false, String.valueOf(e.getMessage()));
        }
    }

    /**
     * A device that was looked for.
     *
     * @param detail what it is, or why it is not usable and what to do
     */
    public record Candidate(String name, boolean usable, String detail) {}
}
