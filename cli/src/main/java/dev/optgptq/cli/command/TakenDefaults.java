package dev.optgptq.cli.command;

import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.SettingsTable;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import picocli.CommandLine.ParseResult;

/**
 * The settings that were not given and affect the run, with their default values.
 *
 * @param values by option, in the order of the help
 */
record TakenDefaults(SequencedMap<String, String> values) {

    static TakenDefaults of(ParseResult parsed, QuantizeSettings settings) {
        SequencedMap<String, String> all = new LinkedHashMap<>();
        all.put("--output", settings.output().directory().toString());
        all.putAll(SettingsTable.values(settings));
        all.put("--threads", String.valueOf(settings.threads()));
        parsed.matchedOptions().forEach(option -> List.of(option.names()).forEach(all::remove));
        return new TakenDefaults(all);
    }

    List<String> options() {
        return new ArrayList<>(values.sequencedKeySet());
    }

    /** For the log; flags that are off are left out. */
    String sentence() {
        return values.entrySet().stream().filter(entry -> !entry.getValue().equals("false")).map(TakenDefaults::words)
                .collect(Collectors.joining(" ", "defaults: ", ""));
    }

    private static String words(Map.Entry<String, String> entry) {
        return entry.getValue().equals("true") ? entry.getKey() : entry.getKey() + " " + entry.getValue();
    }
}
