package dev.optgptq.cli.render;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.render.page.ReportPage;
import dev.optgptq.gptq.report.Ablation;
import dev.optgptq.gptq.report.RunReport;
import java.io.StringReader;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;

/** The page is XML too, so that it can be read back as what a browser sees. */
class ReportPageTest {

    static Stream<RunReport> reports() {
        return Stream.of(Reports.sound(1), Reports.sound(6), Reports.sound(32), Reports.unevaluated(),
                Reports.troubled(), Reports.refined(6), Reports.refined(80));
    }

    @ParameterizedTest
    @MethodSource("reports")
    void nothing_is_loaded_from_anywhere(RunReport report) throws Exception {
        for (Element element : elements(parse(ReportPage.of(report)), "*")) {
            assertFalse(List.of("link", "img", "iframe", "object", "embed", "base", "audio", "video")
                    .contains(element.getTagName()), element::getTagName);
            for (String attribute : List.of("src", "href", "xlink:href", "srcset", "action", "data")) {
                assertFalse(element.hasAttribute(attribute), () -> element.getTagName() + " with " + attribute);
            }
        }
        String page = ReportPage.of(report);
        for (String loader : List.of("url(", "@import", "fetch(", "XMLHttpRequest", "import(", "http://", "https://")) {
            assertFalse(page.contains(loader), loader);
        }
        assertTrue(page.contains("default-src &#39;none&#39;"), "the policy that forbids loading");
    }

    @Test
    void names_from_the_model_are_text_and_never_markup() throws Exception {
        String page = ReportPage.of(Reports.troubled());
        assertFalse(page.contains("<script>alert"), "a script from a path");
        Document document = parse(page);
        assertEquals(1, elements(document, "script").size());
        assertTrue(document.getDocumentElement().getTextContent().contains("<script>alert('x')</script>&\"quoted\""));
    }

    @Test
    void bytes_that_no_document_can_hold_are_replaced() throws Exception {
        RunReport sound = Reports.sound(1);
        RunReport.Model model = sound.model();
        RunReport odd = with(sound, new RunReport.Model("odd\u001B\u0007name", model.output(), model.family(),
                model.blocks(), model.hiddenSize(), model.vocabSize(), model.parameters(),
                model.quantizedParameters()));
        assertTrue(parse(ReportPage.of(odd)).getDocumentElement().getTextContent().contains("\uFFFDname"));
    }

    @ParameterizedTest
    @MethodSource("reports")
    void plots_show_size_errors_and_times_and_perplexity_where_it_was_measured(RunReport report) throws Exception {
        Document document = parse(ReportPage.of(report));
        List<String> titles = elements(document, "svg").stream().map(chart -> chart.getAttribute("aria-label"))
                .toList();
        int expected = 3 + (report.quality() == null ? 0 : 1) + (report.ablation() == null ? 0 : 1);
        assertEquals(expected, elements(document, "svg").stream()
                .filter(chart -> chart.getAttribute("class").contains("chart")).count(), titles::toString);
    }

    @Test
    void every_layer_is_a_point_of_the_error_plot() throws Exception {
        RunReport report = Reports.sound(6);
        Element section = section(report, "errors");
        List<String> hints = elements(section, "title").stream().map(Element::getTextContent).toList();
        for (RunReport.Layer layer : report.layers()) {
            assertTrue(hints.stream().anyMatch(hint -> hint.contains(layer.module())), layer::module);
        }
    }

    @Test
    void every_layer_is_a_row_of_the_table() throws Exception {
        RunReport report = Reports.sound(3);
        assertEquals(1 + report.layers().size(), elements(section(report, "layers"), "tr").size());
    }

    @Test
    void a_layer_that_could_not_be_solved_well_is_named_at_the_top() throws Exception {
        String notice = section(Reports.troubled(), "problems").getTextContent();
        assertTrue(notice.contains("1 layer needs attention"), notice);
        assertTrue(notice.contains("model.layers.2.mlp.down_proj: the Hessian was not positive definite"), notice);
        assertTrue(notice.contains("vLLM loads GPTQ checkpoints only"), notice);
    }

    @Test
    void a_sound_run_has_no_section_of_problems() throws Exception {
        assertTrue(elements(parse(ReportPage.of(Reports.sound(6))), "section").stream()
                .noneMatch(section -> section.getAttribute("id").equals("problems")));
    }

    @Test
    void a_run_without_steps_has_no_section_of_them() throws Exception {
        assertTrue(elements(parse(ReportPage.of(Reports.sound(6))), "section").stream()
                .noneMatch(section -> section.getAttribute("id").equals("ablation")));
    }

