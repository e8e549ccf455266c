package dev.optgptq.cli.render.page;

import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.cli.render.markup.Node;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** What every page has around its parts: it needs nothing but itself, and is XML as well. */
final class Shell {

    /** Lets the page use what is in it and nothing else. */
    private static final String POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

    private Shell() {}

    static String page(String title, List<Element> parts) {
        Element body = Element.of("body").add(Element.of("main").addAll(parts))
                .add(Element.of("script").add(new Node.Verbatim(resource("report.js"))));
        StringBuilder page = new StringBuilder("<!DOCTYPE html>\n");
        Element.of("html").with("lang", "en").addAll(List.of(head(title), body)).write(page);
        return page.append('\n').toString();
    }

    private static Element head(String title) {
        return Element.of("head")
                .add(Element.of("meta").with("charset", "utf-8"))
                .add(Element.of("meta").with("name", "viewport").with("content", "width=device-width, initial-scale=1"))
                .add(Element.of("meta").with("http-equiv", "Content-Security-Policy").with("content", POLICY))
                .add(Element.of("meta").with("name", "color-scheme").with("content", "light dark"))
                .add(Element.of("title").add(title))
                .add(Element.of("style").add(new Node.Verbatim(resource("report.css"))));
    }

    private static String resource(String name) {
        try (InputStream stream = Shell.class.getResourceAsStream(name)) {
            if (stream == null) {
                throw new IllegalStateException(name + " is missing from the program; build it again");
            }
            return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
