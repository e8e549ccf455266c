package dev.optgptq.cli.render.page;

import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.RunReport.Layer;
import dev.optgptq.gptq.report.RunReport;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Every layer in numbers; the page's script makes the columns sortable. */
final class LayerTable {

    /** Longer tables start folded. */
    private static final int MANY = 60;
    private static final List<String> COLUMNS = List.of("module", ">outputs \u00D7 inputs", ">output error",
            ">weight error", ">damp", ">attempts", ">dead inputs", ">time");
    private static final List<String> WITH_PROBLEMS = Stream.concat(COLUMNS.stream(), Stream.of("problem")).toList();

    private LayerTable() {}

    static Element of(RunReport report) {
        boolean troubled = report.layers().stream().anyMatch(layer -> layer.problem() != null);
        Element table = Element.of("table", "sortable").add(Html.tableHead(troubled ? WITH_PROBLEMS : COLUMNS))
                .add(Element.of("tbody").addAll(report.layers().stream().map(layer -> row(layer, troubled)).toList()));
        Element fold = Element.of("details");
        Element details = (report.layers().size() <= MANY ? fold.with("open", "") : fold)
                .add(Element.of("summary").add(report.layers().size() + " layers")).add(Html.scrolling(table));
        return Html.section("layers", "Layers").add(details);
    }

    private static Element row(Layer layer, boolean problems) {
        String problem = layer.problem();
        Element row = Element.of("tr").add(Html.code(layer.module()))
                .add(Html.number(layer.outputs() + " \u00D7 " + layer.inputs(),
                        (double) layer.outputs() * layer.inputs()))
                .add(error(layer.relativeError())).add(error(layer.weightError())).add(damp(layer.damp()))
                .add(Html.number(Integer.toString(layer.dampAttempts()), layer.dampAttempts()))
                .add(Html.number(Integer.toString(layer.deadInputs()), layer.deadInputs()))
                .add(Html.number(Units.duration(layer.seconds()), layer.seconds()));
        if (problem != null) {
            return row.with("class", "troubled").add(Html.cell(problem));
        }
        return problems ? row.add(Html.cell("")) : row;
    }

    private static Element error(@Nullable Double value) {
        return value == null ? Html.number("", -1) : Html.number(Units.small(value), value);
    }

    private static Element damp(@Nullable Double value) {
        return value == null ? Html.number("", -1) : Html.number(Double.toString(value), value);
    }
}
