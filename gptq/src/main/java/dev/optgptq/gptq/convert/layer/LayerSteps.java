package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.fit.Fit;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Matrix;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** The steps that every conversion of a layer takes. */
record LayerSteps(LayerSource source) {

    /**
     * The down projection as it will be stored; null where it stays.
     *
     * @param fit null where there is none, but experts
     */
    record Refitted(@Nullable Matrix weight, @Nullable Matrix bias, @Nullable Fit fit) {}

    /**
     * Refits the down projection, and writes it to the converted block.
     *
     * @param stored rounds a matrix to the dtype that it will be stored in
     */
    private Refitted refitDown(UnaryOperator<Matrix> stored) {
        if (!(source.original().block().spec().feedForward() instanceof FeedForward.Dense)) {
            return new Refitted(null, null, null);
        }
        DownStep step = new DownStep(source);
        DownStep.Result found = step.fit();
        if (!found.fit().kept()) {
            return new Refitted(null, null, found.fit());
        }
        Matrix weight = stored.apply(found.weight());
        Matrix bias = found.bias() == null ? null : stored.apply(found.bias());
        step.write(weight, bias);
        return new Refitted(weight, bias, found.fit());
    }

    /**
     * The last steps of a conversion: writes the attention to the converted block, refits the down projection, and advances both
     * streams through the block.
     *
     * @param attention as it will be stored
     * @param stored rounds a matrix to the dtype that it will be stored in
     */
    Refitted finish(AttentionMatrices attention, UnaryOperator<Matrix> stored, Consumer<String> step) {
        try (TensorArena arena = source.device().arena()) {
            write(attention);
            Tensor buffer = buffer(arena);
            boolean normed = source.original().block().spec().has(NormSlot.AFTER_MLP);
            if (!normed) {
                step.accept("original stream");
                source.advanceOriginal(buffer);
            }
            step.accept("down projection");
            Refitted down = refitDown(stored);
            if (normed) {
                step.accept("original stream");
                source.advanceOriginal(buffer);
            }
            step.accept("converted stream");
            source.advanceConverted(buffer);
            source.device().synchronize();
            return down;
        }
    }

    /** Advances both streams through a block that was converted earlier. */
    void replay(AttentionMatrices attention, @Nullable Matrix down, @Nullable Matrix downBias) {
        try (TensorArena arena = source.device().arena()) {
            write(attention);
            if (down != null) {
                new DownStep(source).write(down, downBias);
            }
            source.advance(buffer(arena));
            source.device().synchronize();
        }
    }

    private void write(AttentionMatrices attention) {
        source.converted().heads().write(attention);
    }

    private Tensor buffer(TensorArena arena) {
        return arena.matrix(DType.F32, source.sequences().batchRows(), source.hidden());
    }

    /** Gives a score fit what enters both layers for some sequences, from that token on. */
    void put(ScoreFit fit, long first, int[] which) {
        Sequences sequences = source.sequences();
        Device device = source.device();
        sequences.each(which, (at, batch) -> {
            try (TensorArena scratch = device.arena()) {
                Tensor x = scratch.matrix(DType.F32, (long) batch.length * sequences.length(), source.hidden());
                Tensor ofOriginal = scratch.matrix(DType.F32, x.rows(), x.columns());
                Tensor ofConverted = scratch.matrix(DType.F32, x.rows(), x.columns());
                sequences.read(device, sequences.original(), batch, x);
                source.original().normed(x, ofOriginal);
                sequences.read(device, sequences.converted(), batch, x);
                source.original().normed(x, ofConverted);
                fit.put(first + (long) at * sequences.length(), ofOriginal, ofConverted);
                device.synchronize();
            }
        });
    }
}
