package dev.optgptq.calibrate.model;

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
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.function.Consumer;

/**
 * A decoder-only transformer on a device: the one forward pass, which reads the family's description. Weights come from
 * the directory block by block, plain or packed. It holds no device memory of its own, but for what is open from
 * {@link #prefetch}.
 */
public final class Transformer {

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
        this.head = new HeadStep(device, forward.norms(), products);
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
        new StoredWeights(spec, directory).requireFinite(device, model.loader);
        return model;
    }

    /**
     * The same model with inputs and weights of its linears in this dtype, F32, F16 or BF16: fp16/bf16 products are
     * exact and summed in float32, and everything else stays F32. Gradients keep BF16's range alone; their head must be F32.
     */
    public Transformer withProducts(DType dtype) {
        return dtype == products ? this : new Transformer(spec, directory, device, dtype, prefetched);
    }

    /**
     * The same model with the weights of linears kept as they are stored, where all of them are of one 16-bit dtype and the device has
     * matrix units for it: inputs stay F32, and products are as exact as with weights in F32. Else this.
     */
    public Transformer withStoredWeights() {
        DType only = new StoredWeights(spec, directory).dtypeOfLinears();
        boolean half = only == DType.BF16 || only == DType.F16;
        return half && products == DType.F32 && device.isAccelerator()
                && device.halves(DType.BF16) == Device.Halves.FAST
                        ? new Transformer(spec, directory, device, products, prefetched,
                                new WeightLoader(directory, device, only, prefetched))
                        : this;
    }

    /** The same model for generation: packed linears stay packed, all else in this dtype. For forward passes only. */
    public Transformer forGeneration(DType dtype) {
        return new Transformer(spec, directory, device, dtype, prefetched,
                new WeightLoader(directory, device, dtype, prefetched).keepingPacked());
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
        return device.freeMemory().orElse(0) - bytes - ModelMemory.LIBRARIES;
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

    /**
     * Runs the mixture of a block alone, for what its linears receive: input F32 [N, hidden] as {@link InputTap#mixtureInput} had
     * it, N as in forward.
     */
    public void mixture(BlockWeights block, Tensor input, Workspace workspace, InputTap tap) {
        switch (workspace) {
            case ForwardBuffers buffers ->
                forward.mixture(block, input, buffers, buffers.sequences(device.neural(), input.rows()), tap);
        }
    }

    /** The same for rows in another context than whole sequences, N at most the workspace's rows. */
    public void forward(BlockWeights block, Tensor x, Workspace workspace, TokenContext context, InputTap tap) {
        switch (workspace) {
            case ForwardBuffers buffers -> forward.block(block, x, buffers, context, tap);
        }
    }

    /** The context of whole sequences, to which an observing context may delegate. */
    public TokenContext wholeSequences(Workspace workspace, long rows) {
        return switch (workspace) {
            case ForwardBuffers buffers -> buffers.sequences(device.neural(), rows);
        };
    }

    /** The forward pass of new tokens whose sequences are in pages. */
    public PagedForward paged() {
        return new PagedForward(spec, products, device, embedding);
    }

    /** The backward pass, from the loss to the weights. */
    public Backward backward() {
        return new Backward(spec, products, device, forward);
    }

    /** Its parameters by their names on disk. */
    public ParameterNames parameters() {
        return new ParameterNames(spec);
    }

    /** logits = head(norm(x)): x F32 [N, hidden], normed F32 [N, hidden] scratch, logits F32 [N, vocabulary]. */
    public void logits(Head weights, Tensor x, Tensor normed, Tensor logits) {
        head.forward(weights, x, normed, logits);
    }
}
