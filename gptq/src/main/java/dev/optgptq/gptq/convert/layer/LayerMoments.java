package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.gptq.convert.merge.GroupMoments;
import dev.optgptq.gptq.convert.merge.HeadLayout;
import dev.optgptq.gptq.convert.merge.HeadGrouping;
import dev.optgptq.gptq.convert.merge.KeyMerge;
import dev.optgptq.gptq.convert.merge.KeySelection;
import dev.optgptq.gptq.convert.merge.LayerMerge;
import dev.optgptq.gptq.convert.merge.Merge;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Dense;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * Merges the heads of a layer by their moments on some sequences of the original stream, which must be at its input.
 *
 * @param step receives the current step
 */
record LayerMoments(LayerSource source, Dense dense, Consumer<String> step) {

    /**
     * One merge, or, where a norm of keys stands in its way, several to be measured.
     *
     * @param original the layer's weights on the host
     */
    List<LayerMerge> merges(AttentionMatrices original, int kvHeads, int[] which) {
        step.accept("moments");
        List<GroupMoments> moments = moments(original, attention().kvHeads() / kvHeads, which);
        step.accept("keys and values");
        return keyMerges().stream().map(way -> LayerMerge.of(original, moments, way, dense))
                .map(merge -> new KeyNormLength(source).corrected(merge, which)).toList();
    }

    /** The present key-value heads, in an order in which neighbours lose little by sharing. */
    List<Integer> order(AttentionMatrices original, int kvHeads, int[] which) {
        int have = attention().kvHeads();
        GroupMoments all = moments(original, have, which).getFirst();
        return new HeadGrouping(keyMerges().getFirst(), dense, source.attention().shape().scale()).order(original, all,
                have / kvHeads);
    }

    private Mixer.Attention attention() {
        return LayerSource.attentionOf(source.original().block().spec());
    }

    private List<Function<GroupMoments, Merge>> keyMerges() {
        return source.attention().norms().present()
                ? KeySelection.ways().stream().<Function<GroupMoments, Merge>>map(way -> way::merge).toList()
                : List.of(new KeyMerge(dense, layout(attention()))::merge);
    }

    /** @param members of a group */
    private List<GroupMoments> moments(AttentionMatrices original, int members, int[] which) {
        Sequences sequences = source.sequences();
        Device device = source.device();
        try (HeadStatistics statistics = new HeadStatistics(source.attention(), members);
                TensorArena arena = device.arena()) {
            Tensor buffer = arena.matrix(DType.F32, sequences.batchRows(), source.hidden());
            Tensor normed = arena.matrix(DType.F32, sequences.batchRows(), source.hidden());
            sequences.each(which, (at, batch) -> {
                Tensor x = sequences.read(device, sequences.original(), batch, buffer);
                Tensor input = normed.rows(0, x.rows());
                source.original().normed(x, input);
                statistics.add(input);
            });
            return statistics.finish(original.output(), dense);
        }
    }

    private static HeadLayout layout(Mixer.Attention form) {
        int d = form.headDim();
        return switch (form.position()) {
            case Position.Rotary rotary -> HeadLayout.rotary(d, rotary.rotaryDim(), rotary.layout());
            case Position.Alibi alibi -> HeadLayout.plain(d);
            case Position.None none -> HeadLayout.plain(d);
        };
    }
}
