package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.HostBuffer;
import dev.optgptq.calibrate.data.SequenceRange;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ranks.Ranks;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.SequencedSet;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Token weights for each linear: s_t = mean over the outputs j of (dL / dy_tj)
 * squared, L the sum of the tokens' cross-entropies on the original model (GuidedQuant, arXiv 2505.07004, with one group
 * of outputs; docs/algorithms.md, section 6). Linears that share an input site share s, so that they share a Hessian: the mean then
 * runs over the outputs of all of them. So do the experts of a layer: s_t sums over those that token t goes through, since in
 * the quantized model it may go through others. Kept for every block in float32, and normalised: the largest 0.1 % are
 * clamped to the largest of the rest, and the mean is 1.
 */
public final class Saliency implements AutoCloseable {

    private final ModelSpec spec;
    /** Of any block, in the order in which they are stored. */
    private final List<InputSite> sites;
    private final long tokens;
    private final HostBuffer buffer;
    /** Of each block and site before it was normalised, after the clamp; NaN where it was restored. */
    private final double[] means;

    private Saliency(ModelSpec spec, long tokens, long memoryBytes) {
        this.spec = spec;
        this.sites = sites(spec);
        this.tokens = tokens;
        this.buffer = new HostBuffer(bytes(spec, tokens), memoryBytes);
        this.means = new double[spec.blocks() * sites.size()];
        Arrays.fill(means, Double.NaN);
    }

    private static long bytes(ModelSpec spec, long tokens) {
        return Math.multiplyExact((long) spec.blocks() * sites(spec).size() * Float.BYTES, tokens);
    }

    private static List<InputSite> sites(ModelSpec spec) {
        return spec.blockSpecs().stream().flatMap(block -> block.sites().stream()).map(InputSite::ofAnyExpert)
                .distinct().sorted().toList();
    }

    /**
     * Memory of capturing, in bytes.
     *
     * @param device allocated on the device while it captures
     * @param inputs block inputs of a group of sequences, on the host while it captures
     * @param kept the saliency itself, on the host
     * @param resident whether the model stays on the device; else blocks are recomputed in the backward pass
     */
    public record Memory(long device, long inputs, long kept, boolean resident) {
        /** Nothing. */
        public static final Memory NONE = new Memory(0, 0, 0, false);
    }

    /**
     * Memory limits of capturing, in bytes.
     *
     * @param groupBytes the block inputs that are kept at one time: sequences go through the model in groups of that size
     * @param memoryBytes on the host, above which they go to a temporary file
     * @param residentBytes on the device, for the whole model and the traces of a batch
     */
    public record Limits(long groupBytes, long memoryBytes, long residentBytes) {

        private GradientStream.Limits ofStream() {
            return new GradientStream.Limits(GradientStream.Limits.DEFAULT.batchTokens(), groupBytes,
                    GradientStream.Limits.DEFAULT.logitsBytes(), memoryBytes, residentBytes);
        }
    }

    /** The arguments are those of capture. */
    public static Memory memory(ModelSpec spec, TokenSequences text, Limits limits) {
        GradientStream.Limits ofStream = limits.ofStream();
        long inputs = GradientStream.inputBytes(spec, text, ofStream);
        return new Memory(GradientStream.ownDeviceBytes(spec, text, ofStream), inputs > limits.memoryBytes ? 0 : inputs,
                bytes(spec, text.tokens()), GradientStream.isResident(spec, text, ofStream));
    }

    /**
     * Runs the sequences forward and backward through the model. Throws UserError BAD_SETTING where sequences are too
     * short to predict anything, NUMERIC naming the first layer whose gradient is not finite.
     */
    public static Saliency capture(Replicas models, TokenSequences text, Labels labels, Limits limits,
            Progress progress) {
        if (text.length() < 2) {
            throw new UserError(UserError.Code.BAD_SETTING, "calibration sequences of " + text.length()
                    + " tokens hold no prediction, which gradients need; give --sequence-length 2 or more");
        }
        return capture(models, text, labels, progress, limits.ofStream());
    }

    /** Other programs may have taken some of a device's memory since the limits were set. */
    private static GradientStream.Limits free(Replicas models, GradientStream.Limits limits) {
        long room = IntStream.range(0, models.size()).mapToObj(models::on)
                .filter(model -> model.device().freeMemory().isPresent()).mapToLong(model -> model.roomBeside(0)).min()
                .orElse(Long.MAX_VALUE);
        long least = models.crew().ranks().exchange(room).stream().mapToLong(each -> each[0]).min().orElse(room);
        return limits.withResident(Math.min(limits.residentBytes(), least));
    }

    static Saliency capture(Replicas models, TokenSequences text, Labels labels, Progress progress,
            GradientStream.Limits given) {
        GradientStream.Limits limits = free(models, given);
        boolean resident = GradientStream.isResident(models.first().spec(), text, limits);
        Saliency saliency = new Saliency(models.first().spec(), text.tokens(), limits.memoryBytes());
        SequenceRange[] ranges = new SequenceRange[models.size()];
        try {
            // Tokens are not summed, so the split of batches over devices does not matter.
            models.together(device -> {
                Transformer model = models.on(device);
                try (Prefetch prefetch = GradientStream.prefetch(model, text, limits)) {
                    GradientStream stream = new GradientStream(model,
                            GradientStream.Blocks.of(model, prefetch, resident),
                            text, labels, "gradients", device == 0 ? progress : Progress.SILENT, limits);
                    ranges[device] = SequenceRange.of(text, stream.batch(), models.crew().index(device),
                            models.crew().devices());
                    stream.run(ranges[device], 1, new SquaredGradients(model, saliency::slice));
                }
            });
            SaliencyExchange exchange = new SaliencyExchange(models.crew().ranks(), saliency.buffer.memory(),
                    text.tokens());
            exchange.gather((long) ranges[0].from() * text.length(),
                    (long) ranges[ranges.length - 1].to() * text.length());
            if (models.crew().ranks().isFirst()) {
                saliency.normalise();
            }
            exchange.share();
            return saliency;
        } catch (RuntimeException e) {
            saliency.close();
            throw e;
        }
    }

