package dev.optgptq.cli.render.page;

import dev.optgptq.cli.render.markup.Element;
import java.util.List;

/** The page's building blocks. */
final class Html {

    private Html() {}

    static Element section(String id, String title) {
        return Element.of("section").with("id", id).add(Element.of("h2").add(title));
    }

    static Element paragraph(String cssClass, String text) {
        return Element.of("p", cssClass).add(text);
    }

    /** @param columns titles; a leading ">" marks numbers, which are aligned to the right */
    static Element tableHead(List<String> columns) {
        Element row = Element.of("tr");
        for (String column : columns) {
            boolean number = column.startsWith(">");
            Element cell = number ? Element.of("th", "number") : Element.of("th");
            row = row.add(cell.with("scope", "col").add(number ? column.substring(1) : column));
        }
        return Element.of("thead").add(row);
    }

    static Element cell(String text) {
        return Element.of("td").add(text);
    }

    /** A name, in the type of code. */
    static Element code(String text) {
        return Element.of("td").add(Element.of("code").add(text));
    }

    /** A number as text, with the value that sorting goes by. */
    static Element number(String text, double value) {
        return Element.of("td", "number").with("data-value", Double.toString(value)).add(text);
    }

    static Element number(String text) {
        return Element.of("td", "number").add(text);
    }

    /** Wide tables scroll in their own box, not with the page. */
    static Element scrolling(Element table) {
        return Element.of("div", "scroll").add(table);
    }

    static Element figure(Element chart, String caption) {
        return Element.of("figure").add(chart).add(Element.of("figcaption").add(caption));
    }
}
