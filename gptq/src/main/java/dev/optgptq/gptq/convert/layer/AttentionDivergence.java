package dev.optgptq.gptq.convert.layer;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * Divergence of one layer's attention from another's: the mean over queries and heads of KL(original || converted), in
 * nats. Holds the scores of one sequence and head at a time.
 */
final class AttentionDivergence implements AutoCloseable {

    /** A score that no softmax gives any weight. */
    private static final float UNSEEN = -1e9f;

    private final Device device;
    private final AttentionShape shape;
    private final TensorArena arena;
    /** [length, length]: 0 where a query sees a key. */
    private final Tensor mask;
    private final Tensor original;
    private final Tensor converted;
    private final Tensor divergence;
    private final Tensor agrees;

    /** @param shape of the original, one key-value head per query head */
    AttentionDivergence(Device device, AttentionShape shape) {
        this.device = device;
        this.shape = shape;
        this.arena = device.arena();
        int length = shape.sequenceLength();
        mask = arena.matrix(DType.F32, length, length);
        original = arena.matrix(DType.F32, length, length);
        converted = arena.matrix(DType.F32, length, length);
        divergence = arena.vector(DType.F64, length);
        agrees = arena.vector(DType.I32, length);
        uploadMask();
    }

    private void uploadMask() {
        int length = shape.sequenceLength();
        try (Arena host = Arena.ofShared()) {
            MemorySegment values = host.allocate(ValueLayout.JAVA_FLOAT, (long) length * length);
            for (int query = 0; query < length; query++) {
                for (int key = 0; key < length; key++) {
                    boolean seen = key <= query && (shape.window() == 0 || key > query - shape.window());
                    values.setAtIndex(ValueLayout.JAVA_FLOAT, (long) query * length + key, seen ? 0 : UNSEEN);
                }
            }
            device.upload(values, mask);
            device.synchronize();
        }
    }

    /**
     * One side of the comparison.
     *
     * @param queries [N, heads headDim], rotated to their positions
     * @param keys [N, kvHeads headDim], likewise
     * @param slopes of ALiBi by head; empty where there are none
     */
    record Side(Tensor queries, Tensor keys, int kvHeads, float[] slopes) {
        Side {
            slopes = slopes.clone();
        }
    }

    /** The sum over the queries and heads of some sequences, N tokens. */
    double sum(Side of, Side from) {
        int length = shape.sequenceLength();
        double sum = 0;
        try (Arena host = Arena.ofShared()) {
            MemorySegment found = host.allocate(ValueLayout.JAVA_DOUBLE, length);
            for (long row = 0; row < of.queries().rows(); row += length) {
                for (int head = 0; head < shape.heads(); head++) {
                    scores(of, row, head, original);
                    scores(from, row, head, converted);
                    device.neural().klDivergence(original, converted, divergence, agrees);
                    device.download(divergence, found);
                    sum += Arrays.stream(found.toArray(ValueLayout.JAVA_DOUBLE)).sum();
                }
            }
        }
        return sum;
    }

    private void scores(Side side, long row, int head, Tensor into) {
        int length = shape.sequenceLength();
        int d = shape.headDim();
        Tensor q = side.queries.rows(row, length).columns((long) head * d, d);
        int kvHead = head / (shape.heads() / side.kvHeads);
        Tensor k = side.keys.rows(row, length).columns((long) kvHead * d, d);
        device.matrix().gemm(shape.scale(), q, false, k, true, 0, into);
        if (shape.softcap() > 0) {
            device.neural().softcap(into, shape.softcap());
        }
        device.neural().add(into, mask);
        if (side.slopes.length > 0) {
            addPositions(side.slopes[head], into);
        }
    }

    /** ALiBi's bias up to a constant for all keys of a query: slope times the key's position. */
    private void addPositions(float slope, Tensor into) {
        try (TensorArena scratch = device.arena(); Arena host = Arena.ofShared()) {
            int length = shape.sequenceLength();
            MemorySegment values = host.allocate(ValueLayout.JAVA_FLOAT, length);
            for (int key = 0; key < length; key++) {
                values.setAtIndex(ValueLayout.JAVA_FLOAT, key, slope * key);
            }
            Tensor positions = scratch.vector(DType.F32, length);
            device.upload(values, positions);
            device.neural().addRow(into, positions);
            device.synchronize();
        }
    }

    @Override
    public void close() {
        arena.close();
    }
}
