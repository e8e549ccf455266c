package dev.optgptq.cli.render;

import dev.optgptq.cli.eval.PerplexityReport;
import dev.optgptq.cli.eval.Verdict;
import dev.optgptq.cli.render.markup.XmlText;
import java.io.StringWriter;
import java.util.Locale;
import javax.xml.stream.XMLOutputFactory;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamWriter;

/** An evaluation as a JUnit report, which every CI system shows: one test case per threshold. */
public final class JUnitXml {

    private static final String SUITE = "opt-gptq eval perplexity";

    private JUnitXml() {}

    public static String of(PerplexityReport report) {
        StringWriter text = new StringWriter();
        try {
            XMLStreamWriter xml = XMLOutputFactory.newDefaultFactory().createXMLStreamWriter(text);
            xml.writeStartDocument("UTF-8", "1.0");
            xml.writeCharacters("\n");
            writeSuite(xml, report);
            xml.writeEndDocument();
            xml.close();
        } catch (XMLStreamException e) {
            throw new IllegalStateException("a text in memory cannot fail", e);
        }
        return text.append('\n').toString();
    }

    private static void writeSuite(XMLStreamWriter xml, PerplexityReport report) throws XMLStreamException {
        long failures = report.thresholds().stream().filter(verdict -> !verdict.passed()).count();
        xml.writeStartElement("testsuite");
        xml.writeAttribute("name", SUITE);
        xml.writeAttribute("tests", Integer.toString(report.thresholds().size()));
        xml.writeAttribute("failures", Long.toString(failures));
        xml.writeAttribute("errors", "0");
        xml.writeAttribute("skipped", "0");
        xml.writeAttribute("time", String.format(Locale.ROOT, "%.3f", seconds(report)));
        for (Verdict verdict : report.thresholds()) {
            writeCase(xml, report, verdict);
        }
        xml.writeStartElement("system-out");
        xml.writeCharacters(XmlText.of(PerplexityText.of(report)));
        xml.writeEndElement();
        xml.writeEndElement();
    }

    private static void writeCase(XMLStreamWriter xml, PerplexityReport report, Verdict verdict)
            throws XMLStreamException {
        xml.writeCharacters("\n  ");
        xml.writeStartElement("testcase");
        xml.writeAttribute("classname", XmlText.of(report.model().path()));
        xml.writeAttribute("name", verdict.name());
        xml.writeAttribute("time", String.format(Locale.ROOT, "%.3f", seconds(report)));
        if (!verdict.passed()) {
            xml.writeStartElement("failure");
            xml.writeAttribute("type", "threshold");
            xml.writeAttribute("message", verdict.sentence());
            xml.writeCharacters("found " + verdict.found() + ", limit " + verdict.limit());
            xml.writeEndElement();
        }
        xml.writeEndElement();
    }

    private static double seconds(PerplexityReport report) {
        PerplexityReport.Measurement baseline = report.baseline();
        return report.model().seconds() + (baseline == null ? 0 : baseline.seconds());
    }
}
