package dev.optgptq.kernels.contract;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.contract.OpCase.Operand;
import java.io.PrintStream;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Bench mode: time and rate of each case that declares its work. Arguments: a device, threads, parts of op names. */
public final class BenchMode {

    /** Measured calls of a case run for this long, and are at least 3. */
    private static final double SECONDS = 0.5;

    private BenchMode() {}

    /**
     * What was measured.
     *
     * @param seconds the median call
     */
    record Measurement(OpCase opCase, double seconds) {

        /** GFLOP/s where operations are counted, otherwise GB/s. */
        double rate() {
            double work = opCase.work().flops() > 0 ? opCase.work().flops() : opCase.work().bytes();
            return work / seconds / 1e9;
        }

        String line() {
            return String.format(Locale.ROOT, "%-20s %-44s %10.3f ms %9.1f %s", opCase.op(), opCase.shape(),
                    seconds * 1e3, rate(), opCase.work().flops() > 0 ? "GFLOP/s" : "GB/s");
        }
    }

    /** For example {@code cpu 2 linear gram}: the cases whose op contains linear or gram, ignoring case. */
    public static void main(String[] args) {
        String name = args.length > 0 ? args[0] : "auto";
        int threads = args.length > 1 ? Integer.parseInt(args[1]) : Runtime.getRuntime().availableProcessors();
        List<String> wanted = args.length > 2 ? List.of(args).subList(2, args.length) : List.of("");
        try (Device device = Devices.open(name, threads)) {
            System.out.println(device.name() + ": " + device.description());
            print(device, wanted, System.out);
        }
    }

    private static void print(Device device, List<String> wanted, PrintStream out) {
        ContractSuite.bench()
                .filter(opCase -> wanted.stream().anyMatch(part -> lower(opCase.op()).contains(lower(part))))
                .forEach(opCase -> out.println(measure(device, opCase, SECONDS, 3).line()));
    }

    private static String lower(String text) {
        return text.toLowerCase(Locale.ROOT);
    }

    /** Calls the case at least {@code repeats} times and until the time is used up; operands are restored in between. */
    static Measurement measure(Device device, OpCase opCase, double seconds, int repeats) {
        try (TensorArena arena = device.arena()) {
            Map<String, HostMatrix> contents = new HashMap<>();
            Map<String, Tensor> tensors = new HashMap<>();
            for (Operand operand : opCase.operands()) {
                contents.put(operand.name(), operand.fill(opCase.seed()));
                tensors.put(operand.name(), arena.matrix(operand.dtype(), operand.rows(), operand.columns()));
            }
            double[] times = new double[0];
            double used = 0;
            // A third of the time warms up the compiler and is not counted.
            double warmUp = seconds / 3;
            while (times.length < repeats || used < seconds) {
                contents.forEach((name, content) -> device.upload(content.bytes(), required(tensors, name)));
                device.synchronize();
                long start = System.nanoTime();
                opCase.call().run(device, name -> required(tensors, name));
                device.synchronize();
                double time = (System.nanoTime() - start) / 1e9;
                if (warmUp > 0) {
                    warmUp -= time;
                } else {
                    used += time;
                    times = Arrays.copyOf(times, times.length + 1);
                    times[times.length - 1] = time;
                }
            }
            Arrays.sort(times);
            return new Measurement(opCase, times[times.length / 2]);
        }
    }

    private static Tensor required(Map<String, Tensor> tensors, String name) {
        Tensor found = tensors.get(name);
        if (found == null) {
            throw new IllegalArgumentException("no operand is called " + name + ", there are " + tensors.keySet());
        }
        return found;
    }
}
