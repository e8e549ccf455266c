package dev.optgptq.gptq.settings;

import static dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind.GRADIENT;

import dev.optgptq.gptq.refine.Refinement;

/** Settings of gradient calibration alone. */
public final class GradientOptions {

    public static final SettingSpec<Integer> TUNE = SettingSpec
            .of(SettingGroup.GRADIENT, "--tune", "STEPS", Integer.class)
            .help("Learn rounding and scales after solving: STEPS in each block, then the scales of the whole model. 100 "
                    + "recovers much of the remaining loss in about twenty times gptq's time. No cost at inference.")
            .byDefault(0)
            .allows("at least 0", steps -> steps >= 0)
            .readBy(GRADIENT)
            .decidesBits()
            .value(run -> run.refinement().tuneSteps());

    public static final SettingSpec<Boolean> TUNE_NORMS = SettingSpec.negatable(SettingGroup.GRADIENT, "--tune-norms")
            .help("With --tune, also learn the weights and biases of the norms, together with the scales of the whole "
                    + "model. They keep their dtype.")
            .byDefault(Refinement.TUNES_NORMS)
            .readBy(GRADIENT)
            .where(run -> run.refinement().tuneSteps() > 0)
            .decidesBits()
            .value(run -> run.refinement().tuneNorms());

    public static final SettingSpec<Boolean> WEIGH_TOKENS = SettingSpec
            .negatable(SettingGroup.GRADIENT, "--weigh-tokens")
            .help("Weight calibration tokens by the loss's squared gradient, from a backward pass that takes about as long "
                    + "as gptq.")
            .byDefault(true)
            .readBy(GRADIENT)
            .decidesBits()
            .value(run -> run.refinement().weighTokens());

    public static final SettingSpec<Fisher> FISHER = SettingSpec
            .of(SettingGroup.GRADIENT, "--fisher", "LABELS", Fisher.class)
            .help("Labels of that loss. empirical: the next token of the text. sampled: a token drawn from the model's own "
                    + "predictions.")
            .byDefault(Fisher.EMPIRICAL)
            .readBy(GRADIENT)
            .where(run -> run.refinement().weighTokens())
            .decidesBits()
            .value(run -> Fisher.of(run.refinement().labels()));

    public static final SettingSpec<Boolean> PROPAGATE_ERROR = SettingSpec
            .negatable(SettingGroup.GRADIENT, "--propagate-error")
            .help("Error propagation: each block is solved to correct the errors of the blocks before it.")
            .byDefault(true)
            .readBy(GRADIENT)
            .decidesBits()
            .value(run -> run.refinement().propagate());

    private GradientOptions() {}
}
