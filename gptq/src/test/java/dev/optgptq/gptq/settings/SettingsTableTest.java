package dev.optgptq.gptq.settings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import java.lang.reflect.Modifier;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class SettingsTableTest {

    private static final int MAX_POSITIONS = 4096;

    static List<SettingSpec<?>> settings() {
        return SettingsTable.all();
    }

    @Test
    void every_row_is_in_the_list_of_all() throws IllegalAccessException {
        Set<Object> rows = new HashSet<>();
        for (Class<?> table : List.of(SettingsTable.class, GradientOptions.class, ModuleOptions.class,
                TextOptions.class)) {
            for (var field : table.getDeclaredFields()) {
                if (Modifier.isStatic(field.getModifiers()) && field.getType() == SettingSpec.class) {
                    rows.add(field.get(null));
                }
            }
        }

        assertEquals(rows, Set.copyOf(SettingsTable.all()));
        assertEquals(rows.size(), SettingsTable.all().size(), "a row stands in it twice");
    }

    /** The default in the help is words; what a run takes is a value. */
    @ParameterizedTest
    @MethodSource("settings")
    void the_default_that_the_help_names_is_the_one_that_is_taken(SettingSpec<?> setting) {
        QuantizeSettings settings = settings(Map.of());
        String help = setting.help();
        if (!setting.isRead(settings) || !help.contains(" Default: ")) {
            return;
        }
        String named = help.substring(help.indexOf(" Default: ") + " Default: ".length());
        String taken = setting.value(settings);

        String words = taken.equals("true") ? setting.option() : taken;
        assertTrue(named.contains(words), setting + ": the help says " + named + ", taken is " + taken);
    }

    @ParameterizedTest
    @EnumSource(CalibratorKind.class)
    void what_a_calibrator_does_not_read_is_neither_reported_nor_part_of_the_identity(CalibratorKind calibrator) {
        QuantizeSettings settings = settings(Map.of(SettingsTable.CALIBRATOR, calibrator));
        Set<String> unread = SettingsTable.all().stream().filter(row -> !row.calibrators().contains(calibrator))
                .map(SettingSpec::option).collect(Collectors.toSet());

        assertFalse(unread.isEmpty());
        unread.forEach(option -> {
            assertFalse(SettingsTable.values(settings).containsKey(option), option);
            assertFalse(SettingsTable.deciding(settings).containsKey(option), option);
        });
    }

    @Test
    void defaults_follow_the_settings_that_were_given() {
        QuantizeSettings gptq = settings(Map.of(SettingsTable.CALIBRATOR, CalibratorKind.GPTQ));
        QuantizeSettings text = settings(
                Map.of(TextOptions.TEXT, new Repeated(List.of("train.txt")), SettingsTable.SYMMETRIC, false));

        assertEquals("static", SettingsTable.ACT_ORDER.value(gptq));
        assertEquals("none", SettingsTable.ACT_ORDER.value(text));
        assertEquals("512", SettingsTable.SEQUENCE_LENGTH.value(gptq));
        assertEquals("2048", SettingsTable.SEQUENCE_LENGTH.value(text));
        assertEquals("gptq", SettingsTable.FORMAT.value(gptq));
        assertEquals("gptq_v2", SettingsTable.FORMAT.value(text));
    }

    @Test
    void options_of_records_warn_where_no_text_has_any() {
        assertEquals(List.of(
                "warning: --field does nothing with texts that have no records, the bundled ones and plain text",
                "warning: --pack does nothing with texts that have no records, the bundled ones and plain text"),
                warnings(Map.of()));
        assertEquals(2, warnings(Map.of(TextOptions.TEXT, new Repeated(List.of("a.txt")))).size());
        assertEquals(List.of(), warnings(Map.of(TextOptions.TEXT, new Repeated(List.of("a.txt", "b.JSONL")))));
        assertEquals(List.of(), warnings(Map.of(SettingsTable.EVAL, Path.of("b.parquet"))));
        assertEquals(List.of("warning: --pack does nothing with --calibrator rtn, which uses no text"),
                warnings(Map.of(SettingsTable.EVAL, Path.of("b.parquet"), SettingsTable.CALIBRATOR,
                        CalibratorKind.RTN)));
    }

    /** With --field and --pack. A command with texts alone says the same. */
    private static List<String> warnings(Map<SettingSpec<?>, Object> more) {
        Map<SettingSpec<?>, Object> all = new HashMap<>(more);
        all.put(TextOptions.FIELD, "body");
        all.put(TextOptions.PACK, true);
        GivenSettings given = new GivenSettings(all, MAX_POSITIONS);
        QuantizeSettings settings = settings(all);
        List<String> warnings = IdleSettings.warnings(given, settings);
        if (settings.solving().calibrator() != CalibratorKind.RTN) {
            assertEquals(warnings, IdleSettings.warnings(given,
                    Stream.of(settings.calibration().text(), settings.evaluation().text())
                            .flatMap(text -> text.paths().stream()).toList()));
        }
        return warnings;
    }

    @Test
    void a_choice_is_written_in_lower_case() {
        assertEquals(Arrays.asList("rtn", "gptq", "gradient"), SettingsTable.CALIBRATOR.choices());
        assertEquals(Arrays.asList("gptq", "gptq_v2", "compressed-tensors", "awq", "w8a8", "mlx", "slimquant"),
                SettingsTable.FORMAT.choices());
        assertEquals(List.of(), SettingsTable.BITS.choices());
    }

    private static QuantizeSettings settings(Map<SettingSpec<?>, Object> given) {
        return QuantizeSettings.of(Path.of("model"), new GivenSettings(given, MAX_POSITIONS),
                new OutputSettings(Path.of("out"), false, false), 2);
    }
}
