package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.kernels.Tensor;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/** The parameters of a model, or their gradients, by their names on disk. */
public record ParameterNames(ModelSpec spec) {

    /** A block's norms by their names on disk, F32 [1, hidden]; writing to them changes what the block computes. */
    public SequencedMap<String, Tensor> norms(BlockWeights block) {
        SequencedMap<String, Tensor> named = new LinkedHashMap<>();
        ModelSpec.TensorNames names = spec.names();
        name(names.inBlock(block.index(), names.attentionNorm()), block.attentionNorm().weight(),
                block.attentionNorm().bias(), named);
        name(names.inBlock(block.index(), names.mlpNorm()), block.mlpNorm().weight(), block.mlpNorm().bias(), named);
        return named;
    }

    /** The final norm by its names on disk, F32 [1, hidden]; writing to it changes what the head computes. */
    public SequencedMap<String, Tensor> norms(Head head) {
        SequencedMap<String, Tensor> named = new LinkedHashMap<>();
        name(spec.names().finalNorm(), head.norm().weight(), head.norm().bias(), named);
        return named;
    }

    /**
     * A block's parameters by their names on disk: linears F32 [outputs, inputs], biases and norms F32 [1, n]. Of gradients
     * those of the kinds that were asked for.
     */
    public SequencedMap<String, Tensor> all(BlockWeights block) {
        SequencedMap<String, Tensor> named = block.has(ParameterKind.NORM) ? norms(block) : new LinkedHashMap<>();
        if (!block.has(ParameterKind.LINEAR)) {
            return named;
        }
        for (LinearSpec linear : block.linears()) {
            LinearWeights weights = block.of(linear.projection());
            name(linear.module(), weights.weight(), weights.bias(), named);
        }
        return named;
    }

    /** The head's parameters by their names on disk, likewise; a tied head is the embedding table. */
    public SequencedMap<String, Tensor> all(Head head) {
        SequencedMap<String, Tensor> named = head.has(ParameterKind.NORM) ? norms(head) : new LinkedHashMap<>();
        if (head.has(ParameterKind.LINEAR)) {
            name(spec.tiedHead() ? spec.names().embedding() : spec.names().head(), head.weight(), null, named);
        }
        return named;
    }

    /** Of the embedding table, F32 [vocabulary, hidden]. */
    public String embedding() {
        return spec.names().embedding() + ".weight";
    }

    private static void name(String name, Tensor weight, @Nullable Tensor bias, SequencedMap<String, Tensor> named) {
        named.put(name + ".weight", weight);
        if (bias != null) {
            named.put(name + ".bias", bias);
        }
    }
}
