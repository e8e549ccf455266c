package dev.optgptq.cli.render.page;

import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.chart.Marker;
import dev.optgptq.cli.render.chart.TimeChart;
import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.RunReport.Phase;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Time by phase, as a bar and in numbers. */
final class Times {

    private static final double MIN_SECONDS_FOR_RATE = 1e-3;

    private Times() {}

    static Element of(RunReport report) {
        TimeChart chart = new TimeChart(
                report.phases().stream().map(phase -> new TimeChart.Part(phase.name(), phase.seconds())).toList());
        Element table = Element.of("table", "narrow")
                .add(Html.tableHead(List.of("phase", ">time", ">share", ">GFLOP/s")))
                .add(Element.of("tbody").addAll(rows(report.phases(), chart.seconds())));
        return Html.section("time", "Where the time went").add(Html.scrolling(chart.svg())).add(Html.scrolling(table));
    }

    private static List<Element> rows(List<Phase> phases, double total) {
        List<Element> rows = new ArrayList<>();
        for (int i = 0; i < phases.size(); i++) {
            Phase phase = phases.get(i);
            boolean timed = phase.flops() > 0 && phase.seconds() > MIN_SECONDS_FOR_RATE;
            Element name = Element.of("td").add(Element.of("span", "block " + Marker.color(i))).add(phase.name());
            rows.add(Element.of("tr").add(name).add(Html.number(Units.duration(phase.seconds())))
                    .add(Html.number(
                            String.format(Locale.ROOT, "%.1f %%", 100 * phase.seconds() / Math.max(total, 1e-9))))
                    .add(Html.number(
                            timed ? String.format(Locale.ROOT, "%.0f", phase.flops() / phase.seconds() / 1e9) : "")));
        }
        return rows;
    }
}
