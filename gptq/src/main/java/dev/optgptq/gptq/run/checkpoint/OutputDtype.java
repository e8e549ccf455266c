package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * The dtype that a checkpoint's config.json asks runtimes to compute in: float16, which all of them support, unless the
 * activations come near its largest number.
 *
 * @param name "float16" or "bfloat16"
 * @param largest the largest magnitude of any activation measured; null if none was
 * @param where its place: "residual stream of block 3"
 * @param warning a sentence for the user; null if there is none
 */
public record OutputDtype(String name, @Nullable Double largest, @Nullable String where, @Nullable String warning) {

    /** The largest finite float16. */
    private static final double FLOAT16_MAX = 65504;
    /**
     * Other texts reach larger activations than the calibration text: half of float16's range is kept free for them.
     */
    private static final double NEAR = FLOAT16_MAX / 2;

    private static final String FLOAT16 = "float16";

    /** A measured activation. */
    private record Seen(double size, String where) {}

    /**
     * Chooses the dtype.
     *
     * @param blocks measured by calibration
     * @param before the source on the evaluation text; null where nothing was evaluated
     * @param source the source's config.json
     */
    public static OutputDtype choose(List<BlockRecord> blocks, @Nullable Perplexity before, JsonNode source) {
        List<Seen> seen = new ArrayList<>();
        List<RunReport.Layer> layers = blocks.stream().flatMap(block -> block.layers().stream()).toList();
        for (RunReport.Layer layer : layers) {
            if (layer.largestInput() != null && layer.largestResidual() != null) {
                seen.add(new Seen(layer.largestInput(), "input of " + layer.module()));
                seen.add(new Seen(layer.largestResidual(), "residual stream of block " + layer.block()));
            }
        }
        boolean calibrated = !seen.isEmpty();
        if (before != null && before.largestActivation() != null) {
            seen.add(new Seen(before.largestActivation(), "residual stream on the evaluation text"));
        }
        Optional<Seen> largest = seen.stream().reduce((a, b) -> b.size > a.size ? b : a);
        if (largest.isPresent() && largest.get().size >= NEAR) {
            Seen at = largest.get();
            return new OutputDtype("bfloat16", at.size, at.where, tooLarge(at));
        }
        return new OutputDtype(FLOAT16, largest.map(Seen::size).orElse(null), largest.map(Seen::where).orElse(null),
                calibrated || isFloat16(source) ? null : unknown(largest.orElse(null)));
    }

    private static String tooLarge(Seen at) {
        return String.format(Locale.ROOT,
                "activations reach %,.0f (%s), and float16 ends at 65,504: config.json asks for bfloat16. Runtimes with kernels for "
                        + "float16 only (vLLM's ROCm builds of 2025, exllama) cannot serve this model; newer vLLM, transformers and "
                        + "llama.cpp can",
                at.size, at.where);
    }

    private static String unknown(@Nullable Seen residual) {
        String seen = residual == null
                ? "no activations were seen (--calibrator rtn, --eval none)"
                : String.format(Locale.ROOT,
                        "of the activations only the residual stream was seen (--calibrator rtn), up to %,.3g",
                        residual.size);
        return seen + ": config.json asks for float16, which the source does not, and which overflows above 65,504; "
                + "--calibrator gptq measures all of them";
    }

    private static boolean isFloat16(JsonNode source) {
        return source.path("dtype").asString(source.path("torch_dtype").asString("")).equals(FLOAT16);
    }
}
