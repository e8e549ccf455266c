package dev.optgptq.cli.render.page;

import dev.optgptq.cli.render.chart.ErrorChart;
import dev.optgptq.cli.render.chart.Marker;
import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.gptq.report.RunReport.Layer;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.List;

/** How well each layer was quantized. */
final class Errors {

    private static final String OUTPUT_ERROR = "Relative output error: the share of a layer\u2019s output energy over the "
            + "calibration inputs that quantization changed, |X(W \u2212 Q)\u1D40|\u00B2 / |XW\u1D40|\u00B2. ";
    private static final String WEIGHT_ERROR = "Relative weight error, |W \u2212 Q|\u00B2 / |W|\u00B2, since this "
            + "calibrator uses no inputs. ";
    private static final String READING = "Each line is one linear layer of the block; hover over a point for its name.";

    private Errors() {}

    static Element of(RunReport report) {
        List<String> roles = report.layers().stream().map(Layer::role).distinct().toList();
        boolean outputs = report.layers().stream().anyMatch(layer -> layer.relativeError() != null);
        ErrorChart chart = new ErrorChart(outputs ? "Relative output error" : "Relative weight error", roles,
                points(report.layers(), roles, outputs));
        return Html.section("errors", "Error by layer").add(legend(roles))
                .add(Html.figure(Html.scrolling(chart.svg()), (outputs ? OUTPUT_ERROR : WEIGHT_ERROR) + READING));
    }

    private static List<ErrorChart.Point> points(List<Layer> layers, List<String> roles, boolean outputs) {
        List<ErrorChart.Point> points = new ArrayList<>();
        for (Layer layer : layers) {
            Double error = outputs ? layer.relativeError() : (Double) layer.weightError();
            if (error != null) {
                points.add(new ErrorChart.Point(roles.indexOf(layer.role()), layer.block(), layer.module(), error,
                        layer.problem() != null));
            }
        }
        return points;
    }

    private static Element legend(List<String> roles) {
        Element list = Element.of("ul", "legend");
        for (int series = 0; series < roles.size(); series++) {
            list = list.add(Element.of("li").add(Marker.swatch(series)).add(roles.get(series)));
        }
        return list;
    }
}
