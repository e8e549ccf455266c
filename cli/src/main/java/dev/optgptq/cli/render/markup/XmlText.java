package dev.optgptq.cli.render.markup;

/** Characters that XML allows (XML 1.0, production [2] Char); paths and names may contain others. */
public final class XmlText {

    private static final char REPLACEMENT = '\uFFFD';

    private XmlText() {}

    /** Replaces every character that XML does not allow with U+FFFD. */
    public static String of(String text) {
        StringBuilder clean = new StringBuilder(text.length());
        text.codePoints().map(XmlText::allowed).forEach(clean::appendCodePoint);
        return clean.toString();
    }

    static int allowed(int point) {
        boolean xml = point == '\t' || point == '\n' || point == '\r' || (point >= 0x20 && point <= 0xD7FF)
                || (point >= 0xE000 && point <= 0xFFFD) || point >= 0x10000;
        return xml ? point : REPLACEMENT;
    }
}
