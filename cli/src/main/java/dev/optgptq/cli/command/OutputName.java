package dev.optgptq.cli.command;

import dev.optgptq.gptq.settings.GivenSettings;
import dev.optgptq.gptq.settings.GradientOptions;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.SettingSpec;
import dev.optgptq.gptq.settings.SettingsTable;
import java.nio.file.Path;
import java.util.function.Function;

/** The default output directory: beside the model, named after the settings that affect the checkpoint. */
final class OutputName {

    private OutputName() {}

    /** MODEL-gradient-w4g128, with a suffix for every choice that differs from the defaults. */
    static Path beside(Path model, GivenSettings given) {
        Path source = model.toAbsolutePath().normalize();
        Path name = source.getFileName();
        String base = (name == null ? "model" : name.toString()) + suffix(given);
        return model.isAbsolute() || model.toString().isEmpty() || name == null || endsInDots(model)
                ? source.resolveSibling(base)
                : model.normalize().resolveSibling(base);
    }

    /** "." and "..": the folder's real name and parent are known only from the absolute path. */
    private static boolean endsInDots(Path model) {
        Path last = model.normalize().getFileName();
        return last == null || last.toString().isEmpty() || last.toString().equals("..");
    }

    private static String suffix(GivenSettings given) {
        CalibratorKind calibrator = given.get(SettingsTable.CALIBRATOR);
        int groupSize = given.get(SettingsTable.GROUP_SIZE);
        StringBuilder suffix = new StringBuilder(
                "-" + calibrator + "-w" + SettingsTable.width(given));
        suffix.append(groupSize == -1 ? "-row" : "g" + groupSize);
        suffix.append(given.get(SettingsTable.SYMMETRIC) ? "" : "-asym")
                .append(given.get(SettingsTable.CLIP_SEARCH) ? "-clip" : "")
                .append(given.get(SettingsTable.SCALE_SEARCH) ? "-search" : "");
        if (calibrator != CalibratorKind.RTN) {
            append(suffix, given, SettingsTable.ACT_ORDER, order -> "-act-" + order);
            suffix.append(given.get(SettingsTable.TRUE_SEQUENTIAL) ? "-seq" : "");
            append(suffix, given, SettingsTable.REFIT_SCALES, refit -> refit ? "-refit" : "-norefit");
            append(suffix, given, SettingsTable.COORDINATE_DESCENT, sweeps -> "-descent" + sweeps);
        }
        if (calibrator == CalibratorKind.GRADIENT && given.get(GradientOptions.TUNE) > 0) {
            suffix.append("-tune").append(given.get(GradientOptions.TUNE));
            append(suffix, given, GradientOptions.TUNE_NORMS, norms -> norms ? "-norms" : "-nonorms");
        }
        return suffix.append(SettingsTable.hasRules(given) ? "-mixed" : "").toString();
    }

    /** The options that were given, even with the default value. */
    private static <T> void append(StringBuilder suffix, GivenSettings given, SettingSpec<T> setting,
            Function<T, String> words) {
        if (given.has(setting)) {
            suffix.append(words.apply(given.get(setting)));
        }
    }
}
