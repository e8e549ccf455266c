package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.model.AttentionParts;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.model.Transformer;

/**
 * One block as it is being converted.
 *
 * @param original its weights
 * @param converted the same shapes, to be overwritten: shared heads stand there once for each head of the original, so that
 *     it computes what the converted block will
 * @param attention the original's
 * @param workspace for batches of the sequences
 */
record LayerSource(Transformer model, BlockWeights original, BlockWeights converted, LayerAttention attention,
        Transformer.Workspace workspace, Sequences sequences) {

    AttentionParts convertedParts() {
        return AttentionParts.of(attentionOf(converted.spec()), converted);
    }

    /** The attention of a block that ConvertCheck let pass. */
    static Mixer.Attention attentionOf(BlockSpec block) {
        return switch (block.mixer()) {
            case Mixer.Attention form -> form;
            case Mixer.LatentAttention form -> throw new IllegalArgumentException(form.toString());
            case Mixer.DeltaNet form -> throw new IllegalArgumentException(form.toString());
        };
    }

    int hidden() {
        return model.spec().hiddenSize();
    }
}
