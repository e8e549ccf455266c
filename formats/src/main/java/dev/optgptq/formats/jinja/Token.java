package dev.optgptq.formats.jinja;

/** @param text without quotes and with escapes resolved, for a STRING */
record Token(Kind kind, String text, int line) {

    enum Kind {
        DATA, PRINT, BLOCK, END_OF_TAG, NAME, STRING, INTEGER, REAL, OPERATOR, END
    }

    boolean is(Kind other, String content) {
        return kind == other && text.equals(content);
    }

    /** For messages. */
    String shown() {
        return switch (kind) {
            case END -> "the end of the template";
            case END_OF_TAG -> "the end of the tag";
            case DATA, PRINT, BLOCK -> "text";
            case NAME, STRING, INTEGER, REAL, OPERATOR -> "'" + text + "'";
        };
    }
}
