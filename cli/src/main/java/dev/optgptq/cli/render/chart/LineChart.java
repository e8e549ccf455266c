package dev.optgptq.cli.render.chart;

import dev.optgptq.cli.render.markup.Element;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * A quantity over steps, as one line with a mark for each point.
 *
 * @param across what the horizontal axis counts
 */
public record LineChart(String title, String across, List<Point> points) {

    private static final double WIDTH = 960;
    private static final double HEIGHT = 300;
    private static final double LEFT = 64;
    private static final double RIGHT = 24;
    private static final double TOP = 14;
    private static final double BOTTOM = 46;
    private static final int TICKS = 5;

    /** @param label the value as text */
    public record Point(double at, double value, String label) {}

    public Element svg() {
        Scale x = Scale.Linear.covering(0, points.stream().mapToDouble(Point::at).max().orElse(1), TICKS, LEFT,
                WIDTH - RIGHT);
        Scale y = Scale.Linear.covering(points.stream().mapToDouble(Point::value).min().orElse(0),
                points.stream().mapToDouble(Point::value).max().orElse(1), TICKS, HEIGHT - BOTTOM, TOP);
        List<Element> parts = new ArrayList<>();
        for (Scale.Tick tick : y.ticks()) {
            parts.add(Svg.line("grid", LEFT, y.at(tick.value()), WIDTH - RIGHT, y.at(tick.value())));
            parts.add(Svg.text("tick", LEFT - 8, y.at(tick.value()) + 4, "end", tick.label()));
        }
        for (Scale.Tick tick : x.ticks()) {
            parts.add(Svg.text("tick", x.at(tick.value()), HEIGHT - BOTTOM + 18, "middle", tick.label()));
        }
        parts.add(Svg.text("axis", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "middle", across));
        parts.add(Element.of("path", "trace c0").with("d", path(x, y)));
        for (Point point : points) {
            parts.add(Svg.tooltip(Element.of("circle", "mark c0").with("cx", x.at(point.at()))
                    .with("cy", y.at(point.value())).with("r", 4), point.label()));
        }
        return Svg.chart(WIDTH, HEIGHT, title, points.stream().map(Point::label).collect(Collectors.joining("; ")))
                .addAll(parts);
    }

    private String path(Scale x, Scale y) {
        return points.stream()
                .map(point -> String.format(Locale.ROOT, "%.1f,%.1f", x.at(point.at()), y.at(point.value())))
                .collect(Collectors.joining(" L", "M", ""));
    }
}
