package dev.optgptq.gptq.bench;

import dev.optgptq.gptq.bench.BenchReport.Rates;
import dev.optgptq.gptq.convert.ConvertReport;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a conversion to grouped heads takes at a shape. Times in seconds.
 *
 * @param schemaVersion 1
 * @param tool name and version of this program
 * @param shape a name, or the path of a config.json
 * @param ratio key-value heads that become one
 * @param phases of the conversion, healing not among them
 * @param seconds of these
 * @param healing null without
 * @param peakDevice bytes allocated on the device at most
 */
public record ConvertBenchReport(int schemaVersion, String tool, String shape, String device,
        String deviceDescription, int ratio, int samples, int sequenceLength, Rates rates,
        List<ConvertReport.Phase> phases, double seconds, @Nullable Healing healing, long peakDevice) {

    /**
     * Distillation of the projections of attention.
     *
     * @param batch sequences of a step
     * @param length tokens of a sequence
     * @param tokensPerSecond of a step, the median
     * @param operations floating-point operations that a token needs: forward and backward pass, the teacher's head, and
     *     nothing twice
     */
    public record Healing(int steps, int batch, int length, double tokensPerSecond, double operations) {

        /** Per second. */
        public double rate() {
            return tokensPerSecond * operations;
        }
    }
}
