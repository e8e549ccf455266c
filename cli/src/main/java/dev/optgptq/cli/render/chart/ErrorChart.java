package dev.optgptq.cli.render.chart;

import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.markup.Element;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * One error per layer: blocks from left to right, the error upwards on a logarithmic axis, one line for each role.
 *
 * @param measure what the error is: "relative output error"
 * @param roles in the order of their colours
 * @param points the layers
 */
public record ErrorChart(String measure, List<String> roles, List<Point> points) {

    private static final double WIDTH = 960;
    private static final double HEIGHT = 380;
    private static final double LEFT = 64;
    private static final double RIGHT = 14;
    private static final double TOP = 14;
    private static final double BOTTOM = 46;
    private static final int MANY_BLOCKS = 40;

    /**
     * @param series index of its role
     * @param module its name on disk
     * @param problem whether solving it went wrong
     */
    public record Point(int series, int block, String module, double error, boolean problem) {}

    public Element svg() {
        int blocks = points.stream().mapToInt(Point::block).max().orElse(0) + 1;
        BlockAxis across = new BlockAxis(blocks, LEFT, WIDTH - RIGHT);
        Scale up = errorScale();
        List<Element> parts = new ArrayList<>();
        addGrid(parts, up);
        across.addLabels(parts, HEIGHT - BOTTOM);
        double radius = blocks > MANY_BLOCKS ? 2.6 : 4;
        for (int series = 0; series < roles.size(); series++) {
            addSeries(parts, series, across, up, radius);
        }
        return Svg.chart(WIDTH, HEIGHT, measure + " of every layer", description()).addAll(parts);
    }

    /** From the smallest to the largest positive error; exact layers sit on the lower edge. */
    private Scale errorScale() {
        double low = points.stream().mapToDouble(Point::error).filter(ErrorChart::canPlot).min().orElse(1e-4);
        double high = points.stream().mapToDouble(Point::error).filter(ErrorChart::canPlot).max().orElse(1e-3);
        return Scale.Logarithmic.covering(low, high, HEIGHT - BOTTOM, TOP);
    }

    private static boolean canPlot(double error) {
        return error > 0 && Double.isFinite(error);
    }

    private void addGrid(List<Element> parts, Scale up) {
        for (Scale.Tick tick : up.ticks()) {
            double y = up.at(tick.value());
            parts.add(Svg.line("grid", LEFT, y, WIDTH - RIGHT, y));
            parts.add(Svg.text("tick", LEFT - 8, y + 4, "end", tick.label()));
        }
    }

    private void addSeries(List<Element> parts, int series, BlockAxis across, Scale up, double radius) {
        List<Point> mine = points.stream().filter(point -> point.series() == series).toList();
        String path = mine.stream()
                .map(point -> String.format(Locale.ROOT, "%.1f,%.1f", across.at(point.block()), up.at(point.error())))
                .collect(Collectors.joining(" L", "M", ""));
        if (mine.size() > 1) {
            parts.add(Element.of("path", "trace " + Marker.color(series)).with("d", path));
        }
        for (Point point : mine) {
            double x = across.at(point.block());
            double y = up.at(point.error());
            if (point.problem()) {
                parts.add(Element.of("circle", "alarm").with("cx", x).with("cy", y).with("r", radius + 4));
            }
            parts.add(Svg.tooltip(Marker.at(series, x, y, radius), point.module() + ": " + Units.small(point.error())));
        }
    }

    private String description() {
        Point worst = points.stream().max(java.util.Comparator.comparingDouble(Point::error)).orElse(null);
        return worst == null
                ? "No layers."
                : "The largest is " + Units.small(worst.error()) + " in " + worst.module()
                        + ". The table of layers below has every value.";
    }
}
