package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.model.AttentionParts.Positions;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.fit.Fit;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.gptq.convert.merge.LayerMerge;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Gives the layers of a model ALiBi in the place of other positions: heads are put in the order of their slopes, then scores,
 * values, the output projection and the MLP's down projection are fitted to the original layer, on what the converted layers
 * before it put out.
 */
public final class PositionConverter {

    private static final List<Double> LENGTHS = List.of(1.0, 0.5, 0.25, 0.125);

    private final Transformer original;
    private final Transformer target;
    private final Device device;
    private final Dense dense;
    private final Sequences sequences;
    private final UnaryOperator<AttentionMatrices> stored;
    private final UnaryOperator<Matrix> storedLinear;
    private final Consumer<String> step;

    /**
     * What a layer became, every number rounded to the dtype that it is stored in.
     *
     * @param down [hidden, intermediate]; null where the original's stays
     * @param order of the original's heads
     */
    public record Converted(AttentionMatrices attention, @Nullable Matrix down, @Nullable Matrix downBias,
            List<Integer> order, Outcome outcome) {}

    /**
     * How it went.
     *
     * @param before KL(original attention || converted) of the reordered heads as they are, nats per query and head
     * @param after the score fit, the same
     * @param turns of the score fit that were kept
     */
    public record Outcome(int block, double before, double after, int turns, Fit values, Fit down) {}

    /**
     * Gets ready.
     *
     * @param target the same weights with ALiBi; separate tensors of queries, keys and values
     * @param stored rounds attention weights to the dtype that they will be stored in
     * @param storedLinear the same of any other matrix
     * @param step receives what is being done
     */
    public PositionConverter(Transformer original, Transformer target, Dense dense, Sequences sequences,
            UnaryOperator<AttentionMatrices> stored, UnaryOperator<Matrix> storedLinear, Consumer<String> step) {
        this.original = original;
        this.target = target;
        this.device = original.device();
        this.dense = dense;
        this.sequences = sequences;
        this.stored = stored;
        this.storedLinear = storedLinear;
        this.step = step;
    }

    /** Converts a block; both stores must be at its input, and are advanced to its output. */
    public Converted convert(int block) {
        try (TensorArena arena = device.arena()) {
            LayerSource unordered = source(block, arena);
            GroupedWeights weights = new GroupedWeights(new HostCopies(device));
            Positions alibi = Positions.of(form(target, block), sequences.length(), device, arena);
            step.accept("slopes");
            List<Integer> order = order(unordered, alibi, weights.copies());
            AttentionMatrices ordered = ordered(
                    weights.download(unordered.original().parts(), form(original, block).headDim()), order);
            LayerAttention reference = unordered.attention().with(weights.upload(ordered, arena));
            LayerSource source = new LayerSource(unordered.original(), unordered.converted(), reference, sequences);
            step.accept("scores");
            LayerAttention fitted = reference.with(alibi).with(weights.upload(ordered, arena));
            ScoreFit.Outcome scores = fitScores(source, fitted);
            AttentionMatrices scored = weights.download(fitted.parts(), ordered.headDim());
            step.accept("values");
            ValueStep.Result values = new ValueStep(source, dense).fit(fitted, ordered, unmerged(ordered), scored);
            AttentionMatrices rounded = stored.apply(values.weights());
            LayerSteps.Refitted down = new LayerSteps(source).finish(rounded, storedLinear, step);
            return new Converted(rounded, down.weight(), down.bias(), order, new Outcome(block, scores.before(),
                    scores.after(), scores.turns(), values.fit(), Objects.requireNonNull(down.fit())));
        }
    }

    /** Advances both streams through a block that was converted earlier. */
    public void replay(int block, AttentionMatrices attention, @Nullable Matrix down, @Nullable Matrix downBias) {
        try (TensorArena arena = device.arena()) {
            new LayerSteps(source(block, arena)).replay(attention, down, downBias);
        }
    }

    private static Mixer.Attention form(Transformer model, int block) {
        return LayerSource.attentionOf(model.spec().block(block));
    }

    private LayerSource source(int block, TensorArena arena) {
        LayerSource.Side own = LayerSource.Side.load(original, block, sequences, arena);
        return new LayerSource(own, LayerSource.Side.load(target, block, sequences, arena),
                own.attention(sequences.length(), arena), sequences);
    }

    /** By the slopes that fit; heads that share keys stay where they are. */
    private List<Integer> order(LayerSource source, Positions alibi, HostCopies copies) {
        LayerAttention attention = source.attention();
        int heads = attention.shape().heads();
        if (attention.shape().kvHeads() < heads) {
            return IntStream.range(0, heads).boxed().toList();
        }
        long rows = SlopeFit.rows((long) sequences.fitted().length * sequences.length(), sequences.length());
        try (TensorArena scratch = device.arena()) {
            Tensor ofOriginal = scratch.matrix(DType.F32, rows, source.hidden());
            Tensor ofConverted = scratch.matrix(DType.F32, rows, source.hidden());
            int[] first = IntStream.range(0, Math.toIntExact(rows / sequences.length())).toArray();
            sequences.each(first, (at, batch) -> {
                Tensor x = scratch.matrix(DType.F32, (long) batch.length * sequences.length(), source.hidden());
                long row = (long) at * sequences.length();
                sequences.read(device, sequences.original(), batch, x);
                source.original().normed(x, ofOriginal.rows(row, x.rows()));
                sequences.read(device, sequences.converted(), batch, x);
                source.original().normed(x, ofConverted.rows(row, x.rows()));
            });
            float[] given = copies.download(alibi.requireSlopes()).toFloats();
            return SlopeFit.order(new SlopeFit(attention).fit(ofOriginal, ofConverted), given);
        }
    }

    private static AttentionMatrices ordered(AttentionMatrices weights, List<Integer> order) {
        return weights.kvHeads() < weights.heads() ? weights : weights.permuted(order);
    }

    private ScoreFit.Outcome fitScores(LayerSource source, LayerAttention converted) {
        long length = sequences.length();
        long trained = sequences.fitted().length * length;
        try (ScoreFit fit = new ScoreFit(source.attention(), converted, sequences.batchRows(), trained,
                sequences.judged().length * length)) {
            LayerSteps steps = new LayerSteps(source);
            steps.put(fit, 0, sequences.fitted());
            steps.put(fit, trained, sequences.judged());
            return fit.fit(LENGTHS);
        }
    }

    /** Every head as it is. */
    private static LayerMerge unmerged(AttentionMatrices weights) {
        Matrix identity = Matrix.generate(weights.headDim(), weights.headDim(), (i, j) -> i == j ? 1 : 0);
        return new LayerMerge(weights, Collections.nCopies(weights.kvHeads(), identity), 0, 0);
    }
}
