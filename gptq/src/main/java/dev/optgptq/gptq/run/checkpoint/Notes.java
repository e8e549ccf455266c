package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.gptq.report.RunReport;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** Report entries in a journal's notes: numbers are restored to the bit. */
public final class Notes {

    private static final JsonMapper JSON = new JsonMapper();
    private static final String PHASES = "phases";
    private static final String FINGERPRINTS = "fingerprints";

    private Notes() {}

    /** A new note with the times of the run's phases so far. */
    public static ObjectNode withPhases(List<RunReport.Phase> phases) {
        ObjectNode note = JsonNodeFactory.instance.objectNode();
        note.set(PHASES, toJson(phases));
        return note;
    }

    public static List<RunReport.Phase> phases(ObjectNode note) {
        return list(note.path(PHASES), RunReport.Phase.class);
    }

    /** Keeps the fingerprints of linears, by module. */
    static void putFingerprints(ObjectNode note, Map<String, Long> fingerprints) {
        ObjectNode crcs = note.putObject(FINGERPRINTS);
        fingerprints.forEach(crcs::put);
    }

    static Map<String, Long> fingerprints(ObjectNode note) {
        Map<String, Long> fingerprints = new LinkedHashMap<>();
        note.path(FINGERPRINTS).propertyStream()
                .forEach(entry -> fingerprints.put(entry.getKey(), entry.getValue().asLong()));
        return fingerprints;
    }

    static JsonNode toJson(List<? extends Record> entries) {
        return JSON.valueToTree(entries);
    }

    static <T extends Record> List<T> list(JsonNode node, Class<T> type) {
        return node.valueStream().map(entry -> JSON.treeToValue(entry, type)).toList();
    }
}
