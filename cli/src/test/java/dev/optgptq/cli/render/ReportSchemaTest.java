package dev.optgptq.cli.render;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import dev.optgptq.formats.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** docs/report.md against real reports. */
class ReportSchemaTest {

    private static final Pattern FIELD = Pattern.compile("^\\| `([^`]+)` \\|", Pattern.MULTILINE);

    /** Objects that stand in the tables themselves, to say when they are null; and one whose keys are the options. */
    private static final Set<String> WHOLE = Set.of("quality", "baseline", "change", "difference", "divergence",
            "ablation", "modules", "allocation");
    private static final String SETTINGS = "command";

    @TempDir
    Path directory;

    @Test
    void every_field_of_a_quantize_report_is_documented_and_every_documented_one_is_there() throws IOException {
        CommandRun run = CommandRun.of("quantize", Models.llama(), "--calibrator", "rtn", "--output",
                directory.resolve("w4"), "--eval", Models.text(directory), "--window", 64, "--json").succeeds();
        assertEquals(without(documented("report.json"), "ablation.", "modules[]", "allocation."), fields(run.json()));
    }

    @Test
    void every_field_of_a_run_that_was_refined_step_by_step_is_documented() throws IOException {
        assertEquals(documented("report.json"),
                fields(JsonMapper.shared().readTree(ReportJson.text(Reports.refined(2)))));
    }

    @Test
    void every_field_of_an_evaluation_is_documented_and_every_documented_one_is_there() throws IOException {
        CommandRun run = CommandRun.of("eval", "perplexity", Models.llama(), "--baseline", Models.llama(), "--text",
                Models.text(directory), "--window", 64, "--max-increase", "1%", "--json", "-").succeeds();
        assertEquals(documented("eval perplexity"), fields(run.json()));
    }

    @Test
    void every_code_of_a_failure_is_documented() throws IOException {
        String text = section("When it fails");
        for (UserError.Code code : UserError.Code.values()) {
            assertTrue(text.contains("`" + code + "`"), code::toString);
        }
    }

    @Test
    void every_phase_of_a_run_is_documented() throws IOException {
        CommandRun run = CommandRun.of("quantize", Models.llama(), "--samples", 2, "--sequence-length", 32, "--output",
                directory.resolve("w4"), "--eval", Models.text(directory), "--window", 64, "--json").succeeds();
        String text = section("report.json");
        run.json().get("phases").forEach(phase -> assertTrue(text.contains("`" + phase.get("name").asString() + "`"),
                phase::toString));
    }

    private static Set<String> documented(String title) throws IOException {
        Set<String> fields = new TreeSet<>(
                FIELD.matcher(section(title)).results().map((MatchResult match) -> match.group(1)).toList());
        fields.removeAll(WHOLE);
        return fields;
    }

    private static Set<String> without(Set<String> fields, String... prefixes) {
        fields.removeIf(field -> Stream.of(prefixes).anyMatch(field::startsWith));
        return fields;
    }

    private static String section(String title) throws IOException {
        List<String> sections = List
                .of(Files.readString(Models.root().resolve("docs/report.md")).split("(?m)^## ", -1));
        return sections.stream().filter(text -> text.lines().findFirst().orElse("").contains(title)).findFirst()
                .orElseThrow();
    }

    private static Set<String> fields(JsonNode report) {
        Set<String> fields = new TreeSet<>();
        collect("", report, fields);
        fields.removeAll(WHOLE);
        return fields;
    }

    private static void collect(String path, JsonNode node, Set<String> fields) {
        if (node.isObject() && !path.equals(SETTINGS)) {
            node.propertyStream().forEach(
                    field -> collect(path.isEmpty() ? field.getKey() : path + "." + field.getKey(), field.getValue(),
                            fields));
        } else if (node.isArray() && node.valueStream().anyMatch(JsonNode::isObject)) {
            node.valueStream().forEach(element -> collect(path + "[]", element, fields));
        } else {
            fields.add(path);
        }
    }
}
