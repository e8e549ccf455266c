package dev.optgptq.calibrate.model;

import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/**
 * A decoder-only transformer on a device: the one forward pass, which reads the family's description. Weights come from
 * the directory block by block, plain or packed.
 */
public final class Transformer {

    /** Opens a model; throws UserError when the family is unknown or the tensors contradict config.json. */
    public static Transformer open(ModelDirectory directory, Device device) {
        throw new UnsupportedOperationException("not written yet");
    }

    private Transformer() {}

    public ModelSpec spec() {
        throw new UnsupportedOperationException("not written yet");
    }

    public Device device() {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Loads a block's weights, decoded to F32; names any tensor with NaN or infinity in it. */
    public BlockWeights loadBlock(int block, TensorArena arena) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Buffers for batches of up to {@code rows} tokens in sequences of {@code sequenceLength}. */
    public Workspace workspace(TensorArena arena, int rows, int sequenceLength) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Scratch memory of the forward pass. */
    public interface Workspace {}

    /** x = embeddings of ids: ids I32 [1, N], x F32 [N, hidden]. */
    public void embed(Tensor ids, Tensor x) {
        throw new UnsupportedOperationException("not written yet");
    }

    /** Runs one block in place: x F32 [N, hidden], N a multiple of the workspace's sequence length. */
    public void forward(BlockWeights block, Tensor x, Workspace workspace, InputTap tap) {
        throw new UnsupportedOperationException("not written yet");
    }
}
