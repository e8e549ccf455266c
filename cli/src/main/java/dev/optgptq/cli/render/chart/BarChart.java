package dev.optgptq.cli.render.chart;

import dev.optgptq.cli.render.markup.Element;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/** A few horizontal bars from zero, each with its name before it and its value after it. */
public record BarChart(String title, List<Bar> bars) {

    private static final double WIDTH = 460;
    private static final double ROW = 42;
    private static final double LEFT = 70;
    /** Width of the values' letters relative to others. */
    private static final double BOLD = 1.15;

    /** @param label the value as text */
    public record Bar(String name, double value, String label) {}

    public Element svg() {
        double most = bars.stream().mapToDouble(Bar::value).max().orElse(0);
        double room = WIDTH - LEFT - longestLabel() * BOLD * Svg.LETTER - 14;
        List<Element> parts = new ArrayList<>();
        for (int i = 0; i < bars.size(); i++) {
            Bar bar = bars.get(i);
            double y = i * ROW + 6;
            double width = most > 0 ? room * bar.value() / most : 0;
            parts.add(Svg.text("axis", LEFT - 10, y + ROW / 2, "end", bar.name()));
            parts.add(Svg.rect("bar c" + (i == 0 ? 6 : 0), LEFT, y, width, ROW - 12));
            parts.add(Svg.text("value", LEFT + width + 8, y + ROW / 2, "start", bar.label()));
        }
        return Svg.chart(WIDTH, bars.size() * ROW + 6, title, description()).addAll(parts);
    }

    private int longestLabel() {
        return bars.stream().mapToInt(bar -> bar.label().length()).max().orElse(0);
    }

    private String description() {
        return bars.stream().map(bar -> bar.name() + ": " + bar.label())
                .collect(Collectors.joining(", ", "", "."));
    }
}
