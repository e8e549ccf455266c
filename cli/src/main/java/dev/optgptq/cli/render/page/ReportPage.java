package dev.optgptq.cli.render.page;

import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.List;

/** report.html of a quantization. */
public final class ReportPage {

    private ReportPage() {}

    public static String of(RunReport report) {
        List<Element> parts = new ArrayList<>();
        parts.add(Overview.header(report));
        parts.addAll(Problems.of(report));
        parts.add(Overview.cards(report));
        parts.add(BeforeAfter.of(report));
        parts.addAll(StepsBought.of(report));
        parts.addAll(Modules.of(report));
        parts.add(Errors.of(report));
        parts.addAll(Experts.of(report));
        parts.addAll(List.of(Times.of(report), LayerTable.of(report), Settings.of(report), Overview.footer(report)));
        return Shell.page(Overview.title(report), parts);
    }
}
