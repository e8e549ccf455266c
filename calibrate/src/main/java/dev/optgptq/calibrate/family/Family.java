package dev.optgptq.calibrate.family;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * A model family as data: the meaning of config.json's keys, and the names of the tensors. One JSON file per family
 * under families/. Where a config chooses between forms, the description has variants, each a change to the rest of it
 * (RFC 7396) with the values that ask for it.
 *
 * @param family its name here, the name of the file
 * @param modelTypes values of model_type
 * @param architectures the classes of transformers that compute it; others may compute something else
 * @param special what is special about it, for people
 * @param block prefix of a block's tensors, "{}" standing for its index
 * @param norms by where they stand, within the block
 * @param latent attention of every block, in place of attention
 * @param delta of the blocks that it names, in place of attention
 * @param mlp of the blocks that have no experts
 * @param unused patterns of tensors that no forward pass reads; "${blocks}" stands for the number of blocks
 * @param aliases other names that fields of config.json may have, by the name here
 * @param defaults values of fields that are absent from config.json, where null means something else
 * @param withoutEffect fields of config.json that change nothing here
 * @param requirements what config.json must say for the description to hold
 */
record Family(String family, List<String> modelTypes, List<String> architectures, String special, Sizes sizes,
        EmbeddingForm embedding, String block, NormForm norm, Map<NormSlot, NormPlace> norms,
        BlockSpec.Residual residual, @Nullable Setting residualScale, @Nullable AttentionForm attention,
        @Nullable LatentForm latent, @Nullable DeltaForm delta, @Nullable MlpForm mlp, @Nullable ExpertsForm experts,
        HeadForm head, List<String> unused, @Nullable Map<String, List<String>> aliases,
        @Nullable Map<String, JsonNode> defaults, List<String> withoutEffect, List<Requirement> requirements) {

    record Sizes(Setting hidden, Setting blocks, Setting vocabulary, Setting positions) {}

    /**
     * @param width absent: hidden
     * @param projection where the width differs from hidden
     * @param norm absent: none
     */
    record EmbeddingForm(String table, @Nullable Setting width, @Nullable String projection, @Nullable Setting scale,
            @Nullable LearnedForm positions, @Nullable String norm) {}

    record LearnedForm(String table, int offset) {}

    /** @param onePlus whether the factor is 1 + weight */
    record NormForm(NormSpec.Kind kind, Setting eps, Setting bias, @Nullable Boolean onePlus) {}

    /** Where one norm differs from the form; written as a string it is a name alone. */
    record NormPlace(String name, @Nullable Extent over, NormSpec.@Nullable Kind kind, @Nullable Setting eps,
            @Nullable Setting bias, @Nullable Boolean onePlus) {

        @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
        static NormPlace of(JsonNode written) {
            return written.isString()
                    ? new NormPlace(written.stringValue(), null, null, null, null, null)
                    : Families.read(written, Fields.class).place();
        }

        private record Fields(String name, @Nullable Extent over, NormSpec.@Nullable Kind kind,
                @Nullable Setting eps, @Nullable Setting bias, @Nullable Boolean onePlus) {
            NormPlace place() {
                return new NormPlace(name, over, kind, eps, bias, onePlus);
            }
        }
    }

    /** The range of a norm: all columns, a head's with one weight for all heads, or with one for each. */
    enum Extent {
        ALL, HEAD, EACH_HEAD
    }

    /**
     * @param kvHeads absent: as many as heads
     * @param headDim absent: hidden / heads
     * @param scale absent: 1 / sqrt(headDim)
     * @param clip absent: none
     * @param sinks name of the tensor; absent: none
     */
    record AttentionForm(Setting heads, @Nullable Setting kvHeads, @Nullable Setting headDim, @Nullable Setting scale,
            @Nullable WindowForm window, @Nullable Setting softcap, @Nullable ClipForm clip, @Nullable Boolean gated,
            @Nullable String sinks, PositionForm position, List<LinearForm> linears) {}

    /**
     * @param size absent in config.json: none
     * @param when a flag that must be set
     * @param layers absent: all
     */
    record WindowForm(Setting size, @Nullable Setting when, @Nullable LayerRule layers) {}

    record ClipForm(Setting limit, boolean beforeNorm) {}

    record LatentForm(Setting heads, @Nullable Setting queryRank, Setting kvRank, Setting plainDim, Setting rotaryDim,
            Setting valueDim, RotaryForm position, List<LinearForm> linears) {}

    record DeltaForm(LayerRule layers, Setting keyHeads, Setting valueHeads, Setting keyDim, Setting valueDim,
            Setting kernel, String convolution, String decay, String stepBias, List<LinearForm> linears) {}

    /** How positions enter; the kind names the record. */
    @JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "kind")
    @JsonSubTypes({@JsonSubTypes.Type(value = RotaryForm.class, name = "rotary"),
            @JsonSubTypes.Type(value = AlibiForm.class, name = "alibi"),
            @JsonSubTypes.Type(value = NoPositionForm.class, name = "none")})
    sealed interface PositionForm {}

    /**
     * Scaling stands in config.json under the same keys in every family.
     *
     * @param theta absent: rope_theta, or 10000
     * @param partial share of a head that turns; absent: all of it, and config.json is not asked
     * @param local other settings of some blocks
     * @param without blocks that have no positions; absent: none
     * @param standard what stands for rope_parameters where config.json has neither them nor rope_scaling; absent: no scaling
     * @param ignoresOldType whether rope_scaling counts only with rope_type in it, not with its older name, type
     */
    record RotaryForm(RotaryLayout layout, @Nullable Setting theta, @Nullable Setting partial,
            @Nullable LocalForm local, @Nullable LayerRule without, @Nullable JsonNode standard,
            @Nullable Boolean ignoresOldType)
            implements
                PositionForm {}

    /** Blocks with a theta of their own, and no scaling. */
    record LocalForm(LayerRule layers, Setting theta) {}

    /**
     * @param scaled whether the scores' scale multiplies the bias, too
     * @param rounded dtype of the slopes; absent: F32
     * @param slopes key of a list of them, which may be absent in config.json; absent: none
     */
    record AlibiForm(Setting maxBias, @Nullable Boolean scaled, @Nullable DType rounded, @Nullable String slopes)
            implements
                PositionForm {}

    record NoPositionForm() implements PositionForm {}

    /**
     * @param activation absent where the form is CLAMPED
     * @param intermediate absent, or not given: expansion x hidden
     */
    record MlpForm(MlpKind form, @Nullable Setting activation, @Nullable Setting alpha, @Nullable Setting limit,
            @Nullable Setting intermediate, @Nullable Setting expansion, List<LinearForm> linears) {}

    enum MlpKind {
        GATED, PLAIN, CLAMPED
    }

    /**
     * @param layers absent: all
     * @param router module of its weight
     * @param routerBias whether it has a bias
     * @param correction name of the tensor that is added to scores for the choice
     * @param each of the routed experts; "{}" in a role stands for an expert's number
     */
    record ExpertsForm(@Nullable LayerRule layers, Setting count, Setting active,
            FeedForward.Router.Scoring scoring, Setting renormalise, @Nullable Setting scale,
            @Nullable Setting groups, @Nullable Setting activeGroups,
            FeedForward.Router.@Nullable GroupScore groupScore, String router, @Nullable Boolean routerBias,
            @Nullable String correction, MlpForm each, @Nullable SharedForm shared) {}

    /**
     * @param count how many in one
     * @param gate module of the gate's weight; absent: none
     */
    record SharedForm(@Nullable Setting count, @Nullable String gate, MlpForm mlp) {}

    /**
     * One linear. The order of its rows and its orientation have no default.
     *
     * @param weight full name within the block of the tensor that holds it; absent: role.weight
     * @param biasTensor likewise; absent: role.bias
     */
    record LinearForm(String role, Projection projection, Setting bias, WeightView.Rows rows, WeightView.Stored stored,
            @Nullable String weight, @Nullable String biasTensor) {}

    /**
     * @param norm absent: none
     * @param scale absent: 1
     */
    record HeadForm(@Nullable String norm, String module, Setting tied, @Nullable Setting bias,
            @Nullable Setting scale, @Nullable Setting softcap, @Nullable Setting normalised,
            @Nullable String projection) {}
}
