package dev.optgptq.gptq.settings;

import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;

/** Settings that are refused: invalid values, settings that would not be read, and pairs that exclude each other. */
final class SettingConflicts {

    private SettingConflicts() {}

    /** Throws UserError BAD_SETTING. */
    static void check(GivenSettings given) {
        SettingsTable.all().forEach(setting -> setting.check(given));
        checkSearches(given);
        IdleSettings.refuse(given);
        SettingChecks.require(given.get(GradientOptions.TUNE) > 0 || !given.get(GradientOptions.TUNE_NORMS),
                GradientOptions.TUNE_NORMS.option(), "--tune 0", "steps to learn in, such as --tune 100");
    }

    private static void checkSearches(GivenSettings given) {
        boolean searchesScales = given.get(SettingsTable.SCALE_SEARCH);
        boolean gradient = given.get(SettingsTable.CALIBRATOR) == CalibratorKind.GRADIENT;
        SettingChecks.require(!given.get(SettingsTable.CLIP_SEARCH) || !(searchesScales || gradient),
                SettingsTable.CLIP_SEARCH.option(),
                searchesScales ? SettingsTable.SCALE_SEARCH.option() : "--calibrator gradient",
                "one search of the scales, not two: --calibrator gptq without --scale-search");
    }
}
