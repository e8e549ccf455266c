package dev.optgptq.cli.render.chart;

import dev.optgptq.cli.console.Units;
import dev.optgptq.cli.render.markup.Element;
import java.util.ArrayList;
import java.util.List;

/** Time by phase: one bar, its parts in the order of the phases. */
public record TimeChart(List<Part> parts) {

    private static final double WIDTH = 960;
    private static final double HEIGHT = 44;

    /** @param name of the phase */
    public record Part(String name, double seconds) {}

    public double seconds() {
        return parts.stream().mapToDouble(Part::seconds).sum();
    }

    public Element svg() {
        double scale = WIDTH / Math.max(seconds(), 1e-9);
        List<Element> bars = new ArrayList<>();
        double x = 0;
        for (int i = 0; i < parts.size(); i++) {
            Part part = parts.get(i);
            double width = part.seconds() * scale;
            Element bar = Svg.rect("bar " + Marker.color(i), x, 0, width, HEIGHT);
            bars.add(Svg.tooltip(bar, part.name() + ": " + Units.duration(part.seconds())));
            if (part.name().length() * Svg.LETTER + 16 < width) {
                bars.add(Svg.text("inside", x + width / 2, HEIGHT / 2 + 5, "middle", part.name()));
            }
            x += width;
        }
        return Svg.chart(WIDTH, HEIGHT, "Where the time went", description()).addAll(bars);
    }

    private String description() {
        Part longest = parts.stream().max(java.util.Comparator.comparingDouble(Part::seconds)).orElse(null);
        return longest == null
                ? "Nothing was timed."
                : "The longest phase is " + longest.name() + " with " + Units.duration(longest.seconds()) + " of "
                        + Units.duration(seconds()) + ".";
    }
}
