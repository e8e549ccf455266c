package dev.optgptq.cli.render.page;

import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.List;

/** Warnings, and layers that could not be solved well: always visible, at the top. */
final class Problems {

    private Problems() {}

    /** Empty without problems. */
    static List<Element> of(RunReport report) {
        List<Element> items = new ArrayList<>();
        for (RunReport.Layer layer : report.layers()) {
            String problem = layer.problem();
            if (problem != null) {
                items.add(Element.of("li").add(Element.of("code").add(layer.module())).add(": " + problem));
            }
        }
        int troubled = items.size();
        report.warnings().forEach(warning -> items.add(Element.of("li").add(warning)));
        if (items.isEmpty()) {
            return List.of();
        }
        String title = troubled == 0
                ? "Warnings"
                : troubled == 1 ? "1 layer needs attention" : troubled + " layers need attention";
        return List.of(Element.of("section", troubled == 0 ? "notice" : "notice alarming").with("id", "problems")
                .add(Element.of("h2").add(title)).add(Element.of("ul").addAll(items)));
    }
}
