package dev.optgptq.cli.command;

import dev.optgptq.gptq.settings.Repeated;
import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.settings.GivenSettings;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.SettingGroup;
import dev.optgptq.gptq.settings.SettingSpec;
import dev.optgptq.gptq.settings.SettingsTable;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Model.ArgGroupSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** The options of quantize that stand in the settings table: built from it, and read back into it. */
final class SettingOptions {

    private static final Map<SettingSpec<?>, Object> QUICK = Map.of(SettingsTable.CALIBRATOR, CalibratorKind.GPTQ,
            SettingsTable.SCALE_SEARCH, true, SettingsTable.SAMPLES, 32);

    private SettingOptions() {}

    /**
     * Adds them, in groups.
     *
     * @param firstOrder place of the first group in the help
     */
    static void addTo(CommandSpec command, int firstOrder) {
        addTo(command, firstOrder, SettingsTable.all());
    }

    /** Some of them. */
    static void addTo(CommandSpec command, int firstOrder, List<SettingSpec<?>> settings) {
        int order = firstOrder;
        for (SettingGroup group : SettingGroup.values()) {
            if (settings.stream().noneMatch(setting -> setting.group() == group)) {
                continue;
            }
            ArgGroupSpec.Builder options = ArgGroupSpec.builder().validate(false).order(order++)
                    .heading("%n" + group.heading() + ":%n");
            settings.stream().filter(setting -> setting.group() == group)
                    .forEach(setting -> options.addArg(option(setting)));
            command.addArgGroup(options.build());
        }
    }

    private static OptionSpec option(SettingSpec<?> setting) {
        OptionSpec.Builder option = OptionSpec.builder(setting.option()).type(setting.type())
                .description(setting.help().replace("%", "%%"));
        if (setting.type() == Boolean.class) {
            return option.negatable(setting.negatable()).fallbackValue("true").build();
        }
        option.paramLabel(setting.label());
        if (setting.type() == Repeated.class) {
            return option.type(List.class).auxiliaryTypes(String.class).build();
        }
        if (!setting.choices().isEmpty()) {
            option.completionCandidates(setting.choices());
        }
        return option.build();
    }

    /**
     * The settings that were given. UserError BAD_SETTING for --quick with a calibrator other than its own.
     *
     * @param quick whether the settings of --quick stand for those that were not given
     */
    static GivenSettings given(ParseResult parsed, int maxPositions, boolean quick) {
        Map<SettingSpec<?>, Object> given = quick ? new HashMap<>(QUICK) : new HashMap<>();
        given.putAll(found(parsed, SettingsTable.all()));
        GivenSettings settings = new GivenSettings(given, maxPositions);
        CalibratorKind calibrator = settings.get(SettingsTable.CALIBRATOR);
        if (quick && calibrator != CalibratorKind.GPTQ) {
            throw new UserError(UserError.Code.BAD_SETTING,
                    "--quick: expected --calibrator gptq, which it stands for, found "
                            + "--calibrator " + calibrator);
        }
        return settings;
    }

    /** The settings given to a command that has some of them. */
    static GivenSettings given(ParseResult parsed, int maxPositions, List<SettingSpec<?>> settings) {
        return new GivenSettings(found(parsed, settings), maxPositions);
    }

    private static Map<SettingSpec<?>, Object> found(ParseResult parsed, List<SettingSpec<?>> settings) {
        Map<SettingSpec<?>, Object> found = new HashMap<>();
        for (SettingSpec<?> setting : settings) {
            OptionSpec option = parsed.matchedOption(setting.option());
            if (option != null) {
                found.put(setting, setting.type() == Repeated.class
                        ? new Repeated(option.getValue())
                        : option.getValue());
            }
        }
        return found;
    }
}
