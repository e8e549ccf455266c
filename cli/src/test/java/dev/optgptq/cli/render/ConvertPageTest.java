package dev.optgptq.cli.render;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.cli.render.page.ConvertPage;
import dev.optgptq.gptq.convert.ConvertReport;
import java.io.StringReader;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;

/** The page of a conversion. */
class ConvertPageTest {

    @Test
    void it_shows_what_each_step_left_and_the_curve_of_healing() throws Exception {
        Document page = parse(report(true));
        String text = page.getDocumentElement().getTextContent();
        for (String part : List.of("my-llama with 2 KV heads, to ALiBi", "0.0123", "512 B", "from 1,024 B", "3.25 %",
                "from the fitted start", "<b>as it is</b>", "rate of 1.0e-04", "not finite", "33.300",
                "At most 2 heads")) {
            assertTrue(text.contains(part), part + " in " + text);
        }
        assertEquals(3, page.getElementsByTagName("circle").getLength(), "one mark for each look");
        assertEquals(List.of("warnings", "cache", "positions", "budget", "layers", "healing", "settings"),
                ids(page));
    }

    @Test
    void what_was_not_done_is_not_there() throws Exception {
        Document page = parse(report(false));
        assertEquals(List.of("cache", "positions", "layers", "settings"), ids(page));
        String text = page.getDocumentElement().getTextContent();
        assertTrue(text.contains("Not measured in this run"), text);
        assertTrue(text.contains("from the plain start: standard slopes and nothing else."), text);
        String summary = ConvertText.of(report(false), ReportFiles.at(null, Path.of("out")));
        assertTrue(summary.contains("rotary -> ALiBi from the plain start"), summary);
    }

    private static List<String> ids(Document page) {
        NodeList sections = page.getElementsByTagName("section");
        return IntStream.range(0, sections.getLength())
                .mapToObj(i -> sections.item(i).getAttributes().getNamedItem("id").getNodeValue()).toList();
    }

    private static ConvertReport report(boolean all) {
        ConvertReport.Step kept = new ConvertReport.Step(0.01, 0.5, 0.25);
        ConvertReport.Step stayed = new ConvertReport.Step(null, 0.7, 0.7);
        ConvertReport.Positions positions = new ConvertReport.Positions("learned", "fitted", 0.25, 0.1, 40,
                List.of(new ConvertReport.PositionLayer(0, List.of(1, 0), 0.3, 0.2, kept, stayed)));
        ConvertReport.Healed healed = new ConvertReport.Healed(20, 30, 0.09, 0.05, 1e-4,
                List.of(new ConvertReport.Trial(1e-3, null), new ConvertReport.Trial(1e-4, 0.08)),
                List.of(new ConvertReport.Look(0, 0.09), new ConvertReport.Look(10, 0.06),
                        new ConvertReport.Look(20, 0.05)),
                61_000.0);
        Divergence divergence = new Divergence(0.0123, 0.012, 0.013, 0.01, 0.2, 0.9, 0.89, 0.91);
        return new ConvertReport(1, "opt-gptq test", "2026-11-30T00:00:00Z",
                new LinkedHashMap<>(Map.of("--kv-heads", "[2]")),
                new ConvertReport.Model("models/my-llama", "out", "llama", 1, 64, 4, 16, "cpu"),
                all ? positions : new ConvertReport.Positions("rotary", "plain", null, null, 0, List.of()),
                all ? budget() : null,
                List.of(new ConvertReport.Layer(0, 2, List.of(1, 0), 0.01, 0.0325, 0.02, 0.01, 5, kept, stayed)),
                new ConvertReport.Cache(1024, 512), all ? healed : null,
                all ? new ConvertReport.Quality("a text", 32, 2, 30, 33.3, 0.1, 0.05, 0.15, divergence) : null, 12,
                List.of(new ConvertReport.Phase("moments", 12)),
                all ? List.of("a warning with <b>as it is</b>") : List.of());
    }

    private static ConvertReport.Budget budget() {
        return new ConvertReport.Budget(2, 0.0432, List.of(new ConvertReport.LayerCost(0, 2,
                new LinkedHashMap<>(Map.of(2, 0.0432)))));
    }

    private static Document parse(ConvertReport report) throws Exception {
        String page = ConvertPage.of(report).replaceFirst("<!DOCTYPE html>", "");
        return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(new InputSource(new StringReader(page)));
    }
}
