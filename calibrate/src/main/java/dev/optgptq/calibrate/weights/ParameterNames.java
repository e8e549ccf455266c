package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.kernels.Tensor;
import java.util.LinkedHashMap;
import java.util.Objects;
import java.util.SequencedMap;

/** The parameters of a model, or their gradients, by their place on disk. */
public record ParameterNames(ModelSpec spec) {

    /**
     * A parameter's place on disk.
     *
     * @param tensor its full name
     * @param index which of the matrices, or rows, that the tensor holds
     * @param transposed whether it is stored as [columns, rows]
     */
    public record Place(String tensor, int index, boolean transposed) {
        static Place whole(String tensor) {
            return new Place(tensor, 0, false);
        }

        @Override
        public String toString() {
            return index == 0 ? tensor : tensor + "[" + index + "]";
        }
    }

    /** A block's norms by their names on disk, F32 [1, n]; writing to them changes what the block computes. */
    public SequencedMap<String, Tensor> norms(BlockWeights block) {
        SequencedMap<String, Tensor> named = new LinkedHashMap<>();
        block.norms().values().forEach(norm -> add(norm, named));
        return named;
    }

    /** The final norm by its names on disk, F32 [1, hidden]; writing to it changes what the head computes. */
    public SequencedMap<String, Tensor> norms(Head head) {
        SequencedMap<String, Tensor> named = new LinkedHashMap<>();
        if (head.norm() != null) {
            add(head.norm(), named);
        }
        return named;
    }

    /**
     * A block's parameters by their places on disk: linears F32 [outputs, inputs], biases and norms F32 [1, n]. For
     * gradients, what was requested.
     */
    public SequencedMap<Place, Tensor> all(BlockWeights block) {
        SequencedMap<Place, Tensor> named = new LinkedHashMap<>();
        norms(block).forEach((name, tensor) -> named.put(Place.whole(name), tensor));
        if (block.has(ParameterKind.LINEAR)) {
            for (LinearSpec linear : block.linears()) {
                LinearWeights weights = block.find(linear);
                if (weights != null) {
                    add(linear, weights, named);
                }
            }
        }
        block.spec().parameters().forEach((which, parameter) -> {
            Tensor tensor = block.parameter(which);
            if (tensor != null) {
                named.put(Place.whole(parameter.name()), tensor);
            }
        });
        return named;
    }

    private static void add(LinearSpec linear, LinearWeights weights, SequencedMap<Place, Tensor> named) {
        WeightView view = linear.view();
        named.put(new Place(view.weight(), view.index(), view.stored() == WeightView.Stored.IN_OUT), weights.weight());
        if (weights.bias() != null) {
            named.put(new Place(view.biasTensor(), view.index(), false), weights.bias());
        }
    }

    /** The head's parameters by their places on disk, likewise; a tied head is the embedding table. */
    public SequencedMap<Place, Tensor> all(Head head) {
        SequencedMap<Place, Tensor> named = new LinkedHashMap<>();
        norms(head).forEach((name, tensor) -> named.put(Place.whole(name), tensor));
        if (head.matrix() != null) {
            named.put(Place.whole(Head.matrixName(spec) + ".weight"), head.matrix().weight());
            if (head.matrix().bias() != null) {
                named.put(Place.whole(head.spec().module() + ".bias"), head.matrix().bias());
            }
        }
        if (head.projection() != null) {
            named.put(Place.whole(Objects.requireNonNull(head.spec().projection()) + ".weight"),
                    head.projection().weight());
        }
        return named;
    }

    /** The embedding's parameters, likewise. */
    public SequencedMap<Place, Tensor> all(EmbeddingWeights embedding) {
        SequencedMap<Place, Tensor> named = new LinkedHashMap<>();
        EmbeddingSpec form = spec.embedding();
        named.put(Place.whole(form.table() + ".weight"), embedding.table());
        if (embedding.projection() != null) {
            named.put(Place.whole(Objects.requireNonNull(form.projection()) + ".weight"),
                    embedding.projection().weight());
        }
        if (embedding.positions() != null) {
            named.put(Place.whole(Objects.requireNonNull(form.positions()).table() + ".weight"), embedding.positions());
        }
        if (embedding.norm() != null) {
            SequencedMap<String, Tensor> norms = new LinkedHashMap<>();
            add(embedding.norm(), norms);
            norms.forEach((name, tensor) -> named.put(Place.whole(name), tensor));
        }
        return named;
    }

    private static void add(NormWeights norm, SequencedMap<String, Tensor> named) {
        for (NormSpec.Stored stored : norm.spec().stored()) {
            Tensor whole = stored.isBias() ? Objects.requireNonNull(norm.bias()) : norm.weight();
            named.put(stored.tensor(), whole.columns(stored.first(), stored.columns()));
        }
    }
}
