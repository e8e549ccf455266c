package dev.optgptq.gptq.journal;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * Everything that decides the bits of a run's result, as text: runs with equal identities give equal results.
 *
 * @param facts values by readable names
 */
public record Identity(SequencedMap<String, String> facts) {

    public Identity {
        facts = Collections.unmodifiableSequencedMap(new LinkedHashMap<>(facts));
    }

    /** Sentences like "--bits was 4 and is 3"; empty if both are equal. */
    public List<String> changesSince(Identity earlier) {
        List<String> changes = new ArrayList<>();
        facts.forEach((name, now) -> {
            String was = earlier.facts.get(name);
            if (!now.equals(was)) {
                changes.add(name + (was == null ? " was not there" : " was " + was) + " and is " + now);
            }
        });
        earlier.facts.forEach((name, was) -> {
            if (!facts.containsKey(name)) {
                changes.add(name + " was " + was + " and is not there");
            }
        });
        return changes;
    }

    ObjectNode toJson() {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        facts.forEach(json::put);
        return json;
    }

    static Identity fromJson(JsonNode json) {
        SequencedMap<String, String> facts = new LinkedHashMap<>();
        json.propertyStream().forEach(fact -> facts.put(fact.getKey(), fact.getValue().asString()));
        return new Identity(facts);
    }
}
