package dev.optgptq.cli.render.page;

import dev.optgptq.cli.render.markup.Element;
import dev.optgptq.cli.render.markup.Node;
import dev.optgptq.gptq.report.RunReport;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** report.html: one page that needs nothing but itself. It is XML as well. */
public final class ReportPage {

    /** Lets the page use what is in it and nothing else. */
    private static final String POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

    private ReportPage() {}

    public static String of(RunReport report) {
        Element html = Element.of("html").with("lang", "en").addAll(List.of(head(report), body(report)));
        StringBuilder page = new StringBuilder("<!DOCTYPE html>\n");
        html.write(page);
        return page.append('\n').toString();
    }

    private static Element head(RunReport report) {
        return Element.of("head")
                .add(Element.of("meta").with("charset", "utf-8"))
                .add(Element.of("meta").with("name", "viewport").with("content", "width=device-width, initial-scale=1"))
                .add(Element.of("meta").with("http-equiv", "Content-Security-Policy").with("content", POLICY))
                .add(Element.of("meta").with("name", "color-scheme").with("content", "light dark"))
                .add(Element.of("title").add(Overview.title(report)))
                .add(Element.of("style").add(new Node.Verbatim(resource("report.css"))));
    }

    private static Element body(RunReport report) {
        Element main = Element.of("main").add(Overview.header(report)).addAll(Problems.of(report))
                .add(Overview.cards(report)).add(BeforeAfter.of(report)).addAll(StepsBought.of(report))
                .add(Errors.of(report)).add(Times.of(report))
                .add(LayerTable.of(report)).add(Settings.of(report)).add(Overview.footer(report));
        return Element.of("body").add(main).add(Element.of("script").add(new Node.Verbatim(resource("report.js"))));
    }

    private static String resource(String name) {
        try (InputStream stream = ReportPage.class.getResourceAsStream(name)) {
            if (stream == null) {
                throw new IllegalStateException(name + " is missing from the program; build it again");
            }
            return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
