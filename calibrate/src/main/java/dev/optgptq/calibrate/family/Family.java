package dev.optgptq.calibrate.family;

import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import dev.optgptq.calibrate.family.ModelSpec.Mlp;
import dev.optgptq.calibrate.family.ModelSpec.Norm;
import dev.optgptq.calibrate.family.ModelSpec.TensorNames;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A model family as data: which keys of config.json mean what, and what the tensors are called. One JSON file per family
 * under families/, named after the model_type it describes.
 *
 * @param linears of a block, in forward order
 * @param requirements what config.json must say for the description to hold
 */
record Family(String family, Sizes sizes, NormForm norm, AttentionForm attention, PositionForm position, MlpForm mlp,
        Setting tiedHead, TensorNames tensors, List<LinearForm> linears, List<Requirement> requirements) {

    /** The MLP's width is given as it is, or as a multiple of hidden. */
    record Sizes(Setting hidden, Setting blocks, Setting vocabulary, Setting positions, @Nullable Setting intermediate,
            @Nullable Setting expansion) {}

    record NormForm(Norm.Kind kind, Setting eps, Setting bias) {}

    /**
     * @param kvHeads absent: as many as heads
     * @param headDim absent: hidden / heads
     * @param scale absent: 1 / sqrt(headDim)
     * @param window absent: none
     */
    record AttentionForm(Setting heads, @Nullable Setting kvHeads, @Nullable Setting headDim, @Nullable Setting scale,
            @Nullable Setting window) {}

    /** How positions enter; the kind names the record. */
    @JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "kind")
    @JsonSubTypes({@JsonSubTypes.Type(value = RotaryForm.class, name = "rotary"),
            @JsonSubTypes.Type(value = AlibiForm.class, name = "alibi"),
            @JsonSubTypes.Type(value = NoPositionForm.class, name = "none")})
    sealed interface PositionForm {}

    /** Theta and scaling stand in config.json under the same keys in every family. */
    record RotaryForm(RotaryLayout layout) implements PositionForm {}

    record AlibiForm(Setting maxBias) implements PositionForm {}

    record NoPositionForm() implements PositionForm {}

    record MlpForm(Mlp.Form form, Setting activation) {}

    record LinearForm(String role, Projection projection, Setting bias) {}
}
