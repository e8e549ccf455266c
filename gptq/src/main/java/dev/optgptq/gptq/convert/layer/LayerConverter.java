package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.Position;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.gptq.convert.merge.LayerMerge;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.Comparator;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Converts one layer after the other, each on the output of the converted layers before it: merges its heads by
 * moments, fits scores, values and the projections after them, and advances both streams of activations through it.
 */
public final class LayerConverter {

    private final Transformer model;
    private final Device device;
    private final Dense dense;
    private final Sequences sequences;
    private final UnaryOperator<AttentionMatrices> stored;
    private final UnaryOperator<Matrix> storedLinear;
    private final Consumer<String> step;

    /**
     * A converted layer, every number rounded to its stored dtype.
     *
     * @param down [hidden, intermediate]; null if the original's is kept
     */
    public record Converted(AttentionMatrices attention, @Nullable Matrix down, @Nullable Matrix downBias,
            LayerOutcome outcome) {}

    /**
     * Prepares.
     *
     * @param stored rounds attention weights to the dtype that they will be stored in
     * @param storedLinear the same of any other matrix
     * @param step receives the current step
     */
    public LayerConverter(Transformer model, Dense dense, Sequences sequences, UnaryOperator<AttentionMatrices> stored,
            UnaryOperator<Matrix> storedLinear, Consumer<String> step) {
        this.model = model;
        this.device = model.device();
        this.dense = dense;
        this.sequences = sequences;
        this.stored = stored;
        this.storedLinear = storedLinear;
        this.step = step;
    }

    /**
     * Converts a block to a number of key-value heads; both stores must be at its input, and are advanced to its
     * output.
     *
     * @param grouping which heads share
     */
    public Converted convert(int block, int kvHeads, Grouping grouping) {
        try (TensorArena arena = device.arena()) {
            LayerSource source = LayerSource.load(model, block, sequences, arena);
            GroupedWeights weights = new GroupedWeights(new HostCopies(device));
            AttentionMatrices original = weights.download(source.attention());
            Attempt found = attempts(source, original, kvHeads, grouping, weights, arena);
            AttentionMatrices rounded = stored.apply(found.values.weights());
            LayerSteps.Refitted down = new LayerSteps(found.source).finish(rounded, storedLinear, step);
            Scored scored = found.scored;
            return new Converted(rounded, down.weight(), down.bias(),
                    new LayerOutcome(block, kvHeads, found.order, scored.merge.keyResidual(),
                            scored.merge.valueResidual(), scored.before, scored.after, scored.turns,
                            found.values.fit(), down.fit()));
        }
    }

    /**
     * A converted attention.
     *
     * @param source with its heads in that order
     * @param order of the original's key-value heads
     */
    private record Attempt(LayerSource source, List<Integer> order, Scored scored, ValueStep.Result values) {}

    /** With neighbours in groups, or with heads that lose less together where held-out sequences say so. */
    private Attempt attempts(LayerSource source, AttentionMatrices original, int kvHeads, Grouping grouping,
            GroupedWeights weights, TensorArena arena) {
        List<Integer> neighbours = IntStream.range(0, original.kvHeads()).boxed().toList();
        Attempt first = attempt(source, original, neighbours, kvHeads, weights);
        if (grouping == Grouping.CONTIGUOUS) {
            return first;
        }
        step.accept("groups");
        List<Integer> order = new LayerMoments(source, dense, step).order(original, kvHeads, sequences.summed());
        if (order.equals(neighbours)) {
            return first;
        }
        AttentionMatrices ordered = original.permuted(order);
        LayerSource other = new LayerSource(source.original(), source.converted(),
                source.attention().with(weights.upload(ordered, arena)), sequences);
        Attempt second = attempt(other, ordered, order, kvHeads, weights);
        return second.values.fit().after() < first.values.fit().after() ? second : first;
    }

    private Attempt attempt(LayerSource source, AttentionMatrices original, List<Integer> order, int kvHeads,
            GroupedWeights weights) {
        List<LayerMerge> merges = new LayerMoments(source, dense, step).merges(original, kvHeads, sequences.all());
        step.accept("scores");
        Scored scored = best(merges, source, weights);
        step.accept("values and output");
        return new Attempt(source, order, scored,
                fitValues(source, original, scored.merge, scored.weights, weights));
    }

    /** Advances both streams through a block that was converted earlier. */
    public void replay(int block, AttentionMatrices attention, @Nullable Matrix down, @Nullable Matrix downBias) {
        try (TensorArena arena = device.arena()) {
            new LayerSteps(LayerSource.load(model, block, sequences, arena)).replay(attention, down, downBias);
        }
    }

    /** Whether scores are fitted: elsewhere merging is as good, and the fit knows no gradient through norms of queries and keys, or a cap. */
    private static boolean fits(LayerSource source) {
        return LayerSource.attentionOf(source.original().block().spec()).position() instanceof Position.Rotary
                && !source.attention().norms().present() && source.attention().shape().softcap() == 0;
    }

    /** Queries and keys after the score fit. */
    private record Scored(LayerMerge merge, AttentionMatrices weights, double before, double after, int turns) {}

    /** The merge whose attention diverges least on held-out sequences. */
    private Scored best(List<LayerMerge> merges, LayerSource source, GroupedWeights weights) {
        return merges.stream().map(merge -> fitScores(source, merge, weights))
                .min(Comparator.comparingDouble(Scored::after)).orElseThrow();
    }

    private Scored fitScores(LayerSource source, LayerMerge merge, GroupedWeights weights) {
        boolean fitted = fits(source);
        AttentionMatrices merged = merge.weights();
        long length = sequences.length();
        try (TensorArena arena = device.arena()) {
            LayerAttention attention = weights.attention(source.attention(), merged, arena);
            try (ScoreFit fit = new ScoreFit(source.attention(), attention, sequences.batchRows(),
                    fitted ? sequences.fitted().length * length : 0, sequences.judged().length * length)) {
                LayerSteps steps = new LayerSteps(source);
                if (fitted) {
                    steps.put(fit, 0, sequences.fitted());
                }
                steps.put(fit, fitted ? sequences.fitted().length * length : 0, sequences.judged());
                ScoreFit.Outcome outcome = fitted ? fit.fit(List.of(1.0)) : fit.measure();
                return new Scored(merge, fitted ? weights.withScores(merged, attention.parts()) : merged,
                        outcome.before(),
                        outcome.after(), outcome.turns());
            }
        }
    }

    private ValueStep.Result fitValues(LayerSource source, AttentionMatrices original, LayerMerge merge,
            AttentionMatrices scored, GroupedWeights weights) {
        try (TensorArena arena = device.arena()) {
            LayerAttention attention = weights.attention(source.attention(), scored, arena);
            return new ValueStep(source, dense).fit(attention, original, merge, scored);
        }
    }
}
