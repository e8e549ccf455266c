package dev.optgptq.cli.render.chart;

import dev.optgptq.cli.render.markup.Element;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/** Values with their confidence intervals, one row each, on a common axis. */
public record IntervalChart(String title, List<Interval> intervals) {

    private static final double WIDTH = 460;
    private static final double ROW = 42;
    private static final double LEFT = 70;
    private static final double BOTTOM = 26;
    private static final double CAP = 7;
    private static final int TICKS = 4;

    /**
     * @param label the value as text
     * @param low lower end of the interval
     */
    public record Interval(String name, double value, double low, double high, String label) {

        private boolean canPlot() {
            return Double.isFinite(value) && Double.isFinite(low) && Double.isFinite(high);
        }
    }

    public Element svg() {
        double right = WIDTH - longestLabel() * Svg.LETTER - 18;
        double low = intervals.stream().filter(Interval::canPlot).mapToDouble(Interval::low).min().orElse(0);
        double high = intervals.stream().filter(Interval::canPlot).mapToDouble(Interval::high).max().orElse(1);
        Scale scale = Scale.Linear.covering(low, high, TICKS, LEFT, right);
        double bottom = intervals.size() * ROW;
        List<Element> parts = new ArrayList<>();
        for (Scale.Tick tick : scale.ticks()) {
            double x = scale.at(tick.value());
            parts.add(Svg.line("grid", x, 0, x, bottom));
            parts.add(Svg.text("tick", x, bottom + 18, "middle", tick.label()));
        }
        for (int i = 0; i < intervals.size(); i++) {
            addRow(parts, scale, intervals.get(i), i, (i + 0.5) * ROW);
        }
        return Svg.chart(WIDTH, bottom + BOTTOM, title, description()).addAll(parts);
    }

    private static void addRow(List<Element> parts, Scale scale, Interval interval, int row, double y) {
        parts.add(Svg.text("axis", LEFT - 16, y + 5, "end", interval.name()));
        parts.add(Svg.text("value", WIDTH, y + 5, "end", interval.label()));
        if (!interval.canPlot()) {
            return;
        }
        String color = Marker.color(row == 0 ? 6 : 0);
        String whisker = "whisker " + color;
        double from = scale.at(interval.low());
        double to = scale.at(interval.high());
        parts.add(Svg.line(whisker, from, y, to, y));
        parts.add(Svg.line(whisker, from, y - CAP, from, y + CAP));
        parts.add(Svg.line(whisker, to, y - CAP, to, y + CAP));
        parts.add(Element.of("circle", "mark " + color).with("cx", scale.at(interval.value())).with("cy", y).with("r",
                5.5));
    }

    private int longestLabel() {
        return intervals.stream().mapToInt(interval -> interval.label().length()).max().orElse(0);
    }

    private String description() {
        return intervals.stream()
                .map(interval -> interval.name() + ": " + interval.label() + ", 95 % interval " + interval.low()
                        + " to "
                        + interval.high())
                .collect(Collectors.joining("; ", "", "."));
    }
}
