package dev.optgptq.gptq.run;

import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.gptq.allocate.Budget;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.files.OutputTarget;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.kernels.ranks.Ranks;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** Refuses runs that cannot work before anything is computed, and warns of runtimes that cannot load the result. */
final class Preflight {

    private static final Set<Integer> VLLM_BITS = Set.of(4, 8);
    private static final Set<Integer> VLLM_GROUPS = Set.of(-1, 32, 64, 128);

    private Preflight() {}

    static void check(QuantizeSettings settings, ModuleGrids grids, ModelDirectory source, ModelSpec model) {
        source.quantization().ifPresent(found -> {
            throw new UserError(Code.UNSUPPORTED_MODEL, settings.model() + " is already quantized to "
                    + found.bits() + " bits; quantize the original model instead");
        });
        if (settings.modules().budget() == null) {
            checkRuntime(settings, grids, model);
        }
        boolean gradients = settings.isGradient() || settings.modules().budget() != null;
        if (gradients && settings.calibration().samples() < 2) {
            throw new UserError(Code.BAD_SETTING,
                    "--samples " + settings.calibration().samples() + ": gradient calibration holds "
                            + "sequences out for validation and needs at least 2; or use --calibrator gptq");
        }
        if (settings.calibration().sequenceLength() > model.maxPositions()) {
            throw new UserError(Code.BAD_SETTING,
                    "--sequence-length " + settings.calibration().sequenceLength() + ": the model was made "
                            + "for at most " + model.maxPositions() + " positions");
        }
        OutputTarget.requireApart(settings.output().directory(), settings.model(), settings.output().overwrite());
        // They are copied at the end: a dangling link must be found before hours of work.
        source.companions();
    }

    /** Refuses what the format cannot hold, or the target does not load. */
    static void checkRuntime(QuantizeSettings settings, ModuleGrids grids, ModelSpec model) {
        QuantizationConfig quantization = grids.config(settings.grid().format());
        quantization.grids().forEach(quantization.format().packing()::requireSolved);
        settings.target().rules().ifPresent(target -> target.check(quantization, model));
    }

    private static boolean isReadByVllm(PackedGrid grid) {
        return VLLM_BITS.contains(grid.bits()) && VLLM_GROUPS.contains(grid.groupSize()) && grid.symmetric();
    }

    /** Refuses what runs in one process alone. */
    static void checkRanks(QuantizeSettings settings, Ranks ranks) {
        if (!ranks.areSeveral()) {
            return;
        }
        Budget budget = settings.modules().budget();
        if (budget != null) {
            throw new UserError(Code.BAD_SETTING, budget.words() + ": expected one process, which chooses bits, found "
                    + ranks.size() + " ranks; choose them in one, and give the ranks what its report.json lists under "
                    + "modules, as a --recipe");
        }
        // Learning goes through all sequences in an order of its own, and these lie on all ranks.
        if (settings.isGradient() && settings.refinement().tuneSteps() > 0) {
            throw new UserError(Code.BAD_SETTING, "--tune " + settings.refinement().tuneSteps()
                    + ": expected 0 with several processes, which are " + ranks.size()
                    + "; learned rounding runs in one. Leave --tune out, or start one process, with all devices of its node");
        }
    }

    /** Warnings about what works here but not everywhere. */
    static List<String> warnings(QuantizeSettings settings, ModuleGrids grids, ModelSpec model) {
        List<String> warnings = new ArrayList<>(model.remarks());
        settings.target().rules().flatMap(target -> target.kernel(grids.config(settings.grid().format())))
                .ifPresent(kernel -> warnings
                        .add("--target " + settings.target().runtime() + " will run it with: " + kernel));
        if (settings.target().runtime() == null && settings.grid().format().copiesConfig()
                && !grids.config(settings.grid().format()).grids().stream().allMatch(Preflight::isReadByVllm)) {
            warnings.add(
                    "vLLM loads GPTQ checkpoints only with 4 or 8 bits, symmetric, and groups of 32, 64, 128 or -1; "
                            + "this one is for transformers with GPTQModel, and for opt-gptq; --format compressed-tensors "
                            + "holds the same codes, and vLLM reads more of it");
        }
        if (settings.grid().format().roundsActivations()) {
            warnings.add(
                    settings.grid().format()
                            + ": the runtime also rounds activations to 8 bits, token by token; what is measured here is "
                            + "without that");
        }
        if (settings.isGradient() && settings.refinement().propagate() && model.blockSpecs().stream()
                .anyMatch(block -> block.feedForward() instanceof FeedForward.Experts)) {
            warnings.add(
                    "errors of earlier layers are not propagated into experts, which have other tokens in the quantized "
                            + "model than in the original; all other steps of gradient calibration are done for them");
        }
        if (grids.common().descAct()) {
            warnings.add("--act-order group makes an irregular g_idx (desc_act): runtimes serve it by slower kernels");
        }
        if (settings.solving().calibrator() != CalibratorKind.RTN) {
            long tokens = (long) settings.calibration().samples() * settings.calibration().sequenceLength();
            int widest = model.widestInput();
            if (tokens < widest) {
                warnings.add(tokens + " calibration tokens cannot determine a Hessian of " + widest + " inputs; give "
                        + "at least " + (widest - tokens) + " more (--samples, --sequence-length)");
            }
        }
        return warnings;
    }
}
