package dev.optgptq.gptq.settings;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * Settings that were given but would not be read. One that selects a method is refused: the result would not be what
 * was asked for. One that scripts pass to every calibrator gives a warning.
 */
public final class IdleSettings {

    private static final String NO_RECORDS = "texts that have no records, the bundled ones and plain text";

    private IdleSettings() {}

    /** Throws UserError BAD_SETTING. */
    static void refuse(GivenSettings given) {
        CalibratorKind calibrator = given.get(SettingsTable.CALIBRATOR);
        for (SettingSpec<?> setting : SettingsTable.all()) {
            boolean idle = given.has(setting) && !setting.calibrators().contains(calibrator);
            SettingChecks.require(!idle || isWarnedAbout(setting, calibrator), setting.option(),
                    "--calibrator " + calibrator, reader(setting, calibrator));
        }
        SettingChecks.require(!given.has(GradientOptions.FISHER) || given.get(GradientOptions.WEIGH_TOKENS),
                GradientOptions.FISHER.option(), "--no-weigh-tokens", "--weigh-tokens, whose loss it chooses");
    }

    private static boolean isWarnedAbout(SettingSpec<?> setting, CalibratorKind calibrator) {
        return switch (setting.group()) {
            case CALIBRATION, EVALUATION -> true;
            case MODULES -> false;
            case QUANTIZATION, GRADIENT ->
                setting == SettingsTable.SCALE_SEARCH && calibrator == CalibratorKind.GRADIENT;
        };
    }

    private static String reader(SettingSpec<?> setting, CalibratorKind calibrator) {
        if (setting.group() == SettingGroup.GRADIENT) {
            return "--calibrator gradient, the only one that uses it";
        }
        return switch (calibrator) {
            case RTN -> "a calibrator that uses text: gptq or gradient";
            case GPTQ, GRADIENT -> setting == SettingsTable.TRUE_SEQUENTIAL
                    ? "--calibrator gptq: gradient has its own error propagation"
                    : "one search of the scales, not two: --calibrator gptq without --scale-search";
        };
    }

    /** Sentences, without a full stop. */
    public static List<String> warnings(GivenSettings given, QuantizeSettings settings) {
        List<String> warnings = new ArrayList<>();
        for (SettingSpec<?> setting : SettingsTable.all()) {
            // Gradient calibration multiplies in float32 anyway.
            boolean sameAnyway = setting == SettingsTable.PRECISION
                    && settings.calibration().precision() == Precision.FLOAT32;
            if (given.has(setting) && !setting.isRead(settings) && !sameAnyway) {
                warnings.add(warning(setting, reason(setting, settings)));
            }
        }
        return warnings;
    }

    /** The same for a command that only shares the settings for texts, with the user's files. */
    public static List<String> warnings(GivenSettings given, List<Path> texts) {
        if (texts.stream().anyMatch(Corpus::holdsRecords)) {
            return List.of();
        }
        return Stream.of(TextOptions.FIELD, TextOptions.PACK).filter(given::has)
                .map(setting -> warning(setting, NO_RECORDS)).toList();
    }

    private static String warning(SettingSpec<?> setting, String reason) {
        return "warning: " + setting.option() + " does nothing with " + reason;
    }

    private static String reason(SettingSpec<?> setting, QuantizeSettings settings) {
        if (setting == SettingsTable.WINDOW) {
            return "--eval none";
        }
        if (setting == SettingsTable.TENSOR_PARALLEL) {
            return "no --target";
        }
        boolean usesText = setting.calibrators().contains(settings.solving().calibrator());
        if (setting == TextOptions.FIELD || (setting == TextOptions.PACK && usesText)) {
            return NO_RECORDS;
        }
        if (setting == SettingsTable.EXPERTS_AT_ONCE) {
            return switch (settings.solving().calibrator()) {
                case RTN -> "--calibrator rtn, which uses no text";
                case GPTQ -> "--true-sequential, which sums one site at a time";
                case GRADIENT -> "--calibrator gradient, which sums all experts at once";
            };
        }
        return switch (settings.solving().calibrator()) {
            case RTN -> "--calibrator rtn, which uses no text";
            case GPTQ -> "--calibrator gptq";
            case GRADIENT -> switch (setting.group()) {
                case QUANTIZATION -> "--calibrator gradient, which always searches scales";
                case CALIBRATION -> "--calibrator gradient, which multiplies in float32";
                case GRADIENT, EVALUATION, MODULES -> "--tune 0";
            };
        };
    }
}
