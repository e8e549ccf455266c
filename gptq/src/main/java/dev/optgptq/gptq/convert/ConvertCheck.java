package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.calibrate.family.WeightView;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.OutputTarget;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.layer.Grouping;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** Refuses conversions that cannot work before anything is computed, and warns of limits of the result. */
final class ConvertCheck {

    /** Every fourth sequence validates the least squares, others the scores. */
    private static final int LEAST_SEQUENCES = 4;

    private static final List<NormSlot> HEAD_NORMS = List.of(NormSlot.QUERY, NormSlot.KEY);
    private static final List<NormSlot> OUTPUT_NORMS = List.of(NormSlot.AFTER_ATTENTION, NormSlot.AFTER_MLP);

    /** Host memory of the moments that grouping looks at. */
    private static final double MOST_MOMENTS = 12.0 * (1L << 30);

    private ConvertCheck() {}

    static void check(ConvertSettings settings, ModelDirectory source, ModelSpec spec) {
        source.quantization().ifPresent(quantization -> {
            throw new UserError(Code.UNSUPPORTED_MODEL, settings.model() + " is already quantized to "
                    + quantization.bits()
                    + " bits; convert the original model and then quantize the converted one: convert-gqa, then "
                    + "quantize");
        });
        if (source.config().has("text_config")) {
            throw new UserError(Code.UNSUPPORTED_MODEL, source.config().file() + ": has a text_config; convert-gqa"
                    + " writes models of text alone");
        }
        source.scaledFormat().ifPresent(format -> {
            throw new UserError(Code.UNSUPPORTED_MODEL, settings.model() + " is stored as " + format.label()
                    + "; convert-gqa writes what it does not change as it finds it, and needs the model in bfloat16");
        });
        ConvertSettings.Calibration calibration = settings.calibration();
        if (calibration.samples() < LEAST_SEQUENCES) {
            throw new UserError(Code.BAD_SETTING, "--samples " + calibration.samples()
                    + ": conversion holds sequences out for validation, and needs at least " + LEAST_SEQUENCES);
        }
        if (calibration.length() > spec.maxPositions()) {
            throw new UserError(Code.BAD_SETTING, "--sequence-length " + calibration.length()
                    + ": the model was made for at most " + spec.maxPositions() + " positions");
        }
        spec.blockSpecs().forEach(block -> checkBlock(settings, spec, block));
        checkPositions(settings, spec);
        checkGrouping(settings, spec);
        if (settings.form() == ConvertSettings.Form.MPT && settings.heads().byLayer()) {
            throw new UserError(Code.BAD_SETTING,
                    "--layout mpt: holds one number of key-value heads for all layers, and "
                            + "--kv-bytes gives each its own; use --ratio or --kv-heads");
        }
        OutputTarget.requireApart(settings.output(), settings.model(), settings.overwrite());
    }

    /** Whether positions change: a model that has ALiBi keeps it. */
    static boolean toAlibi(ConvertSettings settings, ModelSpec spec) {
        return settings.positions() == ConvertSettings.Positions.ALIBI
                && !(HeadPlan.attention(spec).position() instanceof Position.Alibi);
    }

    /** What a model has lost by ALiBi alone is no use to anyone; said before it takes the time. */
    private static void checkPositions(ConvertSettings settings, ModelSpec spec) {
        if (toAlibi(settings, spec) && settings.heal() == null && !settings.force()) {
            boolean rotary = spec.embedding().positions() == null;
            throw new UserError(Code.BAD_SETTING, "--positions alibi without --heal: a small model with "
                    + (rotary
                            ? "rotary positions lost 0.9 nats per token so, most of what it knew"
                            : "learned positions lost 0.02 to 0.12 nats per token so")
                    + "; add --heal STEPS (1000 won back nearly all of it), or --force to write it as it is");
        }
    }

    /** Slopes go by the index of a head, the same for all layers; and all heads' moments must fit. */
    private static void checkGrouping(ConvertSettings settings, ModelSpec spec) {
        if (settings.grouping() == Grouping.CONTIGUOUS) {
            return;
        }
        Mixer.Attention form = HeadPlan.attention(spec);
        if (form.position() instanceof Position.Alibi || toAlibi(settings, spec)) {
            throw new UserError(Code.BAD_SETTING,
                    "--grouping best: heads would change places in each layer, and ALiBi's slopes "
                            + "go by their places, the same in all layers; use --grouping contiguous, which is as good in most models");
        }
        NormSpec keys = spec.block(0).norm(NormSlot.KEY);
        if (keys != null && keys.tellsGroupsApart()) {
            throw new UserError(Code.BAD_SETTING,
                    "--grouping best: the weights of the model's norms of queries and keys go by the "
                            + "places of heads, which would change; use --grouping contiguous");
        }
        double bytes = 2.0 * Double.BYTES * form.heads() * Math.pow(form.kvWidth(), 2);
        if (bytes > MOST_MOMENTS) {
            throw new UserError(Code.BAD_SETTING, String.format(Locale.ROOT,
                    "--grouping best: the moments of all %d heads of a layer together take %.1f GiB of host memory, more than "
                            + "%.0f; use --grouping contiguous",
                    form.heads(), bytes / (1L << 30), MOST_MOMENTS / (1L << 30)));
        }
    }

