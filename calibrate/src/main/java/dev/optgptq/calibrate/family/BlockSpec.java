package dev.optgptq.calibrate.family;

import dev.optgptq.formats.dtype.DType;
import java.util.Collections;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.SequencedSet;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * One decoder block.
 *
 * @param prefix of its tensors' names: "model.layers.3."
 * @param norms by where they stand
 * @param residual how the two parts join the stream
 * @param residualScale multiplies what each part adds; 1 for none
 * @param linears in forward order, those of experts one expert after the other
 * @param parameters what is neither of a linear nor of a norm
 */
public record BlockSpec(int index, String prefix, Map<NormSlot, NormSpec> norms, Residual residual,
        float residualScale, Mixer mixer, FeedForward feedForward, List<LinearSpec> linears,
        SequencedMap<Parameter, ParameterSpec> parameters) {

    public BlockSpec {
        norms = Collections.unmodifiableMap(new EnumMap<>(norms));
        linears = List.copyOf(linears);
        parameters = Collections.unmodifiableSequencedMap(new LinkedHashMap<>(parameters));
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
        return linears.stream().map(LinearSpec::site).collect(Collectors.toCollection(TreeSet::new));
    }

    /** Width of the activations at a site. */
    public int inputs(InputSite site) {
        return linears.stream().filter(linear -> linear.site().equals(site)).mapToInt(LinearSpec::inputs).findFirst()
                .orElseThrow(() -> new IllegalArgumentException("block " + index + " has no " + site));
    }

    /** Width of the activations at every site: for many sites at once, which a mixture has. */
    public Map<InputSite, Integer> widths() {
        return linears.stream()
                .collect(Collectors.toMap(LinearSpec::site, LinearSpec::inputs, (first, other) -> first));
    }

    BlockSpec withFrequencyType(DType type) {
        return withMixer(mixer.withFrequencyType(type));
    }

    /** The same with another mixer of the same sizes. */
    public BlockSpec withMixer(Mixer other) {
        return new BlockSpec(index, prefix, norms, residual, residualScale, other, feedForward, linears, parameters);
    }
}
