package dev.optgptq.cli.render;

import java.io.StringWriter;
import java.util.List;
import java.util.Locale;
import javax.xml.stream.XMLOutputFactory;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamWriter;

/** Thresholds as a JUnit XML report, one test case each, for continuous integration. */
public final class JUnitXml {

    private JUnitXml() {}

    /** One check. */
    public interface Case {
        String name();

        double found();

        double limit();

        boolean met();
    }

    /** The document. */
    public static String of(String suite, List<? extends Case> cases, double seconds) {
        StringWriter text = new StringWriter();
        try {
            XMLStreamWriter xml = XMLOutputFactory.newFactory().createXMLStreamWriter(text);
            xml.writeStartDocument("UTF-8", "1.0");
            xml.writeStartElement("testsuite");
            xml.writeAttribute("name", suite);
            xml.writeAttribute("tests", String.valueOf(cases.size()));
            xml.writeAttribute("failures", String.valueOf(cases.stream().filter(c -> !c.met()).count()));
            xml.writeAttribute("time", String.format(Locale.ROOT, "%.3f", seconds));
            for (Case one : cases) {
                writeCase(xml, suite, one);
            }
            xml.writeEndElement();
            xml.writeEndDocument();
            xml.close();
        } catch (XMLStreamException e) {
            throw new IllegalStateException("writing XML to memory failed", e);
        }
        return text + "\n";
    }

    private static void writeCase(XMLStreamWriter xml, String suite, Case one) throws XMLStreamException {
        xml.writeStartElement("testcase");
        xml.writeAttribute("classname", suite);
        xml.writeAttribute("name", one.name());
        if (!one.met()) {
            xml.writeStartElement("failure");
            xml.writeAttribute("message", String.format(Locale.ROOT, "found %.6f, limit %.6f", one.found(), one.limit()));
            xml.writeEndElement();
        }
        xml.writeEndElement();
    }
}
