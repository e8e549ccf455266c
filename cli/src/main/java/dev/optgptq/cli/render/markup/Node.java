package dev.optgptq.cli.render.markup;

/** A piece of a document. */
public sealed interface Node permits Element, Node.Text, Node.Verbatim {

    /** Appends it as HTML that is also XML. */
    void write(StringBuilder target);

    /** Text of any origin, escaped. */
    record Text(String text) implements Node {

        @Override
        public void write(StringBuilder target) {
            escape(text, target);
        }

        /** Escapes for element content and attribute values alike; what XML cannot hold becomes U+FFFD. */
        static void escape(String text, StringBuilder target) {
            text.codePoints().forEach(point -> {
                switch (point) {
                    case '&' -> target.append("&amp;");
                    case '<' -> target.append("&lt;");
                    case '>' -> target.append("&gt;");
                    case '"' -> target.append("&quot;");
                    case '\'' -> target.append("&#39;");
                    default -> target.appendCodePoint(XmlText.allowed(point));
                }
            });
        }
    }

    /** Our own style sheet or script, which must not be escaped: without ampersands and less-than signs. */
    record Verbatim(String text) implements Node {

        public Verbatim {
            if (text.indexOf('&') >= 0 || text.indexOf('<') >= 0) {
                throw new IllegalArgumentException("verbatim text must be plain in HTML and XML: no '&', no '<'");
            }
        }

        @Override
        public void write(StringBuilder target) {
            target.append(text);
        }
    }
}
