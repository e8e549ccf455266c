package dev.optgptq.gptq.settings;

import java.util.Set;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.allocate.Allocation;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.gptq.recipe.Recipe;
import dev.optgptq.gptq.recipe.Resolution;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.kernels.ops.Grid;
import java.nio.file.Path;
import java.util.Locale;

/**
 * Everything that decides the outcome of a quantize run, grouped as the help groups it. {@link SettingsTable} defines
 * each setting.
 *
 * @param model the model directory
 * @param modules what some of the model's linears have of their own
 * @param refinement the steps of gradient calibration beyond GPTQ; GPTQ uses only its polishing, round-to-nearest none
 *     of it
 * @param threads of the host that read the output back
 */
public record QuantizeSettings(Path model, GridSettings grid, ModuleSettings modules, TargetSettings target,
        SolvingSettings solving,
        CalibrationSettings calibration,
        Refinement refinement, EvaluationSettings evaluation, OutputSettings output, int threads) {

    /** Bits of linears whose bits are still to be chosen: what is planned for them is enough for any. */
    private static final int WIDEST = 8;

    /**
     * The given settings, with defaults for all others.
     *
     * @param model the model directory
     * @param threads of the host that read the output back
     * @throws dev.optgptq.formats.UserError BAD_SETTING for one that cannot be
     */
    public static QuantizeSettings of(Path model, GivenSettings given, OutputSettings output, int threads) {
        SettingConflicts.check(given);
        GridSettings grid = new GridSettings(given.get(SettingsTable.BITS), given.get(SettingsTable.GROUP_SIZE),
                given.get(SettingsTable.SYMMETRIC), given.get(SettingsTable.POSITIVE_SCALES),
                given.get(SettingsTable.FORMAT));
        TargetSettings target = new TargetSettings(given.find(SettingsTable.TARGET),
                given.get(SettingsTable.TENSOR_PARALLEL));
        SolvingSettings solving = new SolvingSettings(given.get(SettingsTable.CALIBRATOR),
                given.get(SettingsTable.CLIP_SEARCH), given.get(SettingsTable.SCALE_SEARCH),
                given.get(SettingsTable.ACT_ORDER), given.get(SettingsTable.DAMP),
                given.get(SettingsTable.TRUE_SEQUENTIAL));
        long seed = given.get(SettingsTable.SEED);
        CalibrationSettings calibration = new CalibrationSettings(TextOptions.calibration(given),
                given.get(SettingsTable.SAMPLING), given.get(SettingsTable.SAMPLES),
                given.get(SettingsTable.SEQUENCE_LENGTH), seed, given.get(SettingsTable.PRECISION),
                given.find(SettingsTable.EXPERTS_AT_ONCE));
        Refinement refinement = new Refinement(given.get(GradientOptions.WEIGH_TOKENS),
                given.get(GradientOptions.FISHER).labels(seed), given.get(GradientOptions.PROPAGATE_ERROR),
                given.get(GradientOptions.TUNE), seed)
                .polished(given.get(SettingsTable.REFIT_SCALES), given.get(SettingsTable.COORDINATE_DESCENT))
                .tuningNorms(given.get(GradientOptions.TUNE_NORMS));
        boolean evaluates = SettingsTable.evaluates(given);
        EvaluationSettings evaluation = new EvaluationSettings(evaluates,
                TextOptions.evaluation(given, evaluates),
                Windows.of(given.find(SettingsTable.WINDOW), given.maxPositions()));
        return new QuantizeSettings(model, grid, ModuleOptions.of(given), target, solving, calibration, refinement,
                evaluation, output, threads);
    }

    /** How the run chooses codes. */
    public Calibrator calibrator() {
        int groupSize = grid.groupSize() == QuantizationConfig.ONE_GROUP ? Integer.MAX_VALUE : grid.groupSize();
        Grid codes = new Grid(grid.bits(), grid.symmetric(), solving.clipSearch(), DType.F16,
                grid.positiveScales());
        SolveSettings solve = new SolveSettings(codes, groupSize, solving.actOrder(), solving.damp());
        return switch (solving.calibrator()) {
            case RTN -> new Calibrator.RoundToNearest(solve);
            case GPTQ -> new Calibrator.Gptq(solve, solving.scaleSearch(), refinement.polish());
            case GRADIENT -> new Calibrator.Gradient(solve);
        };
    }

    /**
     * The grid of every linear of the model; of those whose bits are still to be chosen, the widest. Throws
     * UserError BAD_SETTING where rules cannot be followed.
     */
    public Resolution.Resolved grids(ModelSpec spec) {
        int bits = modules.budget() == null ? grid.bits() : WIDEST;
        return Resolution.of(spec, new PackedGrid(bits, grid.groupSize(), grid.symmetric(), groupsByActivity()),
                modules.recipe().and(Recipe.of(grid.format(), spec)), groupsByActivity());
    }

    /** The grid of every linear as bits were chosen. */
    public ModuleGrids grids(ModelSpec spec, Allocation allocation, Set<String> skipped) {
        return ModuleGrids.of(spec, allocation.commonest(), allocation.grids(), skipped, groupsByActivity());
    }

    /** Whether a loss's gradient decides anything. */
    public boolean isGradient() {
        return solving.calibrator() == CalibratorKind.GRADIENT;
    }

    /**
     * Whether groups hold inputs that are not neighbours, so that g_idx is irregular (desc_act), where there are several: one
     * group for all inputs is regular in any order. Rounding to nearest has no order.
     */
    private boolean groupsByActivity() {
        return solving.calibrator() != CalibratorKind.RTN && solving.actOrder() == ActOrder.GROUP;
    }

    /** The matmul dtype while calibrating. Sums, the residual stream and the solver are always in float32. */
    public enum Precision {
        /** fp16/bf16 if the model is stored so and the device has matrix units for it, else float32. */
        AUTO,
        /** float32. */
        FLOAT32,
        /** float16 or bfloat16, as the model is stored; for GPUs. */
        HALF;

        /** As the command line writes it. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Whether tokens are weighted by the loss's gradient. */
    public boolean weighsTokens() {
        return isGradient() && refinement.weighTokens();
    }

    /** Gradients need float32 matmuls in the forward and the backward pass. */
    public Precision calibrationPrecision() {
        return isGradient() ? Precision.FLOAT32 : calibration.precision();
    }

    /** How codes are chosen. */
    public enum CalibratorKind {
        /** Round to nearest: no data. */
        RTN,
        /** GPTQ as published. */
        GPTQ,
        /** Gradient calibration. */
        GRADIENT;

        /** As the command line writes it. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }
}
