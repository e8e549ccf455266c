package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.EmbeddingWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.calibrate.weights.ParameterNames;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.calibrate.weights.PrefetchedTensors;
import dev.optgptq.calibrate.weights.TensorCheck;
import dev.optgptq.calibrate.weights.WeightLoader;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.stream.Collectors;
import java.util.Set;
import java.util.SequencedMap;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * A decoder-only transformer on a device: the one forward pass, which reads the family's description. Weights come from
 * the directory block by block, plain or packed. It holds no device memory of its own, but for what is open from
 * {@link #prefetch}.
 */
public final class Transformer {

    /** Left free on a device of its own memory: the workspaces of its matrix library and of attention, and kernels. */
    public static final long LIBRARIES = 512L << 20;

    private final ModelSpec spec;
    private final ModelDirectory directory;
    private final Device device;
    private final DType products;
    private final PrefetchedTensors prefetched;
    private final WeightLoader loader;
    private final ForwardPass forward;
    private final EmbeddingStep embedding;
    private final HeadStep head;

    private Transformer(ModelSpec spec, ModelDirectory directory, Device device, DType products,
            PrefetchedTensors prefetched) {
        this(spec, directory, device, products, prefetched,
                new WeightLoader(directory, device, products, prefetched));
    }

    private Transformer(ModelSpec spec, ModelDirectory directory, Device device, DType products,
            PrefetchedTensors prefetched, WeightLoader loader) {
        this.spec = spec;
        this.directory = directory;
        this.device = device;
        this.products = products;
        this.prefetched = prefetched;
        this.loader = loader;
        this.forward = ForwardPass.on(device);
        this.embedding = new EmbeddingStep(device, forward.norms());
        this.head = new HeadStep(device, forward.norms());
    }

    /**
     * Opens a model; throws UserError when the family is unknown, the tensors contradict config.json, or a weight outside
     * the blocks is not finite. The directory must stay open as long as weights are loaded.
     */
    public static Transformer open(ModelDirectory directory, Device device) {
        return open(directory, ModelSpec.resolve(directory), device);
    }

    /** As above, but with another architecture than config.json describes; the tensors must agree with it. */
    public static Transformer open(ModelDirectory directory, ModelSpec spec, Device device) {
        new TensorCheck(spec, directory).check();
        Transformer model = new Transformer(spec, directory, device, DType.F32, new PrefetchedTensors());
        model.requireFinite();
        return model;
    }

    /** Those of the blocks are checked on loading; these might never be loaded, and are copied as they are. */
    private void requireFinite() {
        EmbeddingSpec form = spec.embedding();
        try (TensorArena scratch = device.arena()) {
            loader.requireFinite(form.table() + ".weight", spec.vocabSize(), form.width());
            if (form.positions() != null) {
                loader.requireFinite(form.positions().table() + ".weight", form.positions().rows(), spec.hiddenSize());
            }
            if (spec.head().norm() != null) {
                loader.norm(spec.head().norm(), scratch);
            }
            String matrix = spec.head().module() + ".weight";
            if (!spec.head().tied() && directory.tensors().containsKey(matrix)) {
                loader.requireFinite(matrix, spec.vocabSize(), spec.head().width());
            }
        }
    }

    /**
     * The same model with inputs and weights of its linears in this dtype, F32, F16 or BF16: fp16/bf16 products are
     * exact and summed in float32, and everything else stays F32. For forward passes only.
     */
    public Transformer withProducts(DType dtype) {
        return dtype == products ? this : new Transformer(spec, directory, device, dtype, prefetched);
    }

    /**
     * The same model with the weights of linears kept as they are stored, where all of them are of one 16-bit dtype and the device has
     * matrix units for it: inputs stay F32, and products are as exact as with weights in F32. Else this.
     */
    public Transformer withStoredWeights() {
        Set<DType> stored = spec.blockSpecs().stream().flatMap(block -> block.linears().stream())
                .map(linear -> directory.tensors().get(linear.weightTensor()))
                .map(view -> view == null ? DType.F32 : view.dtype()).collect(Collectors.toSet());
        DType only = stored.size() == 1 ? stored.iterator().next() : DType.F32;
        boolean half = only == DType.BF16 || only == DType.F16;
        return half && products == DType.F32 && device.halves(DType.BF16) == Device.Halves.FAST
                ? new Transformer(spec, directory, device, products, prefetched,
                        new WeightLoader(directory, device, only, prefetched))
                : this;
    }

    /** The same model for generation: packed linears stay packed, all else in this dtype. For forward passes only. */
    public Transformer forGeneration(DType dtype) {
        return new Transformer(spec, directory, device, dtype, prefetched,
                new WeightLoader(directory, device, dtype, prefetched).keepingPacked());
    }

    /** Device memory of all its weights, as this model loads them. */
    public long weightBytes() {
        long linears = spec.blockSpecs().stream().flatMap(block -> block.linears().stream())
                .mapToLong(loader::weightBytes).sum();
        long rest = spec.blockSpecs().stream().mapToLong(block -> BlockWeights.bytes(block, DType.F32)
                - block.linears().stream().mapToLong(linear -> 4L * linear.inputs() * linear.outputs()).sum()).sum();
        return linears + rest + Head.bytes(spec) + EmbeddingWeights.bytes(spec);
    }

    /** The same model on another device. */
    Transformer on(Device other) {
        return other.equals(device) ? this : new Transformer(spec, directory, other, products, new PrefetchedTensors());
    }

    public ModelSpec spec() {
        return spec;
    }

    WeightLoader loader() {
        return loader;
    }

    /** The matmul dtype of its linears. */
    public DType products() {
        return products;
    }

    public Device device() {
        return device;
    }

    /** The model directory, for messages. */
    public Path path() {
        return directory.path();
    }

    /** Loads a block's weights, decoded; names any tensor with NaN or infinity in it. */
    public BlockWeights loadBlock(int block, TensorArena arena) {
        return BlockWeights.load(spec.block(block), loader, arena);
    }

    /** The same with the linears of one expert at a time, each loaded when it is needed. */
    public BlockWeights streamBlock(int block, TensorArena arena) {
        return BlockWeights.stream(spec.block(block), loader, arena);
    }

    /** The block, of the same form as on another device. */
    BlockWeights like(BlockWeights other, TensorArena arena) {
        return other.streamsExperts() ? streamBlock(other.index(), arena) : loadBlock(other.index(), arena);
    }

    /**
     * Prefetches blocks; one prefetch at a time, which the caller closes before the model's directory.
     *
     * @param room limit of its device memory; with less than {@link #prefetchBytes} it takes none
     */
    public Prefetch prefetch(long room) {
        return Prefetch.of(spec, List.of(loader), room);
    }

    /** Device memory of prefetch(): two blocks as they are stored; nothing where weights need not go there. */
    public long prefetchBytes() {
        return Prefetch.deviceBytes(spec, loader);
    }

    /**
     * The device memory left for prefetch() beside other allocations while it is open.
     *
     * @param bytes of the other allocations
     */
    public long roomBeside(long bytes) {
        return device.freeMemory().orElse(0) - bytes - LIBRARIES;
    }

    /** Loads the final norm and the head, decoded. A tied head is the embedding table. */
    public Head loadHead(TensorArena arena) {
        return Head.load(spec, loader, arena);
    }

    /** The same head with a copy of its norm, which can be overwritten; the arena owns that. */
    public Head withOwnNorm(Head head, TensorArena arena) {
        return head.withOwnNorm(device, arena);
    }

    /** All norms by their names on disk, as they are stored there: [1, n] each, in its own dtype. Only to be read. */
    public SequencedMap<String, Tensor> loadNorms(TensorArena arena) {
        SequencedMap<String, Tensor> norms = new LinkedHashMap<>();
        for (NormSpec.Stored norm : spec.normTensors()) {
            norms.put(norm.tensor(), loader.copied(norm.tensor(), 1, norm.columns(), arena));
        }
        return norms;
    }

    /** Buffers for batches of up to {@code rows} tokens in sequences of {@code sequenceLength}. */
    public Workspace workspace(TensorArena arena, int rows, int sequenceLength) {
        return ForwardBuffers.allocate(spec, products, device, arena, rows, sequenceLength);
    }

    /** Device memory of workspace(). */
    public static long workspaceBytes(ModelSpec spec, DType products, int rows, int sequenceLength) {
        return ForwardBuffers.bytes(spec, products, rows, sequenceLength);
    }

    /** Device memory of a loaded block, the largest; packed linears temporarily take one more copy. */
    public static long blockBytes(ModelSpec spec, DType products) {
        return spec.blockSpecs().stream().mapToLong(block -> BlockWeights.bytes(block, products)).max().orElse(0);
    }

    /** Device memory of a block with streamed experts, the largest. */
    public static long streamedBytes(ModelSpec spec, DType products) {
        return spec.most(block -> BlockWeights.streamedBytes(block, products));
    }

    /**
     * Changes the weight of one linear, which is given in F32 [outputs, inputs] and then kept in the matmul dtype; that of a
     * streamed expert is not kept.
     *
     * @param edit writes to the tensor, and may return something
     */
    public <T> T rewrite(BlockWeights block, LinearSpec linear, Function<Tensor, T> edit) {
        Tensor weight = block.weight(linear);
        try (TensorArena scratch = device.arena()) {
            if (weight.dtype() == DType.F32) {
                return edit.apply(weight);
            }
            Tensor widened = scratch.matrix(DType.F32, weight.rows(), weight.columns());
            device.neural().convert(weight, widened);
            T result = edit.apply(widened);
            device.neural().convert(widened, weight);
            return result;
        } finally {
            block.overwritten(linear);
        }
    }

    /** Scratch memory of the forward pass. */
    public sealed interface Workspace permits ForwardBuffers {}

    /**
     * x = embeddings of ids: ids I32 [1, N], each in the vocabulary, in sequences of {@code sequenceLength}, x F32 [N,
     * hidden]. The table is on the device during the call only; embed many tokens at once, or use withEmbedding.
     */
    public void embed(Tensor ids, int sequenceLength, Tensor x) {
        withEmbedding(sequenceLength, each -> each.embed(ids, x));
    }

    /** Embeds several times, keeping the table on the device. */
    public void withEmbedding(int sequenceLength, Consumer<Embedding> use) {
        try (TensorArena scratch = device.arena()) {
            EmbeddingWeights weights = loadEmbedding(scratch);
            TensorView table = directory.tensor(spec.embedding().table() + ".weight");
            use.accept((ids, x) -> table.reading(() -> embedding.forward(weights, ids, sequenceLength, x)));
            // The table must outlive the ops that read it.
            device.synchronize();
        }
    }

    /** Embeds with other weights than the model's. */
    public Embedding embedding(EmbeddingWeights weights, int sequenceLength) {
        return (ids, x) -> embedding.forward(weights, ids, sequenceLength, x);
    }

    /** Loads the embedding. */
    public EmbeddingWeights loadEmbedding(TensorArena arena) {
        return EmbeddingWeights.load(spec, loader, arena);
    }

    /** The embedding table on the device: x = embeddings of ids, as in embed. */
    @FunctionalInterface
    public interface Embedding {
        void embed(Tensor ids, Tensor x);
    }

    /**
     * Runs one block in place: x F32 [N, hidden], N a multiple of the workspace's sequence length and at most its rows.
     * When the tap stops it, x is incomplete.
     */
    public void forward(BlockWeights block, Tensor x, Workspace workspace, InputTap tap) {
        switch (workspace) {
            case ForwardBuffers buffers ->
                forward.block(block, x, buffers, buffers.sequences(device.neural(), x.rows()), tap);
        }
    }

    /** The same for rows in another context than whole sequences, N at most the workspace's rows. */
    public void forward(BlockWeights block, Tensor x, Workspace workspace, TokenContext context, InputTap tap) {
        switch (workspace) {
            case ForwardBuffers buffers -> forward.block(block, x, buffers, context, tap);
        }
    }

    /**
     * Buffers for up to {@code rows} tokens of sequences of up to {@code positions}, whose earlier tokens are in pages.
     */
    public Workspace pagedWorkspace(TensorArena arena, int rows, int positions) {
        return ForwardBuffers.allocatePaged(spec, products, device, arena, rows, positions);
    }

    /**
     * New tokens of sequences whose earlier tokens are in pages.
     *
     * @param workspace a paged one
     * @param pages of each block
     * @param positions I32 [1, N], each below the workspace's
     * @param slots I32 [1, N]: where each row's keys and values go
     */
    public TokenContext pagedSequences(Workspace workspace, List<CachePages> pages, CacheRows rows, Tensor positions,
            Tensor slots) {
        return switch (workspace) {
            case ForwardBuffers buffers ->
                new PagedSequences(device.cache(), buffers.tables(), pages, rows, positions, slots);
        };
    }

    /**
     * x = embeddings of ids: ids I32 [1, N], x F32 [N, hidden].
     *
     * @param positionRows I32 [1, N]: the row of each token in the table of positions; read where the model has one
     */
    public void embed(EmbeddingWeights weights, Tensor ids, Tensor positionRows, Tensor x) {
        embedding.forward(weights, ids, positionRows, x);
    }

    /** The context of whole sequences, to which an observing context may delegate. */
    public TokenContext wholeSequences(Workspace workspace, long rows) {
        return switch (workspace) {
            case ForwardBuffers buffers -> buffers.sequences(device.neural(), rows);
        };
    }

    /** The backward pass, from the loss to the weights. */
    public Backward backward() {
        return new Backward(spec, device, forward);
    }

    /** Its parameters by their names on disk. */
    public ParameterNames parameters() {
        return new ParameterNames(spec);
    }

    /** logits = head(norm(x)): x F32 [N, hidden], normed F32 [N, hidden] scratch, logits F32 [N, vocabulary]. */
    public void logits(Head weights, Tensor x, Tensor normed, Tensor logits) {
        head.forward(weights, x, normed, logits);
    }

    /** Device memory of a loaded head. */
    public static long headBytes(ModelSpec spec) {
        return Head.bytes(spec);
    }
}
