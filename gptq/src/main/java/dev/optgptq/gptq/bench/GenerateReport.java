package dev.optgptq.gptq.bench;

import dev.optgptq.calibrate.generate.DecodeTiming;
import dev.optgptq.kernels.ops.CacheType;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Decoding speed of variants of a model.
 *
 * @param context tokens of each sequence before the first step
 * @param prompt tokens of the prompt whose time to the first token was measured
 * @param copy bytes a second that a copy on the device reads and writes
 */
public record GenerateReport(int schemaVersion, String tool, String shape, String device, String deviceDescription,
        int context, int prompt, double copy, List<Measured> measured) {

    /**
     * A model and its cache.
     *
     * @param name for people: "opt-gqa int4, cache int8"
     * @param bits of the blocks' linears; 16 for fp16/bf16
     */
    public record Variant(String name, int kvHeads, int bits, CacheType cache) {}

    /**
     * A variant at a batch size.
     *
     * @param timing null where it did not fit
     * @param failure why timing is null
     */
    public record Measured(Variant variant, int batch, @Nullable DecodeTiming timing, @Nullable String failure) {

        public double tokensPerSecond() {
            return timing == null ? 0 : batch / timing.step();
        }

        /** The time to read weights and cache once at the copy rate, as a share of the step. */
        public double shareOfFloor(double copy) {
            return timing == null ? 0 : (timing.weightBytes() + timing.cacheBytes()) / copy / timing.step();
        }

        public double attentionShare(double copy) {
            return timing == null ? 0 : timing.cacheBytes() / copy / timing.attention();
        }

        String line(double copy) {
            if (timing == null) {
                return variant.name() + ", batch " + batch + ": " + failure;
            }
            return String.format(Locale.ROOT,
                    "%s, batch %d: %.2f ms a step, %.1f tokens/s, %.2f of the floor; attention %.2f ms, %.2f of copy; linears "
                            + "%.2f ms; first token after %.0f ms; peak %.1f GB",
                    variant.name(), batch, timing.step() * 1e3, tokensPerSecond(), shareOfFloor(copy),
                    timing.attention() * 1e3, attentionShare(copy), timing.linears() * 1e3, timing.prefill() * 1e3,
                    timing.peakBytes() / 1e9);
        }
    }
}
