package dev.optgptq.gptq.report;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.calibrate.eval.PerplexityComparison;
import java.util.List;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/**
 * What a quantize run did and what it cost: the data of report.json (schema version 1) and of report.html. Docs:
 * docs/report.md.
 *
 * @param schemaVersion 1
 * @param tool name and version of this program
 * @param started ISO-8601, UTC; of the first run where later ones went on
 * @param resumed whether and where earlier runs were gone on from
 * @param command the settings, by the names of the command line's options
 * @param defaults which options were not given
 * @param seconds wall time of the whole run: of the earlier ones as far as it led to what was gone on from
 * @param warnings what a user should know, in sentences
 * @param ablation what each step of the calibration bought; null for one without steps
 */
public record RunReport(int schemaVersion, String tool, String started, Resumed resumed,
        SequencedMap<String, String> command,
        List<String> defaults, Machine machine, Model model, List<Layer> layers, List<Phase> phases, Memory memory,
        Size size, Range range, @Nullable Quality quality, double seconds, List<String> warnings,
        @Nullable Ablation ablation) {

    /**
     * How a run went on after it was interrupted.
     *
     * @param starts when it was started again, each time; ISO 8601, UTC; empty where nothing interrupted it
     * @param blocks finished ones that the last of these found
     */
    public record Resumed(List<String> starts, int blocks) {

        /** Whether anything was gone on from. */
        public boolean happened() {
            return !starts.isEmpty();
        }
    }

    /**
     * @param device name and description of the compute device
     * @param products dtype of what the linears multiplied while calibrating: F32, F16 or BF16; sums are in float32
     * @param java version of the running JVM
     */
    public record Machine(String device, String deviceDescription, String products, String java, String operatingSystem,
            int threads) {}

    /** @param path the model directory as it was given */
    public record Model(String path, String output, String family, int blocks, int hiddenSize, int vocabSize,
            long parameters, long quantizedParameters) {}

    /**
     * One quantized linear.
     *
     * @param module name on disk
     * @param role name within a block
     * @param relativeError |X (W - Q)^T|^2 / |X W^T|^2 over the calibration inputs; null when they were not seen (rtn)
     * @param weightError |W - Q|^2 / |W|^2
     * @param damp the share of the mean diagonal that was added in the end; null for rtn
     * @param dampAttempts factorisations tried, 1 when the first succeeded; 0 for rtn
     * @param deadInputs inputs that were never active
     * @param largestInput the largest magnitude of what entered it on the calibration text; null for rtn
     * @param largestResidual the same of the residual stream that its block read; of the last block, and with gradient of
     *     every block, also of what it put out; null for rtn
     * @param expert the number of the expert that it belongs to; null for none
     * @param tokens of the calibration text that passed it; null for rtn
     * @param shrunk by what share an expert's Hessian was drawn towards its layer's; null where it is no expert's, and for rtn
     * @param seconds time to solve
     * @param problem null, or one sentence: what went wrong and what was done instead
     */
    public record Layer(String module, String role, int block, int inputs, int outputs, @Nullable Double relativeError,
            double weightError, @Nullable Double damp, int dampAttempts, int deadInputs,
            @Nullable Double largestInput, @Nullable Double largestResidual, @Nullable Integer expert,
            @Nullable Long tokens, @Nullable Double shrunk, double seconds,
            @Nullable String problem) {}

    /**
     * Where the time went; phases do not overlap and add up to the whole run but for small change.
     *
     * @param name load, forward, hessian, solve, write, verify, evaluate, ...
     * @param flops floating-point operations that the phase must do, 0 where it is not arithmetic
     */
    public record Phase(String name, double seconds, double flops) {}

    /**
     * All in bytes.
     *
     * @param planned what the run said it would need before it started
     * @param peakDevice the most that was allocated on the device
     * @param peakAnonymous the most anonymous memory the process held (Linux RssAnon), JVM included; -1 where unknown
     * @param spilled what lay in temporary files
     */
    public record Memory(long planned, long peakDevice, long peakAnonymous, long spilled) {}

    /**
     * @param bytesBefore tensor data of the source
     * @param bytesAfter tensor data of the output
     * @param bitsPerWeight bits that a quantized weight takes, scales and zeros included
     */
    public record Size(long bytesBefore, long bytesAfter, double bitsBefore, double bitsPerWeight) {}

    /**
     * What the numbers in the checkpoint, and those that it computes with, are like.
     *
     * @param dtype that config.json asks to compute in: float16 or bfloat16
     * @param largestActivation the largest magnitude that was seen; null where none was
     * @param largestAt where that was, in words; null likewise
     * @param negativeScales share of the scales that are negative
     */
    public record Range(String dtype, @Nullable Double largestActivation, @Nullable String largestAt,
            double negativeScales) {}

    /**
     * Original and quantized model, over the same windows.
     *
     * @param text what was evaluated
     * @param window tokens per window
     * @param windows how many
     * @param change of perplexity, paired over windows
     * @param divergence of the quantized model's predictions from the original's
     */
    public record Quality(String text, int window, int windows, Score before, Score after,
            PerplexityComparison change, Divergence divergence) {}

    /** Perplexity with its 95 % confidence interval over windows. */
    public record Score(double perplexity, double low, double high) {}
}