    /**
     * Restores earlier {@link #values} for the same text and model, without running anything.
     *
     * @param tokens of the text
     * @param memoryBytes above which it goes to a temporary file
     */
    public static Saliency restore(ModelSpec spec, long tokens, MemorySegment values, long memoryBytes) {
        if (values.byteSize() != bytes(spec, tokens)) {
            throw new IllegalArgumentException("expected " + bytes(spec, tokens) + " bytes of saliency for " + tokens
                    + " tokens, found " + values.byteSize());
        }
        Saliency saliency = new Saliency(spec, tokens, memoryBytes);
        saliency.buffer.memory().copyFrom(values);
        return saliency;
    }

    /**
     * The saliency that the first rank has, on every rank.
     *
     * @param known the first rank's; null on the others
     * @param memoryBytes above which it goes to a temporary file
     */
    public static Saliency share(Ranks ranks, @Nullable Saliency known, ModelSpec spec, long tokens,
            long memoryBytes) {
        Saliency shared = known == null ? new Saliency(spec, tokens, memoryBytes) : known;
        try {
            new SaliencyExchange(ranks, shared.buffer.memory(), tokens).share();
            return shared;
        } catch (RuntimeException e) {
            shared.close();
            throw e;
        }
    }

    /** All of it, F32 [blocks * sites, tokens]; usable until it is closed. */
    public MemorySegment values() {
        return buffer.memory().asReadOnly();
    }

    /**
     * The factors of a site's rows in the Hessian's sum, sqrt(s_t): F32 [1, tokens], owned by the arena. Null for equal
     * token weights: nothing is scaled, and the Hessian is plain GPTQ's to the bit.
     */
    public @Nullable Tensor rowFactors(int block, InputSite site, Device device, TensorArena arena) {
        float[] weights = weights(block, site);
        if (allEqual(weights)) {
            return null;
        }
        for (int t = 0; t < weights.length; t++) {
            weights[t] = (float) Math.sqrt(weights[t]);
        }
        Tensor factors = arena.vector(DType.F32, tokens);
        try (Arena host = Arena.ofShared()) {
            device.upload(host.allocateFrom(ValueLayout.JAVA_FLOAT, weights), factors);
            device.synchronize();
        }
        return factors;
    }

    /** The same of what the block puts out, by the gradient of the linears that add to it. */
    public @Nullable Tensor outputFactors(int block, Device device, TensorArena arena) {
        SequencedSet<InputSite> its = spec.block(block).sites();
        return rowFactors(block, its.contains(InputSite.MLP_OUTPUT) ? InputSite.MLP_OUTPUT : its.getLast(), device,
                arena);
    }

    /** s of every token of a site, mean 1. */
    float[] weights(int block, InputSite site) {
        return slice(block, site).toArray(ValueLayout.JAVA_FLOAT);
    }

    private static boolean allEqual(float[] weights) {
        for (float weight : weights) {
            if (weight != weights[0]) {
                return false;
            }
        }
        return true;
    }

    private void normalise() {
        for (int block = 0; block < spec.blocks(); block++) {
            for (InputSite site : sites) {
                float[] weights = weights(block, site);
                requireFinite(weights, block, site);
                means[block * sites.size() + sites.indexOf(site)] = TokenWeights.mean(weights);
                MemorySegment.copy(TokenWeights.normalised(weights), 0, slice(block, site), ValueLayout.JAVA_FLOAT, 0,
                        weights.length);
            }
        }
    }

    private void requireFinite(float[] weights, int block, InputSite site) {
        for (int t = 0; t < weights.length; t++) {
            if (!Float.isFinite(weights[t])) {
                List<String> modules = spec.linears(block).stream()
                        .filter(linear -> linear.site().ofAnyExpert().equals(site)).map(LinearSpec::module).toList();
                throw new UserError(UserError.Code.NUMERIC, String.join(", ", modules)
                        + ": the loss's gradient at calibration token " + t + " is not finite; expected a number: the "
                        + "weights overflow float32, or were damaged. --calibrator gptq needs no gradients");
            }
        }
    }

    /**
     * The mean of s over all tokens of a site, in squared nats: what the weights of mean 1 were divided by. Not for one that was
     * restored.
     */
    public double mean(int block, InputSite site) {
        double mean = means[block * sites.size() + sites.indexOf(site.ofAnyExpert())];
        if (Double.isNaN(mean)) {
            throw new IllegalStateException("a restored saliency has weights of mean 1 only");
        }
        return mean;
    }

    private MemorySegment slice(int block, InputSite site) {
        long at = ((long) block * sites.size() + sites.indexOf(site.ofAnyExpert())) * tokens;
        return buffer.memory().asSlice(at * Float.BYTES, tokens * Float.BYTES);
    }

    @Override
    public void close() {
        buffer.close();
    }
}
