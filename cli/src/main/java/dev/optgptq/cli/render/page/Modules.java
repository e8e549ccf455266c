package dev.optgptq.cli.render.page;

import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/** Linears that differ from the others, and the bits that were chosen. */
final class Modules {

    private Modules() {}

    /** Nothing where all linears are alike. */
    static List<Element> of(RunReport report) {
        List<Element> sections = new ArrayList<>();
        RunReport.ChosenBits chosen = report.allocation();
        if (chosen != null) {
            sections.add(bits(chosen));
        }
        if (!report.modules().isEmpty()) {
            sections.add(own(report.modules()));
        }
        return sections;
    }

    private static Element own(List<RunReport.OwnGrid> modules) {
        Element rows = Element.of("tbody");
        for (RunReport.OwnGrid own : modules) {
            Integer groupSize = own.groupSize();
            Boolean symmetric = own.symmetric();
            Element row = Element.of("tr").add(Html.code(own.pattern()))
                    .add(Html.number(String.valueOf(own.modules())));
            rows = rows.add(own.bits() == null || groupSize == null || symmetric == null
                    ? row.add(Html.cell("not quantized"))
                    : row.add(Html.cell(own.bits() + " bits, "
                            + (groupSize == -1 ? "one group per output" : "groups of " + groupSize) + ", "
                            + (symmetric ? "symmetric" : "asymmetric"))));
        }
        return Html.section("modules", "Modules with settings of their own").add(Html.scrolling(
                Element.of("table").add(Html.tableHead(List.of("modules", ">how many", "settings"))).add(rows)));
    }

    /** Blocks in rows, sets of linears in columns. */
    private static Element bits(RunReport.ChosenBits chosen) {
        Map<Integer, Map<String, RunReport.Choice>> blocks = new LinkedHashMap<>();
        Set<String> columns = new LinkedHashSet<>();
        for (RunReport.Choice choice : chosen.choices()) {
            String linears = String.join(", ", choice.linears());
            columns.add(linears);
            blocks.computeIfAbsent(choice.block(), block -> new LinkedHashMap<>()).put(linears, choice);
        }
        Element rows = Element.of("tbody");
        for (Map.Entry<Integer, Map<String, RunReport.Choice>> block : blocks.entrySet()) {
            Element row = Element.of("tr").add(Html.number(String.valueOf(block.getKey()), block.getKey()));
            for (String linears : columns) {
                RunReport.Choice choice = block.getValue().get(linears);
                row = row.add(choice == null
                        ? Html.number("")
                        : Html.number(String.valueOf(choice.bits()), choice.bits()).with("title", costs(choice)));
            }
            rows = rows.add(row);
        }
        List<String> titles = new ArrayList<>(List.of(">block"));
        columns.forEach(linears -> titles.add(">" + linears));
        return Html.section("bits", "Bits by block")
                .add(Html.paragraph("lead", String.format(Locale.ROOT,
                        "Bits chosen for each block. The loss is expected to rise by %s nats per token, to second order; %s of %s "
                                + "are used, %.2f bits per weight with scales and zero points. Hover over a number for what each "
                                + "width would have cost; report.json has all of it, allocation.choices.",
                        Units.small(chosen.lossIncrease()),
                        Units.bytes(chosen.bytes()), Units.bytes(chosen.budgetBytes()), chosen.averageBits())))
                .add(Html.scrolling(
                        Element.of("table", "sortable").add(Html.tableHead(titles)).add(rows)));
    }

    private static String costs(RunReport.Choice choice) {
        return choice.widths().stream().map(width -> width.bits() + " bits: " + Units.bytes(width.bytes()) + ", loss +"
                + Units.small(width.lossIncrease())).collect(Collectors.joining("; "));
    }
}
