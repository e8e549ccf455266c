package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.EmbeddingWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.calibrate.weights.ParameterKind;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.EnumSet;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** The backward pass of a transformer: gradients of a loss for the activations, and optionally for the parameters. */
public final class Backward {

    private final ModelSpec spec;
    private final DType products;
    private final Device device;
    private final BackwardPass pass;
    private final HeadStep headStep;
    private final EmbeddingStep embedding;

    Backward(ModelSpec spec, DType products, Device device, ForwardPass forward) {
        this.spec = spec;
        this.products = products;
        this.device = device;
        this.pass = new BackwardPass(device, forward);
        this.headStep = new HeadStep(device, forward.norms(), products);
        this.embedding = new EmbeddingStep(device, forward.norms());
    }

    /** Buffers for backward passes of batches of up to {@code rows} tokens in sequences of {@code sequenceLength}. */
    public Workspace workspace(TensorArena arena, int rows, int sequenceLength) {
        return BackwardBuffers.allocate(spec, products, device, arena, rows, sequenceLength);
    }

    /** Device memory of workspace() and of the passes that use it, with products in float32. */
    public static long workspaceBytes(ModelSpec spec, int rows, int sequenceLength) {
        return workspaceBytes(spec, DType.F32, rows, sequenceLength);
    }

    /** The same with others. */
    public static long workspaceBytes(ModelSpec spec, DType products, int rows, int sequenceLength) {
        return BackwardBuffers.bytes(spec, products, rows, sequenceLength);
    }

    /** The part of it that forward passes use, between backward passes. */
    public static Transformer.Workspace forwardPart(Workspace workspace) {
        return switch (workspace) {
            case BackwardBuffers buffers -> buffers.trace().forward();
        };
    }

    /** Scratch memory of the backward pass. */
    public sealed interface Workspace permits BackwardBuffers {}

    /** Intermediate results of a forward pass through one block, so that the backward pass need not recompute them. */
    public sealed interface Trace permits BlockTrace {}

    /** Room for the trace of a batch as large as those of the workspace. */
    public Trace trace(TensorArena arena, Workspace like) {
        return switch (like) {
            case BackwardBuffers buffers -> buffers.trace().another(spec, arena);
        };
    }

    /** The room that the workspace itself has for one. */
    public static Trace tracePart(Workspace workspace) {
        return switch (workspace) {
            case BackwardBuffers buffers -> buffers.trace();
        };
    }

    /** Device memory of trace(). */
    public static long traceBytes(ModelSpec spec, int rows, int sequenceLength) {
        return BlockTrace.bytes(spec, rows, sequenceLength);
    }

    /**
     * Runs one block: x F32 [N, hidden] its input, left as it is, y F32 [N, hidden] its output, written, with the same
     * bits as forward. N as there.
     */
    public void forwardTracing(BlockWeights block, Tensor x, Tensor y, Trace trace) {
        switch (trace) {
            case BlockTrace kept -> pass.tracing(block, x, y, kept);
        }
    }

    /** As above, through a block whose trace forwardTracing has left, which is overwritten. */
    public void block(BlockWeights block, Tensor x, Tensor d, Trace trace, Workspace workspace,
            OutputTap tap, @Nullable BlockWeights into) {
        switch (workspace) {
            case BackwardBuffers buffers -> {
                switch (trace) {
                    case BlockTrace kept -> pass.traced(block, x, d, kept, buffers, tap, into);
                }
            }
        }
    }

    /**
     * The gradient through one block, which is recomputed from its input: x F32 [N, hidden] the block's input, left as
     * it is; d F32 [N, hidden] the gradient for its output, replaced by that for its input. N as in forward.
     *
     * @param into gradients of the parameters, from zeroGradients, to which this batch's are added; null if they are
     *     not wanted
     */
    public void block(BlockWeights block, Tensor x, Tensor d, Workspace workspace, OutputTap tap,
            @Nullable BlockWeights into) {
        switch (workspace) {
            case BackwardBuffers buffers ->
                pass.block(block, x, d, buffers, tap, into);
        }
    }

    /**
     * Forward and backward through one block, for a loss of its output: x F32 [N, hidden] the block's input, left as it
     * is; y F32 [N, hidden] written: in the end the gradient for the input. N as in forward.
     *
     * @param into gradients of the parameters, from zeroGradients, to which this batch's are added
     */
    public void forwardBackward(BlockWeights block, Tensor x, Tensor y, Workspace workspace, OutputLoss loss,
            BlockWeights into) {
        switch (workspace) {
            case BackwardBuffers buffers -> pass.through(block, x, y, buffers, loss, into);
        }
    }

    /**
     * The gradient through the head.
     *
     * @param x F32 [N, hidden]
     * @param normed F32 [N, hidden] as logits left it, overwritten
     * @param capped F32 [N, vocabulary] as logits left them; only read where the family caps them, so that elsewhere it may
     *     be dLogits
     * @param dLogits F32 [N, vocabulary], overwritten
     * @param d F32 [N, hidden], written
     */
    public void head(Head head, Tensor x, Tensor normed, Tensor capped, Tensor dLogits, Tensor d, @Nullable Head into) {
        headStep.backward(head, x, normed, capped, dLogits, d, into);
    }

    /**
     * Adds to the gradients of the embedding's parameters: ids I32 [1, N], d F32 [N, hidden] the gradient for the
     * stream, left as it is.
     */
    public void embedding(EmbeddingWeights weights, Tensor ids, int sequenceLength, Tensor d, EmbeddingWeights into) {
        embedding.backward(weights, ids, sequenceLength, d, into);
    }

    /** Tensors that sum the gradients of all of a block's parameters, initially zero; the arena owns them. */
    public BlockWeights zeroGradients(BlockWeights block, TensorArena arena) {
        return zeroGradients(block, arena, EnumSet.allOf(ParameterKind.class));
    }

    /** The same for only these kinds; the others are not computed. */
    public BlockWeights zeroGradients(BlockWeights block, TensorArena arena, Set<ParameterKind> kinds) {
        return zeroGradients(block, arena, kinds, linear -> true);
    }

    /** The same for only some of the linears. */
    public BlockWeights zeroGradients(BlockWeights block, TensorArena arena, Set<ParameterKind> kinds,
            Predicate<LinearSpec> linears) {
        return block.zeros(device, arena, kinds, linears);
    }

    /** Tensors that sum the gradients of all of the head's parameters, initially zero; the arena owns them. */
    public Head zeroGradients(Head head, TensorArena arena) {
        return zeroGradients(head, arena, EnumSet.allOf(ParameterKind.class));
    }

    /** The same for only these kinds; the others are not computed. */
    public Head zeroGradients(Head head, TensorArena arena, Set<ParameterKind> kinds) {
        return head.zeros(device, arena, kinds);
    }
}
