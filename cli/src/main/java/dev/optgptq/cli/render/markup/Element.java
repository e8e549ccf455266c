package dev.optgptq.cli.render.markup;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * An HTML or SVG element. Adding gives a new element.
 *
 * @param attributes in the order they are written
 */
public record Element(String name, List<Attribute> attributes, List<Node> children) implements Node {

    private static final Set<String> VOID = Set.of("meta", "br", "hr", "col", "line", "rect", "path", "circle");

    public Element {
        attributes = List.copyOf(attributes);
        children = List.copyOf(children);
    }

    /** One attribute; the value may be anything, it is escaped when written. */
    public record Attribute(String name, String value) {}

    public static Element of(String name) {
        return new Element(name, List.of(), List.of());
    }

    /** With a CSS class. */
    public static Element of(String name, String cssClass) {
        return of(name).with("class", cssClass);
    }

    public Element with(String attribute, String value) {
        List<Attribute> all = new ArrayList<>(attributes);
        all.add(new Attribute(attribute, value));
        return new Element(name, all, children);
    }

    /** With a coordinate or length in units of the view box. */
    public Element with(String attribute, double value) {
        return with(attribute, String.format(Locale.ROOT, "%.1f", value));
    }

    public Element add(Node child) {
        return addAll(List.of(child));
    }

    public Element add(String text) {
        return add(new Text(text));
    }

    public Element addAll(List<? extends Node> more) {
        List<Node> all = new ArrayList<>(children);
        all.addAll(more);
        return new Element(name, attributes, all);
    }

    @Override
    public void write(StringBuilder target) {
        target.append('<').append(name);
        for (Attribute attribute : attributes) {
            target.append(' ').append(attribute.name()).append("=\"");
            Text.escape(attribute.value(), target);
            target.append('"');
        }
        if (VOID.contains(name) && children.isEmpty()) {
            target.append("/>");
            return;
        }
        target.append('>');
        children.forEach(child -> child.write(target));
        target.append("</").append(name).append('>');
    }
}
