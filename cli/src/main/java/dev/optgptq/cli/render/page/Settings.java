package dev.optgptq.cli.render.page;

import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.RunReport;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The options given, the defaults, and the machine. */
final class Settings {

    private Settings() {}

    static Element of(RunReport report) {
        return Html.section("settings", "Settings and machine")
                .add(Element.of("div", "pair").add(settings(report)).add(machine(report)));
    }

    private static Element settings(RunReport report) {
        Element rows = Element.of("tbody");
        for (Map.Entry<String, String> setting : report.command().entrySet()) {
            Element value = Html.cell(setting.getValue());
            boolean byDefault = report.defaults().contains(setting.getKey());
            rows = rows.add(Element.of("tr").add(Html.code(setting.getKey()))
                    .add(byDefault ? value.add(" ").add(Element.of("span", "badge").add("default")) : value));
        }
        return Html.scrolling(
                Element.of("table", "narrow").add(Html.tableHead(List.of("option", "value"))).add(rows));
    }

    private static Element machine(RunReport report) {
        RunReport.Machine machine = report.machine();
        RunReport.Memory memory = report.memory();
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put("device", machine.device() + ": " + machine.deviceDescription());
        facts.put("threads", Integer.toString(machine.threads()));
        facts.put("system", machine.operatingSystem());
        facts.put("Java", machine.java());
        facts.put("memory planned", Units.bytes(memory.planned()));
        facts.put("peak anonymous memory",
                memory.peakAnonymous() < 0 ? "unknown" : Units.bytes(memory.peakAnonymous()));
        facts.put("peak on the device", Units.bytes(memory.peakDevice()));
        facts.put("spilled to files", Units.bytes(memory.spilled()));
        RunReport.Range range = report.range();
        Double largest = range.largestActivation();
        facts.put("checkpoint computes in", range.dtype());
        facts.put("largest activation", largest == null
                ? "unknown"
                : String.format(Locale.ROOT, "%,.3g, %s", largest, range.largestAt()));
        facts.put("negative scales", String.format(Locale.ROOT, "%.1f %%", 100 * range.negativeScales()));
        Element rows = Element.of("tbody");
        for (Map.Entry<String, String> fact : facts.entrySet()) {
            rows = rows.add(Element.of("tr").add(Html.cell(fact.getKey())).add(Html.cell(fact.getValue())));
        }
        return Html.scrolling(
                Element.of("table", "narrow").add(Html.tableHead(List.of("machine", ""))).add(rows));
    }
}
