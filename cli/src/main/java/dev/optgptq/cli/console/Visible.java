package dev.optgptq.cli.console;

/**
 * Text as a terminal may show it. Names and values come from strangers' files: a control character among them could move the
 * cursor, set the window's title or ring, a formatting one could reorder what is read.
 */
final class Visible {

    private Visible() {}

    /** With the code of every character that is not shown but acts; line feeds and tabs stay. JSON means the same as before. */
    static String text(String text) {
        if (text.codePoints().noneMatch(Visible::acts)) {
            return text;
        }
        StringBuilder visible = new StringBuilder();
        text.codePoints().forEach(point -> {
            if (acts(point)) {
                for (char unit : Character.toChars(point)) {
                    visible.append(String.format("\\u%04x", (int) unit));
                }
            } else {
                visible.appendCodePoint(point);
            }
        });
        return visible.toString();
    }

    private static boolean acts(int point) {
        return switch (Character.getType(point)) {
            case Character.CONTROL -> point != '\n' && point != '\t';
            case Character.FORMAT, Character.LINE_SEPARATOR, Character.PARAGRAPH_SEPARATOR, Character.SURROGATE -> true;
            default -> false;
        };
    }
}
