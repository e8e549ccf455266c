package dev.optgptq.cli.command;

import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.ParseResult;

/**
 * Options of quantize that were given and that nothing would read. One that asks for another method is refused: the result would
 * not be what was asked for. One that scripts pass to every calibrator alike is warned about.
 */
record IdleOptions(ParseResult parsed) {

    private static final List<String> OF_GRADIENTS = List.of("--weigh-tokens", "--fisher", "--propagate-error",
            "--tune",
            "--tune-norms");
    private static final List<String> OF_SOLVING = List.of("--scale-search", "--refit-scales", "--coordinate-descent",
            "--act-order", "--damp", "--true-sequential");
    private static final List<String> OF_TEXT = List.of("--calibration", "--sampling", "--samples", "--sequence-length",
            "--seed", "--precision");

    /** UserError BAD_SETTING. */
    void refuse(CalibratorKind calibrator, RefineOptions refine) {
        String found = "--calibrator " + calibrator;
        if (calibrator == CalibratorKind.RTN) {
            refuse(OF_SOLVING, found, "a calibrator that sees text: gptq or gradient");
        }
        if (calibrator != CalibratorKind.GRADIENT) {
            refuse(OF_GRADIENTS, found, "--calibrator gradient, which alone reads it");
        } else if (!refine.weighTokens) {
            refuse(List.of("--fisher"), "--no-weigh-tokens", "--weigh-tokens, whose loss it chooses");
        }
    }

    private void refuse(List<String> options, String found, String expected) {
        options.stream().filter(this::given)
                .forEach(option -> Checks.require(false, option, found, expected));
    }

    /** Sentences, without a full stop. */
    List<String> warnings(CalibratorKind calibrator, CalibrationOptions calibration, EvaluationOptions evaluation) {
        List<String> warnings = new ArrayList<>();
        switch (calibrator) {
            case RTN -> warn(warnings, OF_TEXT, "with --calibrator rtn, which sees no text");
            case GRADIENT -> {
                warn(warnings, List.of("--scale-search"), "with --calibrator gradient, which always searches scales");
                if (calibration.precision != Precision.FLOAT32) {
                    warn(warnings, List.of("--precision"), "with --calibrator gradient, which multiplies in float32");
                }
            }
            case GPTQ -> {
            }
        }
        if (!evaluation.wanted()) {
            warn(warnings, List.of("--window"), "with --eval none");
        }
        return warnings;
    }

    private void warn(List<String> warnings, List<String> options, String where) {
        options.stream().filter(this::given)
                .forEach(option -> warnings.add("warning: " + option + " does nothing " + where));
    }

    private boolean given(String option) {
        return parsed.hasMatchedOption(option);
    }
}
