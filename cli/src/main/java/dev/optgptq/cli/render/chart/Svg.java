package dev.optgptq.cli.render.chart;

import dev.optgptq.cli.render.markup.Element;

/** Parts of all charts. */
final class Svg {

    /** Width of a digit or letter of the charts' text, an upper estimate in units of the view box. */
    static final double LETTER = 7.2;

    private Svg() {}

    /** A chart with its description for screen readers. */
    static Element chart(double width, double height, String title, String description) {
        return Element.of("svg", "chart").with("viewBox", "0 0 " + Math.round(width) + " " + Math.round(height))
                .with("role", "img").with("aria-label", title + ". " + description)
                .add(Element.of("title").add(title)).add(Element.of("desc").add(description));
    }

    static Element line(String cssClass, double x1, double y1, double x2, double y2) {
        return Element.of("line", cssClass).with("x1", x1).with("y1", y1).with("x2", x2).with("y2", y2);
    }

    static Element rect(String cssClass, double x, double y, double width, double height) {
        return Element.of("rect", cssClass).with("x", x).with("y", y).with("width", width).with("height", height);
    }

    /** @param anchor start, middle or end: where x is in the text */
    static Element text(String cssClass, double x, double y, String anchor, String text) {
        return Element.of("text", cssClass).with("x", x).with("y", y).with("text-anchor", anchor).add(text);
    }

    /** Adds a tooltip. */
    static Element tooltip(Element element, String text) {
        return element.add(Element.of("title").add(text));
    }
}
