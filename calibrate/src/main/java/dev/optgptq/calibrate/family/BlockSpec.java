package dev.optgptq.calibrate.family;

import dev.optgptq.formats.dtype.DType;
import java.util.Collections;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.SequencedSet;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** One decoder block. */
public final class BlockSpec {

    private final int index;
    private final String prefix;
    private final Map<NormSlot, NormSpec> norms;
    private final Residual residual;
    private final float residualScale;
    private final Mixer mixer;
    private final FeedForward feedForward;
    private final List<LinearSpec> linears;
    private final SequencedMap<Parameter, ParameterSpec> parameters;
    /** By site: a mixture has hundreds, and plans ask for each of them many times. */
    private final SequencedMap<InputSite, Integer> widths = new TreeMap<>();

    /**
     * @param prefix of its tensors' names: "model.layers.3."
     * @param norms by where they stand
     * @param residual how the two parts join the stream
     * @param residualScale multiplies what each part adds; 1 for none
     * @param linears in forward order, those of experts one expert after the other
     * @param parameters what is neither of a linear nor of a norm
     */
    BlockSpec(int index, String prefix, Map<NormSlot, NormSpec> norms, Residual residual, float residualScale,
            Mixer mixer, FeedForward feedForward, List<LinearSpec> linears,
            SequencedMap<Parameter, ParameterSpec> parameters) {
        this.index = index;
        this.prefix = prefix;
        this.norms = Collections.unmodifiableMap(new EnumMap<>(norms));
        this.residual = residual;
        this.residualScale = residualScale;
        this.mixer = mixer;
        this.feedForward = feedForward;
        this.linears = List.copyOf(linears);
        this.parameters = Collections.unmodifiableSequencedMap(new LinkedHashMap<>(parameters));
        linears.forEach(linear -> widths.putIfAbsent(linear.site(), linear.inputs()));
    }

    /** How attention and MLP join the residual stream, f being either of them. */
    public enum Residual {
        /** x += after(f(before(x))), attention first. */
        SERIAL,
        /** x += attention(before(x)) + mlp(before(x)); the MLP reads attention's input where it has no norm of its own. */
        PARALLEL,
        /** x = after(x + f(x)): the norm is of the sum (opt-350m). */
        NORM_OF_SUM
    }

    /** Parameters that are neither of a linear nor of a norm. */
    public enum Parameter {
        /** [1, heads]: one more score for each head, without a value. */
        SINKS,
        /** [experts, hidden], and [1, experts]. */
        ROUTER, ROUTER_BIAS,
        /** [1, experts]: added to the scores for the choice only; has no gradient. */
        ROUTER_CORRECTION,
        /** [1, hidden]: of the shared expert. */
        SHARED_GATE,
        /** [channels, kernel], [1, valueHeads], [1, valueHeads]: of a gated deltanet. */
        CONVOLUTION, DECAY, STEP_BIAS;

        /** Whether a loss has a gradient for it. */
        public boolean learns() {
            return this != ROUTER_CORRECTION;
        }
    }

    /**
     * A parameter on disk.
     *
     * @param name in full
     * @param shape on disk; rows x columns is how it is used
     */
    public record ParameterSpec(String name, List<Long> shape, int rows, int columns) {}

    public int index() {
        return index;
    }

    public String prefix() {
        return prefix;
    }

    public Map<NormSlot, NormSpec> norms() {
        return norms;
    }

    public Residual residual() {
        return residual;
    }

    public float residualScale() {
        return residualScale;
    }

    public Mixer mixer() {
        return mixer;
    }

    public FeedForward feedForward() {
        return feedForward;
    }

    /** In forward order, those of experts one expert after the other. */
    public List<LinearSpec> linears() {
        return linears;
    }

    public SequencedMap<Parameter, ParameterSpec> parameters() {
        return parameters;
    }

    public @Nullable NormSpec norm(NormSlot slot) {
        return norms.get(slot);
    }

    public boolean has(NormSlot slot) {
        return norms.containsKey(slot);
    }

    public LinearSpec linear(Projection projection) {
        return linears.stream().filter(linear -> linear.projection() == projection).findFirst().orElseThrow(
                () -> new IllegalArgumentException("block " + index + " has no " + projection));
    }

    public boolean has(Projection projection) {
        return linears.stream().anyMatch(linear -> linear.projection() == projection);
    }

    /** The sites that its linears have, in forward order. */
    public SequencedSet<InputSite> sites() {
        return Collections.unmodifiableSequencedSet(widths.sequencedKeySet());
    }

    /** Width of the activations at a site. */
    public int inputs(InputSite site) {
        Integer width = widths.get(site);
        if (width == null) {
            throw new IllegalArgumentException("block " + index + " has no " + site);
        }
        return width;
    }

    BlockSpec withFrequencyType(DType type) {
        return withMixer(mixer.withFrequencyType(type));
    }

    /** The same with another mixer of the same sizes. */
    public BlockSpec withMixer(Mixer other) {
        return new BlockSpec(index, prefix, norms, residual, residualScale, other, feedForward, linears, parameters);
    }
}
