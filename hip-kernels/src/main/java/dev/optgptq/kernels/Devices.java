package dev.optgptq.kernels;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.cpu.CpuDevice;
import dev.optgptq.kernels.gpu.GpuDevices;
import dev.optgptq.kernels.reference.ReferenceDevice;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Finds and opens devices by the name the command line takes. */
public final class Devices {

    private static final Pattern GPU = Pattern.compile("(hip|cuda)(?::(\\d{1,4}))?");
    private static final Pattern SEVERAL = Pattern.compile("(hip|cuda):(all|\\d{1,4}(?:,\\d{1,4})+)");
    private static final List<String> GPU_APIS = List.of("hip", "cuda");

    private Devices() {}

    /**
     * Opens a device: "hip", "hip:N", "cuda", "cuda:N" (0 when there is no N), "cpu", "reference", or "auto", which is
     * chosen by {@link #choose}. UserError BAD_SETTING for any other name and for fewer than one thread; UserError
     * DEVICE when the device cannot be used: there is no fallback.
     *
     * @param threads worker threads of a CPU device; results do not depend on it
     */
    public static Device open(String name, int threads) {
        if (threads < 1) {
            throw new UserError(UserError.Code.BAD_SETTING, "threads: expected at least 1, found " + threads);
        }
        if (name.equals("auto")) {
            return open(choose().name(), threads);
        }
        Matcher gpu = GPU.matcher(name);
        if (gpu.matches()) {
            return GpuDevices.open(gpu.group(1), gpu.group(2) == null ? 0 : Integer.parseInt(gpu.group(2)));
        }
        return switch (name) {
            case "cpu" -> CpuDevice.open(threads);
            case "reference" -> ReferenceDevice.open();
            default -> throw new UserError(UserError.Code.BAD_SETTING,
                    "device: expected auto, hip, hip:N, cuda, cuda:N, cpu or reference, found " + name
                            + "; several GPUs as hip:0,1 or hip:all, where a command can use several");
        };
    }

    /**
     * Opens the devices of a job: "hip:0,1" or "hip:all" (and cuda) for several, any name that {@link #open} takes for
     * one. UserError as there, BAD_SETTING for a device that is named twice, DEVICE for devices that differ: which of them
     * computed what would then change the result.
     */
    public static DeviceGroup openGroup(String names, int threads) {
        Matcher several = SEVERAL.matcher(names);
        if (!several.matches()) {
            return DeviceGroup.of(open(names, threads));
        }
        String api = several.group(1);
        List<Device> opened = GpuDevices.open(api, ordinals(api, several.group(2)));
        try {
            return new DeviceGroup(opened);
        } catch (RuntimeException e) {
            opened.forEach(Device::close);
            throw e;
        }
    }

    /** None for all. */
    private static List<Integer> ordinals(String api, String list) {
        if (list.equals("all")) {
            return List.of();
        }
        List<Integer> ordinals = Arrays.stream(list.split(",", -1)).map(Integer::valueOf).toList();
        if (Set.copyOf(ordinals).size() < ordinals.size()) {
            throw new UserError(UserError.Code.BAD_SETTING,
                    "device: " + api + ":" + list + " names a device twice; name each once");
        }
        return ordinals;
    }

    /**
     * Compiles GPU kernels for this architecture ("gfx906", "sm_90") from here on in this process, whatever the driver
     * reports, as OPT_GPTQ_ARCH does: the architecture is a property of the machine and not of the caller.
     */
    public static void compileFor(String architecture) {
        System.setProperty(GpuDevices.ARCHITECTURE.property(), architecture);
    }

    /**
     * What "auto" stands for here: the first HIP device if there is one, else the first CUDA device, else the CPU, and
     * never the reference, which is a thousand times slower.
     */
    public static Choice choose() {
        List<String> absent = new ArrayList<>();
        for (String api : GPU_APIS) {
            Candidate first = GpuDevices.list(api).getFirst();
            if (first.usable()) {
                return new Choice(first.name(), first.detail()
                        + (absent.isEmpty() ? "" : "; not " + String.join(", ", absent)));
            }
            absent.add(first.name() + ": " + first.detail());
        }
        return new Choice("cpu", "no GPU can be used: " + String.join("; ", absent));
    }

    /**
     * The choice of auto.
     *
     * @param reason why this one
     */
    public record Choice(String name, String reason) {}

    /** Every device that is known, with what it is or why it cannot be used. */
    public static List<Candidate> list() {
        List<Candidate> all = new ArrayList<>();
        GPU_APIS.forEach(api -> all.addAll(GpuDevices.list(api)));
        all.add(cpu());
        all.add(new Candidate("reference", true, ReferenceDevice.description()));
        return all;
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
