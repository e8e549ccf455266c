package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.gptq.convert.merge.GroupMoments;
import dev.optgptq.gptq.convert.merge.HeadLayout;
import dev.optgptq.gptq.convert.merge.KeySelection;
import dev.optgptq.gptq.convert.merge.LayerMerge;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Dense;
import java.util.List;

/** Merges the heads of a layer by their moments on some sequences of the original stream, which must be at its input. */
record LayerMoments(LayerSource source, Dense dense) {

    /**
     * One merge, or, where a norm of keys stands in its way, several to be measured.
     *
     * @param original the layer's weights on the host
     */
    List<LayerMerge> merges(AttentionMatrices original, int kvHeads, int[] which) {
        Mixer.Attention form = LayerSource.attentionOf(source.original().block().spec());
        Sequences sequences = source.sequences();
        Device device = source.device();
        int members = form.kvHeads() / kvHeads;
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
            List<GroupMoments> moments = statistics.finish(original.output(), dense);
            return source.attention().norms().present()
                    ? KeySelection.ways().stream()
                            .map(way -> LayerMerge.of(original, moments, way::merge, dense)).toList()
                    : List.of(LayerMerge.of(original, moments, layout(form), dense));
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
