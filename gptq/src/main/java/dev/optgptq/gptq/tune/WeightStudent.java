package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.EmbeddingWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.calibrate.weights.ParameterKind;
import dev.optgptq.calibrate.weights.ParameterNames.Place;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A model whose weights are learned, all of them or those of attention, on the device: what is learned in float32, and where
 * products are in bfloat16 beside it what computes.
 */
public final class WeightStudent implements Learner, AutoCloseable {

    private final Transformer model;
    private final Device device;
    private final Scope scope;
    private final double decay;
    private final TensorArena arena;
    private final List<BlockWeights> blocks = new ArrayList<>();
    private final Head head;
    /** The model's own head, for the teacher; the learner's where that is not learned. */
    private final Head ownHead;
    private final EmbeddingWeights embedding;
    private final DType products;
    private final LearnedParameters learned;

    /** What is learned. */
    public enum Scope {
        /** the linears of attention */
        ATTENTION,
        /** every parameter */
        ALL;

        public boolean learns(LinearSpec linear) {
            return this == ALL || !linear.site().ofMlp();
        }
    }

    /**
     * Loads the model.
     *
     * @param products matmul dtype of the linears of its blocks: F32 or BF16
     * @param stored the dtype in which a parameter will be stored, by its name
     * @param decay of AdamW
     */
    public WeightStudent(Transformer model, DType products, Function<String, DType> stored, Scope scope,
            double decay) {
        this.model = model;
        this.device = model.device();
        this.products = products;
        this.scope = scope;
        this.decay = decay;
        this.learned = new LearnedParameters(device);
        this.arena = device.arena();
        try {
            Transformer fast = model.withProducts(products);
            this.head = fast.loadHead(arena);
            this.ownHead = scope == Scope.ALL ? fast.loadHead(arena) : head;
            this.embedding = ownEmbedding();
            if (scope == Scope.ALL) {
                learn(model.parameters().all(embedding), stored);
            }
            for (int index = 0; index < model.spec().blocks(); index++) {
                learnBlock(index, stored);
            }
            if (scope == Scope.ALL) {
                learnHead(stored);
            }
        } catch (RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /** A copy, in float32 where it is learned; the table is the head's where they are tied and it computes in float32. */
    private EmbeddingWeights ownEmbedding() {
        EmbeddingWeights loaded = model.loadEmbedding(arena);
        boolean shared = scope == Scope.ALL && isTied() && products == DType.F32;
        Tensor positions = loaded.positions();
        EmbeddingWeights own = new EmbeddingWeights(loaded.spec(), shared ? head.weight() : copied(loaded.table()),
                loaded.projection(), positions == null ? null : copied(positions), loaded.norm());
        device.synchronize();
        return own;
    }

    private boolean isTied() {
        return model.spec().head().tied();
    }

    private Tensor copied(Tensor tensor) {
        if (scope == Scope.ALL) {
            return widened(tensor);
        }
        Tensor copy = arena.matrix(tensor.dtype(), tensor.rows(), tensor.columns());
        device.matrix().copy(tensor, copy);
        return copy;
    }

    private Tensor widened(Tensor tensor) {
        Tensor wide = arena.matrix(DType.F32, tensor.rows(), tensor.columns());
        device.neural().convert(tensor, wide);
        return wide;
    }

    private void learn(Map<Place, Tensor> parameters, Function<String, DType> stored) {
        parameters.forEach((place, values) -> {
            DType dtype = stored.apply(place.tensor());
            // A head that computes in half precision follows the table that it is tied to.
            boolean ofHead = isTied() && products != DType.F32
                    && place.tensor().equals(Head.matrixName(model.spec()) + ".weight");
            learned.put(place, ofHead
                    ? LearnedTensor.inPlace(device, arena, values, head.weight(), dtype)
                    : LearnedTensor.inPlace(device, arena, values, dtype));
        });
    }

    private void learnBlock(int index, Function<String, DType> stored) {
        BlockWeights block = model.withProducts(products).loadBlock(index, arena);
        blocks.add(block);
        Set<String> linears = block.linears().stream().filter(scope::learns)
                .flatMap(linear -> Stream.of(linear.weightTensor(), linear.biasTensor())).collect(Collectors.toSet());
        learn(model.parameters().all(block), scratch -> model.parameters().all(model.loadBlock(index, scratch)),
                name -> scope == Scope.ALL || linears.contains(name), stored);
    }

    private void learnHead(Function<String, DType> stored) {
        learn(model.parameters().all(head), scratch -> model.parameters().all(model.loadHead(scratch)), name -> true,
                stored);
    }

    /**
     * What computes, and is not learned yet.
     *
     * @param exact loads the same in float32
     */
    private void learn(Map<Place, Tensor> factors, Function<TensorArena, SequencedMap<Place, Tensor>> exact,
            Predicate<String> wanted, Function<String, DType> stored) {
        try (TensorArena scratch = device.arena()) {
            Map<Place, Tensor> values = products == DType.F32 ? factors : exact.apply(scratch);
            factors.forEach((place, factor) -> {
                if (!wanted.test(place.tensor()) || learned.of(place) != null) {
                    return;
                }
                DType dtype = stored.apply(place.tensor());
                learned.put(place, factor.dtype() == DType.F32
                        ? LearnedTensor.inPlace(device, arena, factor, dtype)
                        : LearnedTensor.inPlace(device, arena, widened(Objects.requireNonNull(values.get(place))),
                                factor, dtype));
            });
            device.synchronize();
        }
    }

    @Override
    public DType products() {
        return products;
    }

    @Override
    public GradientStream.Blocks weights(boolean stored) {
        return stored ? new RoundedWeights(model, scope == Scope.ALL ? embedding : null, learned) : new Own();
    }

    /** The learned parameters, in place. */
    private final class Own implements GradientStream.Blocks {
        @Override
        public BlockWeights load(int block, TensorArena owner) {
            return blocks.get(block);
        }

        @Override
        public Head ownHead(Transformer unused, TensorArena owner) {
            return ownHead;
        }

        @Override
        public Head head(Head own, TensorArena owner) {
            return head;
        }

        @Override
        public void withEmbedding(Transformer unused, int length, Consumer<Transformer.Embedding> use) {
            RoundedWeights.embed(model, embedding, length, use);
        }
    }

    private Set<ParameterKind> kinds() {
        return scope == Scope.ALL
                ? EnumSet.allOf(ParameterKind.class)
                : EnumSet.of(ParameterKind.LINEAR);
    }

    @Override
    public BlockWeights zeroGradients(BlockWeights block, TensorArena owner) {
        return model.backward().zeroGradients(block, owner, kinds(), scope::learns);
    }

    @Override
    public @Nullable Head zeroGradients(Head ofHead, TensorArena owner) {
        return scope == Scope.ALL ? model.backward().zeroGradients(ofHead, owner, kinds()) : null;
    }

    @Override
    public void add(BlockWeights gradients) {
        learned.add(model.parameters().all(gradients));
    }

    @Override
    public void add(Head gradients) {
        learned.add(model.parameters().all(gradients));
    }

    @Override
    public void addEmbedded(Tensor ids, int sequenceLength, Tensor d) {
        if (scope != Scope.ALL) {
            return;
        }
        try (TensorArena scratch = device.arena()) {
            EmbeddingWeights sums = embedding.zeros(device, scratch);
            model.backward().embedding(embedding, ids, sequenceLength, d, sums);
            learned.add(model.parameters().all(sums));
            device.synchronize();
        }
    }

    @Override
    public boolean step(Schedule schedule, int step, double factor) {
        return learned.step(schedule, step, factor, decay);
    }

    @Override
    public void keep() {
        learned.keep();
    }

    @Override
    public void revert() {
        learned.revert();
    }

    /** Of the gradients of what is learned, in float32. */
    public long learnedBytes() {
        return learned.bytes();
    }

    /** The state kept last, by name, as stored. */
    public SequencedMap<String, Tensor> kept() {
        return learned.kept();
    }

    /** All state of the learning, by name: to be saved and, before {@link #restored}, written again. */
    public SequencedMap<String, Tensor> state() {
        return learned.state();
    }

    /** The state was written. */
    public void restored() {
        learned.changed();
    }

    @Override
    public void close() {
        arena.close();
    }
}
