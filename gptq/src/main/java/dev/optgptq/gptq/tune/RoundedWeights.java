package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.EmbeddingWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.calibrate.weights.ParameterNames.Place;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A model's weights with those that are learned in their place, rounded as stored.
 *
 * @param embedding that is learned; null where it is the model's own
 * @param learned parameters in the place of the model's
 */
record RoundedWeights(Transformer model, @Nullable EmbeddingWeights embedding, LearnedParameters learned)
        implements
            GradientStream.Blocks {

    @Override
    public BlockWeights load(int block, TensorArena owner) {
        BlockWeights copy = model.loadBlock(block, owner);
        write(model.parameters().all(copy));
        return copy;
    }

    @Override
    public Head head(Head own, TensorArena owner) {
        Head copy = model.loadHead(owner);
        write(model.parameters().all(copy));
        return copy;
    }

    @Override
    public void withEmbedding(Transformer unused, int length, Consumer<Transformer.Embedding> use) {
        Device device = model.device();
        try (TensorArena scratch = device.arena()) {
            embed(model, embedding == null ? null : rounded(embedding, scratch), length, use);
        }
    }

    private EmbeddingWeights rounded(EmbeddingWeights own, TensorArena scratch) {
        EmbeddingWeights copy = own.zeros(model.device(), scratch);
        write(model.parameters().all(copy));
        return copy;
    }

    private void write(Map<Place, Tensor> targets) {
        targets.forEach((place, target) -> {
            LearnedTensor values = learned.of(place);
            if (values != null) {
                values.write(target, true);
            }
        });
    }

    /** With the embedding of these weights, or the model's own if there are none. */
    static void embed(Transformer model, @Nullable EmbeddingWeights weights, int length,
            Consumer<Transformer.Embedding> use) {
        if (weights == null) {
            model.withEmbedding(length, use);
            return;
        }
        use.accept(model.embedding(weights, length));
        model.device().synchronize();
    }
}
