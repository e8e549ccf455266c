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
 * @param started ISO-8601, UTC; of the first run, if it was resumed
 * @param resumed whether and where earlier runs were resumed
 * @param command the settings, by the names of the command line's options
 * @param defaults which options were not given
 * @param modules linears with a grid of their own, or none; empty where all are alike
 * @param allocation how the bits of every linear were chosen; null where they were given
 * @param seconds wall time of the whole run: earlier runs count as far as their work was reused
 * @param warnings sentences for the user
 * @param ablation gain and cost of each calibration step; null without steps
 */
public record RunReport(int schemaVersion, String tool, String started, Resumed resumed,
        SequencedMap<String, String> command,
        List<String> defaults, Machine machine, Model model, List<Layer> layers, List<OwnGrid> modules,
        @Nullable ChosenBits allocation, List<Phase> phases, Memory memory,
        Size size, Range range, @Nullable Quality quality, double seconds, List<String> warnings,
        @Nullable Ablation ablation) {

    /**
     * How an interrupted run was resumed.
     *
     * @param starts each time it was resumed; ISO 8601, UTC; empty if it was not interrupted
     * @param blocks finished blocks that the last of these found
     */
    public record Resumed(List<String> starts, int blocks) {

        /** Whether the run was resumed. */
        public boolean happened() {
            return !starts.isEmpty();
        }
    }

    /**
     * @param device name and description of the compute device
     * @param products matmul dtype while calibrating: F32, F16 or BF16; sums are in float32
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
     * @param relativeError |X (W - Q)^T|^2 / |X W^T|^2 over the calibration inputs; null without calibration inputs
     *     (rtn)
     * @param weightError |W - Q|^2 / |W|^2
     * @param damp the final damping, a share of the mean diagonal; null for rtn
     * @param dampAttempts factorisations tried, 1 when the first succeeded; 0 for rtn
     * @param deadInputs inputs that were never active
     * @param largestInput the largest input magnitude on the calibration text; null for rtn
     * @param largestResidual the same of the residual stream before its block, and, for the last block, or for every
     *     block with gradient, also after it; null for rtn
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
     * Linears whose grid differs from that of the others.
     *
     * @param pattern that matches their names
     * @param modules how many these are
     * @param bits null where they are not quantized, as are the next two
     */
    public record OwnGrid(String pattern, int modules, @Nullable Integer bits, @Nullable Integer groupSize,
            @Nullable Boolean symmetric) {}

    /**
     * Bits chosen within a budget.
     *
     * @param budgetBytes for the packed linears
     * @param bytes that they take
     * @param averageBits of a weight, with its share of scales, zero points and groups
     * @param lossIncrease that was expected, to second order, in nats per token
     */
    public record ChosenBits(long budgetBytes, long bytes, double averageBits, double lossIncrease,
            List<Choice> choices) {}

    /**
     * The grid of linears that have one together.
     *
     * @param linears their names within the block, of experts only the first one's
     * @param bits chosen
     * @param widths what there was to choose from
     */
    public record Choice(int block, List<String> linears, int bits, List<Width> widths) {}

    /**
     * @param bytes packed
     * @param lossIncrease as above
     */
    public record Width(int bits, long bytes, double lossIncrease) {}

    /**
     * Time by phase; phases do not overlap and add up to nearly the whole run.
     *
     * @param name load, forward, hessian, solve, write, verify, evaluate, ...
     * @param flops floating-point operations of the phase, 0 if it is not arithmetic
     */
    public record Phase(String name, double seconds, double flops) {}

    /**
     * All in bytes.
     *
     * @param planned the memory plan before the start
     * @param peakDevice the most that was allocated on the device
     * @param peakAnonymous the most anonymous memory the process held (Linux RssAnon), JVM included; -1 where unknown
     * @param spilled bytes in temporary files
     */
    public record Memory(long planned, long peakDevice, long peakAnonymous, long spilled) {}

    /**
     * @param bytesBefore tensor data of the source
     * @param bytesAfter tensor data of the output
     * @param bitsPerWeight bits that a quantized weight takes, scales and zeros included
     */
    public record Size(long bytesBefore, long bytesAfter, double bitsBefore, double bitsPerWeight) {}

    /**
     * Ranges of the checkpoint's numbers and of the activations.
     *
     * @param dtype that config.json asks to compute in: float16 or bfloat16
     * @param largestActivation the largest magnitude measured; null if none was
     * @param largestAt its place, for people; null likewise
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
