package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.data.SequenceRange;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Backward;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** Shared by the batches of a gradient stream: device memory, the split of a range into batches, and progress. */
final class BatchScratch {

    private final GradientStream stream;
    private final int rows;
    private final Backward.Workspace backward;
    private final Tensor ids;
    private final Tensor x;
    private final Tensor d;
    private final long work;
    private long done;

    /**
     * @param arena owns the memory
     * @param work the total to report
     */
    BatchScratch(GradientStream stream, TensorArena arena, long work) {
        Transformer model = stream.model();
        this.stream = stream;
        this.rows = stream.batch() * stream.text().length();
        this.work = work;
        this.backward = model.backward().workspace(arena, rows, stream.text().length());
        this.ids = arena.vector(DType.I32, rows);
        this.x = arena.matrix(DType.F32, rows, model.spec().hiddenSize());
        this.d = arena.matrix(DType.F32, rows, model.spec().hiddenSize());
    }

    /** Device memory for batches of a number of tokens. */
    static long bytes(ModelSpec spec, DType products, int rows, int sequenceLength) {
        return Backward.workspaceBytes(spec, products, rows, sequenceLength)
                + Float.BYTES * (rows * (2L * spec.hiddenSize() + 2));
    }

    /** Tokens of a batch. */
    int rows() {
        return rows;
    }

    Backward.Workspace backward() {
        return backward;
    }

    /** F32 [n, hidden]. */
    Tensor x(long n) {
        return x.rows(0, n);
    }

    /** F32 [n, hidden], for gradients. */
    Tensor d(long n) {
        return d.rows(0, n);
    }

    /** The ids of n tokens from this one on, counted over all sequences: I32 [1, n], until the next call. */
    Tensor ids(long firstToken, long n) {
        Tensor cut = ids.columns(0, n);
        stream.text().upload(stream.model().device(), Math.toIntExact(firstToken / stream.text().length()), cut);
        return cut;
    }

    /** Runs on a batch: its first token, counted over all sequences, and how many. */
    interface Batch {
        void run(long firstToken, long count);
    }

    void eachBatch(SequenceRange range, Batch batch) {
        long end = (long) range.to() * stream.text().length();
        for (long token = (long) range.from() * stream.text().length(); token < end; token += rows) {
            batch.run(token, Math.min(rows, end - token));
        }
    }

    /**
     * @param tokens of the next step, times its number of passes through a block: backward and recomputation count one
     *     each
     */
    void report(String what, long tokens) {
        stream.progress().at(stream.purpose() + ", " + what, done, work);
        done += tokens;
    }
}
