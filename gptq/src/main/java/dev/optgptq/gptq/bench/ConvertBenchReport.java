package dev.optgptq.gptq.bench;

import dev.optgptq.gptq.bench.BenchReport.Rates;
import dev.optgptq.gptq.convert.ConvertReport;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What a conversion to grouped heads takes at a shape. Times in seconds.
 *
 * @param schemaVersion 2
 * @param tool name and version of this program
 * @param shape a name, or the path of a config.json
 * @param ratio key-value heads that become one
 * @param extent what of the shape was measured
 * @param phases of the conversion, healing not among them
 * @param seconds of these
 * @param healing null without
 * @param peakDevice bytes allocated on the device at most
 */
public record ConvertBenchReport(int schemaVersion, String tool, String shape, String device,
        String deviceDescription, int ratio, int samples, int sequenceLength, Extent extent,
        Rates rates, List<ConvertReport.Phase> phases, double seconds, @Nullable Healing healing, long peakDevice) {

    /** Phases that a model has once, whatever its layers; and those that handle the whole checkpoint. */
    private static final Set<String> ONCE = Set.of("open");
    private static final Set<String> CHECKPOINT = Set.of("write", "verify");

    /**
     * What was measured of a shape.
     *
     * @param layers the first ones
     * @param ofLayers that the shape has
     * @param checkpoint how many times the bytes the checkpoint of all layers has
     */
    public record Extent(int layers, int ofLayers, double checkpoint) {}

    /** Of all layers, from what was measured of some. */
    public double whole(ConvertReport.Phase phase) {
        double times = ONCE.contains(phase.name())
                ? 1
                : CHECKPOINT.contains(phase.name())
                        ? extent.checkpoint
                        : (double) extent.ofLayers / extent.layers;
        return times * phase.seconds();
    }

    /** Of all layers and phases. */
    public double wholeSeconds() {
        return phases.stream().mapToDouble(this::whole).sum();
    }

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
