package dev.optgptq.calibrate.model;

import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * A decoder-only transformer on a device: the one forward pass, which reads the family's description. Weights come from
 * the directory block by block, plain or packed. It holds no device memory of its own.
 */
public final class Transformer {

    private final ModelSpec spec;
    private final Path path;
    private final Device device;
    private final WeightLoader loader;
    private final ForwardPass forward;

    private Transformer(ModelSpec spec, ModelDirectory directory, Device device) {
        this.spec = spec;
        this.path = directory.path();
        this.device = device;
        this.loader = new WeightLoader(directory, device);
        this.forward = new ForwardPass(spec, device.neural(), device.matrix());
    }

    /**
     * Opens a model; throws UserError when the family is unknown, the tensors contradict config.json, or a weight outside
     * the blocks is not finite. The directory must stay open as long as weights are loaded.
     */
    public static Transformer open(ModelDirectory directory, Device device) {
        return open(directory, ModelSpec.resolve(directory.config()), device);
    }

    /** As above, but with another architecture than config.json describes; the tensors must agree with it. */
    public static Transformer open(ModelDirectory directory, ModelSpec spec, Device device) {
        new TensorCheck(spec, directory).check();
        Transformer model = new Transformer(spec, directory, device);
        model.requireFinite();
        return model;
    }

    /** Those of the blocks are checked as they are loaded; these might never be, and are copied as they are. */
    private void requireFinite() {
        try (TensorArena scratch = device.arena()) {
            loader.requireFinite(spec.names().embedding() + ".weight", embedding(scratch));
            loader.norm(spec.names().finalNorm(), spec.hiddenSize(), scratch);
            String head = spec.names().head() + ".weight";
            if (!spec.tiedHead() && loader.directory().tensors().containsKey(head)) {
                loader.requireFinite(head,
                        loader.asStored(head, spec.vocabSize(), spec.hiddenSize(), scratch));
            }
        }
    }

    public ModelSpec spec() {
        return spec;
    }

    public Device device() {
        return device;
    }

    /** The model directory, for messages. */
    public Path path() {
        return path;
    }

    /** Loads a block's weights, decoded to F32; names any tensor with NaN or infinity in it. */
    public BlockWeights loadBlock(int block, TensorArena arena) {
        ModelSpec.TensorNames names = spec.names();
        List<LinearSpec> linears = spec.linears(block);
        Map<Projection, LinearWeights> weights = new EnumMap<>(Projection.class);
        for (LinearSpec linear : linears) {
            weights.put(linear.projection(),
                    loader.linear(linear.module(), linear.inputs(), linear.outputs(), arena));
        }
        return new BlockWeights(block,
                loader.norm(names.inBlock(block, names.attentionNorm()), spec.hiddenSize(), arena),
                loader.norm(names.inBlock(block, names.mlpNorm()), spec.hiddenSize(), arena), linears, weights);
    }

    /** Loads the final norm and the head, decoded to F32. A tied head is the embedding table. */
    public Head loadHead(TensorArena arena) {
        NormWeights norm = loader.norm(spec.names().finalNorm(), spec.hiddenSize(), arena);
        String module = spec.tiedHead() ? spec.names().embedding() : spec.names().head();
        return new Head(norm, loader.linear(module, spec.hiddenSize(), spec.vocabSize(), arena).weight());
    }

    /** Buffers for batches of up to {@code rows} tokens in sequences of {@code sequenceLength}. */
    public Workspace workspace(TensorArena arena, int rows, int sequenceLength) {
        return ForwardBuffers.allocate(spec, device, arena, rows, sequenceLength);
    }

    /** What workspace() takes on the device. */
    public static long workspaceBytes(ModelSpec spec, int rows, int sequenceLength) {
        return ForwardBuffers.bytes(spec, rows, sequenceLength);
    }

    /** What loadBlock() takes on the device in the end, for any block; packed linears take a copy more for a while. */
    public static long blockBytes(ModelSpec spec) {
        long norms = 2L * spec.hiddenSize() * (spec.norm().bias() ? 2 : 1);
        long linears = spec.linears(0).stream()
                .mapToLong(linear -> linear.outputs() * (linear.inputs() + (linear.bias() ? 1L : 0L))).sum();
        return Float.BYTES * (norms + linears);
    }

    /** Scratch memory of the forward pass. */
    public sealed interface Workspace permits ForwardBuffers {}

    /**
     * x = embeddings of ids: ids I32 [1, N], each in the vocabulary, x F32 [N, hidden]. The table is on the device during
     * the call only; embed many tokens at once.
     */
    public void embed(Tensor ids, Tensor x) {
        try (TensorArena scratch = device.arena()) {
            device.neural().embed(ids, embedding(scratch), x);
            // The table must outlive the op that reads it.
            device.synchronize();
        }
    }

    /** [vocabulary, hidden] in the dtype it is stored in. */
    private Tensor embedding(TensorArena arena) {
        return loader.asStored(spec.names().embedding() + ".weight", spec.vocabSize(), spec.hiddenSize(), arena);
    }

    /**
     * Runs one block in place: x F32 [N, hidden], N a multiple of the workspace's sequence length and at most its rows.
     * When the tap stops it, x is left half done.
     */
    public void forward(BlockWeights block, Tensor x, Workspace workspace, InputTap tap) {
        switch (workspace) {
            case ForwardBuffers buffers -> forward.block(block, x, buffers, tap);
        }
    }

    /** logits = head(norm(x)): x F32 [N, hidden], normed F32 [N, hidden] scratch, logits F32 [N, vocabulary]. */
    public void logits(Head head, Tensor x, Tensor normed, Tensor logits) {
        forward.norm(head.norm(), x, normed);
        device.matrix().linear(normed, head.weight(), null, 0, logits);
    }
}