    /** Refuses by name what merging does not support yet. */
    private static void checkBlock(ConvertSettings settings, ModelSpec spec, BlockSpec block) {
        if (!(block.mixer() instanceof Mixer.Attention form)) {
            throw refused(settings, block, switch (block.mixer()) {
                case Mixer.LatentAttention latent ->
                    "latent attention (MLA), which has no key-value heads to merge: one latent serves all heads";
                case Mixer.DeltaNet delta -> "a gated deltanet, which has no key-value cache";
                case Mixer.Attention attention -> throw new IllegalStateException(attention.toString());
            });
        }
        Mixer.Attention first = HeadPlan.attention(spec);
        refuseIf(form.heads() != first.heads() || form.kvHeads() != first.kvHeads()
                || form.headDim() != first.headDim(), settings, block, "other heads than the first one");
        refuseIf(form.clip().limit() > 0, settings, block,
                "clipped queries, keys and values, through which no map of a shared head passes");
        NormSpec keys = block.norm(NormSlot.KEY);
        refuseIf(keys != null && keys.tellsGroupsApart() && keys.bias(), settings, block,
                "a norm of keys that shifts each head by something else, which no shared key has");
        refuseIf(form.gated(), settings, block,
                "a gate of each element of the attention's output, so that values of one head cannot stand for another's");
        refuseIf(block.parameters().containsKey(BlockSpec.Parameter.SINKS), settings, block,
                "attention sinks, whose share of attention the moments of heads do not count");
        refuseIf(block.residual() == BlockSpec.Residual.NORM_OF_SUM, settings, block,
                "norms of the residual stream itself (opt-350m), which no family with grouped heads has");
        for (NormSlot slot : OUTPUT_NORMS) {
            NormSpec norm = block.norm(slot);
            refuseIf(norm != null && (norm.kind() != NormSpec.Kind.RMS || norm.bias()), settings, block,
                    "norms after attention or MLP that shift it");
        }
    }

    private static void refuseIf(boolean holds, ConvertSettings settings, BlockSpec block, String what) {
        if (holds) {
            throw refused(settings, block, what);
        }
    }

    private static UserError refused(ConvertSettings settings, BlockSpec block, String what) {
        return new UserError(Code.UNSUPPORTED_MODEL, settings.model() + ": block " + block.index() + " has " + what
                + "; convert-gqa cannot merge its heads");
    }

    /**
     * Refuses to heal what is not stored as it is learned: whole tensors, [out, in].
     *
     * @param target the model before its heads are merged, in the layout of the result
     */
    static void checkHealing(ConvertSettings settings, ModelDirectory target) {
        ConvertSettings.Heal heal = settings.heal();
        if (heal == null) {
            return;
        }
        for (BlockSpec block : ModelSpec.resolve(target).blockSpecs()) {
            for (LinearSpec linear : block.linears()) {
                WeightView view = linear.view();
                boolean whole = !view.shared() && view.stored() == WeightView.Stored.OUT_IN;
                if (heal.scope().learns(linear) && !whole) {
                    throw new UserError(Code.BAD_SETTING, settings.model() + ": --heal learns whole tensors, and "
                            + view.weight() + " holds " + (view.shared() ? "several matrices" : "a transposed one")
                            + "; "
                            + (linear.site().ofMlp()
                                    ? "heal attention alone (--heal-scope attention)"
                                    : "leave --heal out"));
                }
            }
        }
    }

    /** @param calibration the text as it was drawn */
    static List<String> warnings(ConvertSettings settings, ModelSpec spec, HeadPlan plan, TokenSequences calibration) {
        List<String> warnings = new ArrayList<>();
        if (plan.before() < HeadPlan.attention(spec).heads()) {
            warnings.add(
                    "the model already has grouped heads: " + HeadPlan.attention(spec).heads() + " query heads share "
                            + plan.before() + "; they are merged further");
        }
        if (HEAD_NORMS.stream().anyMatch(spec.block(0)::has)) {
            warnings.add(
                    "queries and keys are normalised after their projections, through which no map passes: shared keys "
                            + "are those of one head, or the mean of its neighbours, whichever changes attention less, and scores are "
                            + "not fitted. Expect more loss than without such norms; values are merged as always");
        }
        if (spec.blockSpecs().stream().anyMatch(block -> !(block.feedForward() instanceof FeedForward.Dense))) {
            warnings.add(
                    "experts stay as they are: their down projections are not fitted, as those of other models are");
        }
        if (spec.blockSpecs().stream()
                .anyMatch(block -> block.mixer() instanceof Mixer.Attention form && form.softcap() > 0)) {
            warnings.add(
                    "attention scores are capped, and so they are not fitted; keys and values are merged as always");
        }
        if (settings.positions() == ConvertSettings.Positions.ALIBI && !toAlibi(settings, spec)) {
            warnings.add("the model has ALiBi already; its positions stay");
        }
        tooFew(spec, plan, settings.heads().byLayer(), calibration).ifPresent(warnings::add);
        return warnings;
    }

    /** Three quarters of the tokens are computed from; places of a text that come again count once. */
    private static Optional<String> tooFew(ModelSpec spec, HeadPlan plan, boolean byLayer, TokenSequences calibration) {
        long different = calibration.differentTokens();
        long tokens = different * 3 / 4;
        int most = byLayer
                ? plan.before()
                : plan.kvHeads().stream().mapToInt(kvHeads -> plan.before() / kvHeads).max().orElse(1);
        long unknowns = Math.max((long) most * HeadPlan.attention(spec).queryWidth(), HeadPlan.fittedWidth(spec));
        if (tokens >= unknowns) {
            return Optional.empty();
        }
        return Optional.of("least squares over " + unknowns + " inputs need at least as many tokens, found " + tokens
                + (different < calibration.tokens() ? ", as sequences of a short text overlap" : "") + "; give "
                + Math.ceilDiv((unknowns - tokens) * 4, 3)
                + (different < calibration.tokens()
                        ? " more in --calibration"
                        : " more (--samples, --sequence-length)"));
    }
}
