package dev.optgptq.cli.console;

/**
 * Text that is safe on a terminal. Names and values come from untrusted files: a control character could move the
 * cursor, set the window's title or ring the bell, a formatting character could reorder the text.
 */
final class Visible {

    private Visible() {}

    /** Escapes control and formatting characters; line feeds and tabs stay. JSON keeps its meaning. */
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
