package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.weights.EmbeddingWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import java.util.List;

/** What the forward pass of new tokens needs beside that of whole sequences: their sequences' earlier tokens are in pages. */
public final class PagedForward {

    private final ModelSpec spec;
    private final DType products;
    private final Device device;
    private final EmbeddingStep embedding;

    PagedForward(ModelSpec spec, DType products, Device device, EmbeddingStep embedding) {
        this.spec = spec;
        this.products = products;
        this.device = device;
        this.embedding = embedding;
    }

    /** Buffers for up to {@code rows} tokens of sequences of up to {@code positions}. */
    public Transformer.Workspace workspace(TensorArena arena, int rows, int positions) {
        return ForwardBuffers.allocatePaged(spec, products, device, arena, rows, positions);
    }

    /**
     * The context of new tokens.
     *
     * @param workspace a paged one
     * @param pages of each block
     * @param positions I32 [1, N], each below the workspace's
     * @param slots I32 [1, N]: where each row's keys and values go
     */
    public TokenContext sequences(Transformer.Workspace workspace, List<CachePages> pages, CacheRows rows,
            Tensor positions, Tensor slots) {
        return switch (workspace) {
            case ForwardBuffers buffers ->
                new PagedSequences(device.cache(), device.fused(), buffers.tables(), pages, rows, positions, slots);
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
}
