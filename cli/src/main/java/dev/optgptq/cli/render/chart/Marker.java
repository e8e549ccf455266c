package dev.optgptq.cli.render.chart;

import dev.optgptq.cli.render.markup.Element;
import java.util.Locale;

/** Series differ by shape and colour, for colour-blind readers and for print. */
public final class Marker {

    /** How many colours the page's style sheet has: classes c0, c1, ... */
    public static final int COLORS = 10;

    /** Outlines around the origin, of about the same area; %1$s is the radius, the others parts of it. */
    private static final String PLUS = "M-%3$s,-%4$s H-%4$s V-%3$s H%4$s V-%4$s H%3$s V%4$s H%4$s V%3$s H-%4$s V%4$s H-%3$s Z";
    private static final String[] SHAPES = {
            "M-%1$s,0 A%1$s,%1$s 0 1 0 %1$s,0 A%1$s,%1$s 0 1 0 -%1$s,0 Z",
            "M-%2$s,-%2$s H%2$s V%2$s H-%2$s Z",
            "M0,-%3$s L%3$s,%2$s H-%3$s Z",
            "M0,-%3$s L%3$s,0 L0,%3$s L-%3$s,0 Z",
            "M0,%3$s L%3$s,-%2$s H-%3$s Z",
            PLUS, PLUS};
    /** The second plus is turned to a cross. */
    private static final int CROSS = 6;

    private Marker() {}

    /** The class that gives the series its colour. */
    public static String color(int series) {
        return "c" + series % COLORS;
    }

    static Element at(int series, double x, double y, double radius) {
        String shape = String.format(Locale.ROOT, SHAPES[series % SHAPES.length], number(radius), number(0.9 * radius),
                number(1.25 * radius), number(0.45 * radius));
        return Element.of("path", "mark " + color(series)).with("d", shape)
                .with("transform", "translate(" + number(x) + "," + number(y) + ")"
                        + (series % SHAPES.length == CROSS ? " rotate(45)" : ""));
    }

    /** The marker alone, for a legend. */
    public static Element swatch(int series) {
        return Element.of("svg", "swatch").with("viewBox", "0 0 14 14").with("aria-hidden", "true")
                .add(at(series, 7, 7, 4.5));
    }

    private static String number(double value) {
        return String.format(Locale.ROOT, "%.2f", value);
    }
}
