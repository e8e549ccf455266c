package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Token.Kind;
import java.util.List;

/** One token inside a tag. */
final class TagScanner {

    /** Longer ones before those that they begin with. */
    private static final List<String> OPERATORS = List.of("//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%",
            "~", "(", ")", "[", "]", "{", "}", ">", "<", "=", ".", ":", "|", ",");

    private TagScanner() {}

    /** @param end the place after the token */
    record Scanned(Token token, int end) {}

    static Scanned scan(String source, int at, int line) {
        char first = source.charAt(at);
        if (first == '"' || first == '\'') {
            return string(source, at, line);
        }
        if (first >= '0' && first <= '9') {
            return number(source, at, line);
        }
        if (isNamePart(first)) {
            int end = at;
            while (end < source.length() && isNamePart(source.charAt(end))) {
                end++;
            }
            return new Scanned(new Token(Kind.NAME, source.substring(at, end), line), end);
        }
        for (String operator : OPERATORS) {
            if (source.startsWith(operator, at)) {
                return new Scanned(new Token(Kind.OPERATOR, operator, line), at + operator.length());
            }
        }
        throw new TemplateException("found the unexpected character '" + first + "' in a tag").at(line);
    }

    private static boolean isNamePart(char c) {
        return c == '_' || Character.isLetterOrDigit(c);
    }

    private static Scanned number(String source, int at, int line) {
        int end = digits(source, at);
        boolean real = false;
        if (end + 1 < source.length() && source.charAt(end) == '.' && isDigit(source.charAt(end + 1))) {
            end = digits(source, end + 1);
            real = true;
        }
        if (end < source.length() && (source.charAt(end) == 'e' || source.charAt(end) == 'E')) {
            int exponent = end + 1 < source.length() && "+-".indexOf(source.charAt(end + 1)) >= 0 ? end + 2 : end + 1;
            int after = digits(source, exponent);
            if (after > exponent) {
                end = after;
                real = true;
            }
        }
        String text = source.substring(at, end).replace("_", "");
        return new Scanned(new Token(real ? Kind.REAL : Kind.INTEGER, text, line), end);
    }

    private static int digits(String source, int at) {
        int end = at;
        while (end < source.length() && (isDigit(source.charAt(end)) || source.charAt(end) == '_')) {
            end++;
        }
        return end;
    }

    private static boolean isDigit(char c) {
        return c >= '0' && c <= '9';
    }

    /** Escapes are Python's; a backslash before a newline takes the newline away, an unknown escape stays. */
    private static Scanned string(String source, int at, int line) {
        char quote = source.charAt(at);
        StringBuilder text = new StringBuilder();
        int i = at + 1;
        while (i < source.length() && source.charAt(i) != quote) {
            char c = source.charAt(i);
            if (c != '\\' || i + 1 >= source.length()) {
                text.append(c);
                i++;
            } else {
                i = escape(source, i + 1, text, line);
            }
        }
        if (i >= source.length()) {
            throw new TemplateException("expected " + quote + " after a string, found the end of the template")
                    .at(line);
        }
        return new Scanned(new Token(Kind.STRING, text.toString(), line), i + 1);
    }

    /** Returns the place after it. */
    private static int escape(String source, int at, StringBuilder text, int line) {
        char c = source.charAt(at);
        switch (c) {
            case 'n' -> text.append('\n');
            case 't' -> text.append('\t');
            case 'r' -> text.append('\r');
            case 'b' -> text.append('\b');
            case 'f' -> text.append('\f');
            case 'v' -> text.append('\u000b');
            case 'a' -> text.append('\u0007');
            case '\\', '\'', '"' -> text.append(c);
            case '\n' -> text.append("");
            case 'x' -> text.appendCodePoint(hex(source, at + 1, 2, line));
            case 'u' -> text.appendCodePoint(hex(source, at + 1, 4, line));
            case 'U' -> text.appendCodePoint(hex(source, at + 1, 8, line));
            default -> text.append('\\').append(c);
        }
        return at + 1 + switch (c) {
            case 'x' -> 2;
            case 'u' -> 4;
            case 'U' -> 8;
            default -> 0;
        };
    }

    private static int hex(String source, int from, int digits, int line) {
        String text = source.substring(from, Math.min(from + digits, source.length()));
        if (!text.matches("[0-9a-fA-F]{" + digits + "}")
                || !Character.isValidCodePoint((int) Long.parseLong(text, 16))) {
            throw new TemplateException(
                    "expected " + digits + " hexadecimal digits in a string's escape, found '" + text
                            + "'")
                    .at(line);
        }
        return Integer.parseInt(text, 16);
    }
}
