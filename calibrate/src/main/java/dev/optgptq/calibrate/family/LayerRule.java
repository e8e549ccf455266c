package dev.optgptq.calibrate.family;

import com.fasterxml.jackson.annotation.JsonCreator;
import java.util.List;
import java.util.Objects;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * Selects the blocks that have a property. A description lists alternatives, of which the first whose keys are in
 * config.json applies; each is a list of terms that must all hold:
 *
 * <pre>
 *   [[{"list": "layer_types", "is": ["sliding_attention"]}], [{"every": "sliding_window_pattern", "not": true}]]
 * </pre>
 *
 * where "list" looks at the block's entry of a list (or letter of a string), "every" holds for every n-th block, the last of
 * each n, "from" and "below" compare the block's number, "in" looks for it in a list, and "not" negates a term.
 */
record LayerRule(List<List<Term>> alternatives) {

    @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
    static LayerRule of(List<List<Term>> alternatives) {
        return new LayerRule(alternatives);
    }

    /** One condition of a block's number. */
    record Term(@Nullable String list, @Nullable List<JsonNode> is, @Nullable Setting every, @Nullable Setting from,
            @Nullable Setting below, @Nullable String in, @Nullable Boolean not) {

        private boolean isGiven(ConfigReader config) {
            return (list == null || isList(config.at(list))) && (in == null || config.has(in))
                    && (every == null || every.isGiven(config)) && (from == null || from.isGiven(config))
                    && (below == null || below.isGiven(config));
        }

        private boolean holds(ConfigReader config, int block) {
            boolean found = list == null || is == null || is.contains(entry(config, list, block));
            found &= every == null || (block + 1) % every.positiveInt(config) == 0;
            found &= from == null || block >= from.number(config);
            found &= below == null || block < below.number(config);
            if (in != null) {
                found &= config.at(in).valueStream().anyMatch(value -> value.intValue(-1) == block);
            }
            return found != Boolean.TRUE.equals(not);
        }

        /** A number under the same key is an interval, for "every". */
        private static boolean isList(JsonNode found) {
            return found.isArray() || found.isString();
        }

        private Stream<String> keys() {
            return Stream.concat(Stream.of(list, in).filter(Objects::nonNull),
                    Stream.of(every, from, below).filter(Objects::nonNull).map(Setting::key));
        }

        private static JsonNode entry(ConfigReader config, String list, int block) {
            JsonNode found = config.at(list);
            if (found.isString()) {
                String letters = found.stringValue();
                return tools.jackson.databind.node.StringNode
                        .valueOf(letters.substring(block % letters.length(), block % letters.length() + 1));
            }
            if (block >= found.size()) {
                throw config.bad(list + " has " + found.size() + " entries; expected one for each block");
            }
            return found.path(block);
        }
    }

    boolean holds(ConfigReader config, int block) {
        for (List<Term> terms : alternatives) {
            if (terms.stream().allMatch(term -> term.isGiven(config))) {
                return terms.stream().allMatch(term -> term.holds(config, block));
            }
        }
        throw config.bad("expected one of the fields that tell the kinds of blocks: "
                + alternatives.stream().flatMap(List::stream).flatMap(Term::keys).distinct()
                        .collect(Collectors.joining(", ")));
    }

    /** All blocks where nothing is said. */
    static boolean anyOrAll(@Nullable LayerRule rule, ConfigReader config, int block) {
        return rule == null || rule.holds(config, block);
    }
}
