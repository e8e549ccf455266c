package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.kernels.Device;

/** The whole job: read, calibrate, solve, write, verify, evaluate. */
public final class QuantizeRun {

    private QuantizeRun() {}

    /**
     * Quantizes a model directory. The output appears complete or not at all. Throws UserError.
     *
     * @param log hears what was decided, one line at a time: defaults taken, the memory plan, problems
     */
    public static RunReport run(QuantizeSettings settings, Device device, Progress progress,
            java.util.function.Consumer<String> log) {
        throw new UnsupportedOperationException("not written yet");
    }
}
