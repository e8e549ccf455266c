package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.weights.EmbeddingWeights;
import dev.optgptq.calibrate.data.SequenceRange;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Backward;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Batch after batch forward and backward through a model on the device: nothing is loaded or computed twice. */
final class ResidentPass {

    private final GradientStream stream;
    private final Transformer model;
    private final BatchScratch scratch;

    ResidentPass(GradientStream stream, BatchScratch scratch) {
        this.stream = stream;
        this.model = stream.model();
        this.scratch = scratch;
    }

    /** Its device memory beside the scratch, which has one of the traces, and the head; without sums. */
    static long bytes(ModelSpec spec, DType products, int rows, int sequenceLength) {
        long blocks = spec.blocks();
        long weights = spec.blockSpecs().stream().mapToLong(block -> BlockWeights.bytes(block, products)).sum();
        return weights + EmbeddingWeights.bytes(spec) + (blocks - 1) * Backward.traceBytes(spec, rows, sequenceLength)
                + Float.BYTES * (blocks + 1) * rows * spec.hiddenSize();
    }

    /** A block, the sums of its gradients, and its trace of a batch. */
    private record Level(BlockWeights block, @Nullable BlockWeights gradients, Tensor input, Backward.Trace trace) {}

    void run(SequenceRange range, float factor, GradientStream.Listener listener) {
        try (TensorArena arena = model.device().arena()) {
            List<Level> levels = levels(arena, listener);
            Tensor output = arena.matrix(DType.F32, scratch.rows(), model.spec().hiddenSize());
            Head own = stream.blocks().ownHead(model, arena);
            Head head = stream.blocks().head(own, arena);
            Head headGradients = listener.headGradients(head, arena);
            HeadPass loss = new HeadPass(stream, own, head, headGradients, arena, scratch.rows());
            stream.blocks().withEmbedding(model, stream.text().length(),
                    embedding -> scratch.eachBatch(range, (token, count) -> {
                        Tensor ids = scratch.ids(token, count);
                        embedding.embed(ids, levels.getFirst().input().rows(0, count));
                        forward(levels, output, count);
                        scratch.report("head", count);
                        Tensor d = scratch.d(count);
                        loss.run(token, output.rows(0, count), d, factor, listener);
                        backward(levels, token, d, listener);
                        listener.embedded(ids, d);
                    }));
            for (Level level : levels.reversed()) {
                if (level.gradients() != null) {
                    listener.blockDone(level.gradients());
                }
            }
            if (headGradients != null) {
                listener.headDone(headGradients);
            }
            model.device().synchronize();
        }
    }

    private List<Level> levels(TensorArena arena, GradientStream.Listener listener) {
        List<Level> levels = new ArrayList<>();
        for (int index = 0; index < model.spec().blocks(); index++) {
            stream.blocks().wants(index, index + 1);
            BlockWeights block = stream.blocks().load(index, arena);
            levels.add(new Level(block, listener.gradients(block, arena),
                    arena.matrix(DType.F32, scratch.rows(), model.spec().hiddenSize()),
                    index == 0
                            ? Backward.tracePart(scratch.backward())
                            : model.backward().trace(arena, scratch.backward())));
        }
        return levels;
    }

    private void forward(List<Level> levels, Tensor output, long count) {
        for (int index = 0; index < levels.size(); index++) {
            scratch.report("forward, block " + (index + 1) + "/" + levels.size(), count);
            Level level = levels.get(index);
            Tensor next = index + 1 < levels.size() ? levels.get(index + 1).input() : output;
            model.backward().forwardTracing(level.block(), level.input().rows(0, count), next.rows(0, count),
                    level.trace());
        }
    }

    private void backward(List<Level> levels, long token, Tensor d, GradientStream.Listener listener) {
        for (int index = levels.size() - 1; index >= 0; index--) {
            scratch.report("backward, block " + (index + 1) + "/" + levels.size(), 2 * d.rows());
            Level level = levels.get(index);
            model.backward().block(level.block(), level.input().rows(0, d.rows()), d, level.trace(), scratch.backward(),
                    listener.tap(index, token), level.gradients());
        }
    }
}
