package dev.optgptq.cli.render;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.eval.PerplexityReport;
import dev.optgptq.cli.eval.Verdict;
import java.io.StringReader;
import java.util.List;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Element;
import org.xml.sax.InputSource;

class JUnitXmlTest {

    private static final Verdict MISSED = new Verdict("max-perplexity", 12, 13.5, false, "perplexity 13.5 & \"more\"");
    private static final Verdict KEPT = new Verdict("max-increase", 0.02, 0.01, true, "increase 1 %");

    @Test
    void one_test_case_for_each_threshold_and_a_failure_for_each_that_was_missed() throws Exception {
        Element suite = parse(JUnitXml.of(report("out/w4", List.of(MISSED, KEPT))));
        assertEquals("2", suite.getAttribute("tests"));
        assertEquals("1", suite.getAttribute("failures"));
        assertEquals(2, suite.getElementsByTagName("testcase").getLength());
        Element failure = (Element) suite.getElementsByTagName("failure").item(0);
        assertEquals("perplexity 13.5 & \"more\"", failure.getAttribute("message"));
    }

    @Test
    void without_thresholds_it_is_a_suite_without_cases() throws Exception {
        Element suite = parse(JUnitXml.of(report("out/w4", List.of())));
        assertEquals("0", suite.getAttribute("tests"));
        assertEquals(0, suite.getElementsByTagName("testcase").getLength());
    }

    @Test
    void any_path_can_be_written() throws Exception {
        Element suite = parse(JUnitXml.of(report("<w4> & \"co\" \u0007\u001B\uFFFF\uFFFE\uD800", List.of(MISSED))));
        Element testCase = (Element) suite.getElementsByTagName("testcase").item(0);
        assertTrue(testCase.getAttribute("classname").startsWith("<w4> & \"co\""), testCase.getAttribute("classname"));
    }

    private static PerplexityReport report(String path, List<Verdict> verdicts) {
        return new PerplexityReport(1, "opt-gptq 0.1.0", "cpu", "test.txt", 1024, 30,
                new PerplexityReport.Measurement(path, 13.5, 13, 14, 2.6, 1.5), null, null, null, null, verdicts);
    }

    private static Element parse(String xml) throws Exception {
        return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(new InputSource(new StringReader(xml)))
                .getDocumentElement();
    }
}
