package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.SequenceRange;
import dev.optgptq.calibrate.model.Backward;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.List;

/**
 * Some sequences that pass through the model block by block, with the input of every block, and after the last one
 * first its output, then the gradients.
 */
final class StreamedGroup implements AutoCloseable {

    private final GradientStream stream;
    private final Transformer model;
    private final Device device;
    private final SequenceRange range;
    private final long firstToken;
    private final BatchScratch scratch;
    private final List<ActivationStore> inputs = new ArrayList<>();

    StreamedGroup(GradientStream stream, SequenceRange range, BatchScratch scratch) {
        this.stream = stream;
        this.model = stream.model();
        this.device = model.device();
        this.range = range;
        this.firstToken = (long) range.from() * stream.text().length();
        this.scratch = scratch;
        int stores = model.spec().blocks() + 1;
        try {
            for (int i = 0; i < stores; i++) {
                inputs.add(new ActivationStore((long) range.count() * stream.text().length(),
                        model.spec().hiddenSize(), stream.limits().memoryBytes() / stores));
            }
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    void forward() {
        stream.blocks().withEmbedding(model, stream.text().length(),
                embedding -> scratch.eachBatch(range, (token, count) -> {
                    Tensor x = scratch.x(count);
                    embedding.embed(scratch.ids(token, count), x);
                    inputs.getFirst().write(device, token - firstToken, x);
                }));
        int depth = model.spec().blocks();
        Transformer.Workspace workspace = Backward.forwardPart(scratch.backward());
        for (int index = 0; index < depth; index++) {
            stream.blocks().wants(index, index + 1 < depth ? index + 1 : depth - 2);
            try (TensorArena arena = device.arena()) {
                BlockWeights block = stream.blocks().load(index, arena);
                ActivationStore from = inputs.get(index);
                ActivationStore to = inputs.get(index + 1);
                int level = index;
                scratch.eachBatch(range, (token, count) -> {
                    scratch.report("forward, block " + (level + 1) + "/" + depth, count);
                    Tensor x = scratch.x(count);
                    from.read(device, token - firstToken, x);
                    model.forward(block, x, workspace, InputTap.NONE);
                    to.write(device, token - firstToken, x);
                });
                device.synchronize();
            }
        }
    }

    /** The output of the last block becomes the gradient for it, where that is wanted. */
    void head(float factor, GradientStream.Listener listener, boolean differentiate) {
        ActivationStore last = inputs.getLast();
        try (TensorArena arena = device.arena()) {
            Head own = stream.blocks().ownHead(model, arena);
            Head head = stream.blocks().head(own, arena);
            Head gradients = differentiate ? listener.headGradients(head, arena) : null;
            HeadPass work = new HeadPass(stream, own, head, gradients, arena, scratch.rows());
            scratch.eachBatch(range, (token, count) -> {
                scratch.report("head", count);
                Tensor x = scratch.x(count);
                last.read(device, token - firstToken, x);
                Tensor d = scratch.d(count);
                work.run(token, x, differentiate ? d : null, factor, listener);
                if (differentiate) {
                    last.write(device, token - firstToken, d);
                }
            });
            if (gradients != null) {
                listener.headDone(gradients);
            }
            device.synchronize();
        }
    }

    void backward(GradientStream.Listener listener) {
        ActivationStore last = inputs.getLast();
        int depth = model.spec().blocks();
        for (int index = depth - 1; index >= 0; index--) {
            stream.blocks().wants(index, index - 1);
            try (TensorArena arena = device.arena()) {
                BlockWeights block = stream.blocks().load(index, arena);
                BlockWeights gradients = listener.gradients(block, arena);
                ActivationStore from = inputs.get(index);
                int level = index;
                scratch.eachBatch(range, (token, count) -> {
                    scratch.report("backward, block " + (level + 1) + "/" + depth, 3 * count);
                    Tensor x = scratch.x(count);
                    Tensor d = scratch.d(count);
                    from.read(device, token - firstToken, x);
                    last.read(device, token - firstToken, d);
                    model.backward().block(block, x, d, scratch.backward(), listener.tap(level, token), gradients);
                    last.write(device, token - firstToken, d);
                });
                if (gradients != null) {
                    listener.blockDone(gradients);
                }
                device.synchronize();
            }
        }
        scratch.eachBatch(range, (token, count) -> {
            Tensor d = scratch.d(count);
            last.read(device, token - firstToken, d);
            listener.embedded(scratch.ids(token, count), d);
        });
    }

    @Override
    public void close() {
        inputs.forEach(ActivationStore::close);
    }
}
