package dev.optgptq.cli.render.page;

import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.ExpertCoverage;
import dev.optgptq.gptq.report.RunReport;
import java.util.List;
import java.util.Locale;

/** How the calibration text fell on the experts of each block. */
final class Experts {

    private static final String READING = "Calibration tokens that the router sent to an expert. With fewer than it has inputs, its "
            + "Hessian is drawn towards that of its layer; more calibration text makes that unnecessary. Tokens of every "
            + "expert: report.json, layers[].tokens.";
    private static final List<String> COLUMNS = List.of("block", ">experts", ">fewest tokens", ">median", ">most",
            ">without any", ">drawn to the layer", ">by at most");

    private Experts() {}

    /** Nothing for a model without experts, or one that was not calibrated. */
    static List<Element> of(RunReport report) {
        List<ExpertCoverage> coverage = ExpertCoverage.of(report.layers());
        if (coverage.isEmpty()) {
            return List.of();
        }
        Element table = Element.of("table", "sortable").add(Html.tableHead(COLUMNS))
                .add(Element.of("tbody").addAll(coverage.stream().map(Experts::row).toList()));
        return List.of(Html.section("experts", "Experts").add(Html.paragraph("lead", READING))
                .add(Html.scrolling(table)));
    }

    private static Element row(ExpertCoverage block) {
        return Element.of("tr").add(number(block.block())).add(number(block.tokens().size()))
                .add(number(block.fewest())).add(number(block.median())).add(number(block.most()))
                .add(number(block.unseen())).add(number(block.shrunk()))
                .add(Html.number(String.format(Locale.ROOT, "%.0f %%", 100 * block.mostShrunk()), block.mostShrunk()));
    }

    private static Element number(long value) {
        return Html.number(String.format(Locale.ROOT, "%,d", value), (double) value);
    }
}