    @Test
    void every_step_is_a_square_of_the_plot_and_crossed_where_it_was_left_out() throws Exception {
        RunReport report = Reports.refined(6);
        List<Ablation.Step> steps = Objects.requireNonNull(report.ablation()).steps();
        Element section = section(report, "ablation");
        List<String> hints = elements(section, "title").stream().map(Element::getTextContent).toList();
        for (Ablation.Step step : steps) {
            assertTrue(hints.stream().anyMatch(hint -> hint.startsWith(step.name() + ", " + step.scope() + ": ")
                    && hint.contains(step.kept() ? ", kept, " : ", dropped, ")), step::toString);
        }
        assertEquals(steps.stream().filter(step -> !step.kept()).count(), elements(section, "path").stream()
                .filter(path -> path.getAttribute("class").equals("rejected")).count());
    }

    @Test
    void every_step_is_a_row_of_its_table_and_paler_where_it_was_left_out() throws Exception {
        RunReport report = Reports.refined(6);
        List<Ablation.Step> steps = Objects.requireNonNull(report.ablation()).steps();
        Element table = elements(section(report, "ablation"), "table").stream()
                .filter(one -> one.getAttribute("class").equals("sortable")).findFirst().orElseThrow();
        assertEquals(1 + steps.size(), elements(table, "tr").size());
        assertEquals(steps.stream().filter(step -> !step.kept()).count(), elements(table, "tr").stream()
                .filter(row -> row.getAttribute("class").equals("rejected")).count());
    }

    @Test
    void totals_say_what_each_step_bought_and_cost() throws Exception {
        String text = section(Reports.refined(6), "ablation").getTextContent();
        for (String part : List.of("6 of 6", "KL divergence, nats per token", "0.0391", "0.0312", "0.0250", "-19.87 %",
                "40 %", "8,192 held-out tokens", "the last 16 of the calibration sequences",
                "over the whole model by the KL divergence, nats per token, which fell by 19.9 %.")) {
            assertTrue(text.contains(part), () -> part + " in " + text);
        }
    }

    @Test
    void what_is_said_to_have_stayed_has() throws Exception {
        String text = section(Reports.refined(6), "before-after").getTextContent();
        assertTrue(text.contains("the learned norms keep their size"), text);
        String sound = section(Reports.sound(6), "before-after").getTextContent();
        assertTrue(sound.contains("embeddings, norms and the head are unchanged"), sound);
    }

    @Test
    void names_and_notes_of_steps_are_text_and_never_markup() throws Exception {
        String page = ReportPage.of(Reports.refined(6));
        assertEquals(1, elements(parse(page), "script").size());
        assertEquals(0, elements(parse(page), "b").size());
        assertTrue(parse(page).getDocumentElement().getTextContent().contains("a <script>alert('y')</script> step"));
    }

    @Test
    void the_numbers_of_the_report_are_those_of_the_page() throws Exception {
        String text = parse(ReportPage.of(Reports.sound(6))).getDocumentElement().getTextContent();
        for (String part : List.of("4.16", "9.6 MB", "27.5 MB", "25.0797", "24.8650", "+0.86 %", "57 s", "398 MB",
                "356 windows of 1024 tokens", "opt-gptq 0.1.0", "schema version 1", "AMD EPYC")) {
            assertTrue(text.contains(part), part);
        }
    }

    private static Element section(RunReport report, String id) throws Exception {
        return elements(parse(ReportPage.of(report)), "section").stream()
                .filter(section -> section.getAttribute("id").equals(id)).findFirst().orElseThrow();
    }

    @Test
    void experts_are_listed_by_block_with_the_tokens_that_passed_them() throws Exception {
        RunReport report = Reports.mixture();
        Element section = elements(parse(ReportPage.of(report)), "section").stream()
                .filter(each -> each.getAttribute("id").equals("experts")).findFirst().orElseThrow();
        Element row = elements(elements(section, "tbody").getFirst(), "tr").getFirst();
        assertEquals(List.of("0", "3", "0", "96", "2,048", "1", "2", "100 %"),
                elements(row, "td").stream().map(Node::getTextContent).toList());
        assertTrue(elements(parse(ReportPage.of(Reports.sound(2))), "section").stream()
                .noneMatch(each -> each.getAttribute("id").equals("experts")), "no table without experts");
    }

    private static Document parse(String page) throws Exception {
        return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(new InputSource(new StringReader(page)));
    }

    private static List<Element> elements(Node root, String name) {
        NodeList found = root instanceof Document document
                ? document.getElementsByTagName(name)
                : ((Element) root).getElementsByTagName(name);
        List<Element> elements = new ArrayList<>();
        for (int i = 0; i < found.getLength(); i++) {
            elements.add((Element) found.item(i));
        }
        return elements;
    }

    private static RunReport with(RunReport report, RunReport.Model model) {
        return new RunReport(report.schemaVersion(), report.tool(), report.started(), report.resumed(),
                report.command(), report.defaults(), report.machine(), model, report.layers(), report.modules(),
                report.allocation(),
                report.phases(),
                report.memory(),
                report.size(), report.range(), report.quality(), report.seconds(), report.warnings(),
                report.ablation());
    }
}
