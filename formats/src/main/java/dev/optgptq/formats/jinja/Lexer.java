package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.List;

/**
 * Splits a template into text and the tokens of its tags, with trim_blocks and lstrip_blocks, as transformers sets them:
 * the newline after a block or comment goes, and so does white space between the start of a line and a block or comment.
 */
final class Lexer {

    private final String source;
    private final List<Token> tokens = new ArrayList<>();
    private int at;
    private int line = 1;
    /** Whether what was taken last ended with a newline. */
    private boolean lineStarts = true;

    private Lexer(String source) {
        this.source = source;
    }

    static List<Token> tokens(String template) {
        String text = template.replace("\r\n", "\n").replace('\r', '\n');
        Lexer lexer = new Lexer(text.endsWith("\n") ? text.substring(0, text.length() - 1) : text);
        lexer.run();
        return lexer.tokens;
    }

    private void run() {
        while (at < source.length()) {
            int tag = nextTag();
            if (tag < 0) {
                data(source.substring(at));
                at = source.length();
                break;
            }
            char kind = source.charAt(tag + 1);
            char sign = tag + 2 < source.length() ? source.charAt(tag + 2) : ' ';
            data(strippedBefore(source.substring(at, tag), kind, sign));
            advance(tag + 2 + (sign == '-' || sign == '+' ? 1 : 0));
            switch (kind) {
                case '#' -> comment();
                case '%' -> block();
                default -> tag(Kind.PRINT, "}}");
            }
        }
        tokens.add(new Token(Kind.END, "", line));
    }

    private int nextTag() {
        for (int i = source.indexOf('{', at); i >= 0 && i + 1 < source.length(); i = source.indexOf('{', i + 1)) {
            if ("{%#".indexOf(source.charAt(i + 1)) >= 0) {
                return i;
            }
        }
        return -1;
    }

    private String strippedBefore(String text, char kind, char sign) {
        if (sign == '-') {
            return Texts.stripRight(text);
        }
        int start = text.lastIndexOf('\n') + 1;
        boolean strips = kind != '{' && sign != '+' && (start > 0 || lineStarts) && text.substring(start).isBlank();
        return strips ? text.substring(0, start) : text;
    }

    private void data(String text) {
        if (!text.isEmpty()) {
            tokens.add(new Token(Kind.DATA, text, line));
        }
    }

    /** Goes on to that place, counting lines. */
    private void advance(int to) {
        for (int i = at; i < to; i++) {
            if (source.charAt(i) == '\n') {
                line++;
            }
        }
        lineStarts = to > at && source.charAt(to - 1) == '\n';
        at = to;
    }

    private void comment() {
        int end = source.indexOf("#}", at);
        if (end < 0) {
            throw new TemplateException("expected #} after the comment, found the end of the template").at(line);
        }
        advance(end + 2);
        afterTag(source.charAt(end - 1));
    }

    /** White space after a tag other than {{ }}. */
    private void afterTag(char sign) {
        int from = at;
        if (sign == '-') {
            advance(afterSpace(at));
        } else if (sign != '+' && at < source.length() && source.charAt(at) == '\n') {
            advance(at + 1);
        }
        lineStarts = at > from && source.charAt(at - 1) == '\n';
    }

    private int afterSpace(int from) {
        int i = from;
        while (i < source.length() && Texts.isSpace(source.charAt(i))) {
            i++;
        }
        return i;
    }

    private void block() {
        int name = afterSpace(at);
        int end = afterSpace(name + 3);
        if (source.startsWith("raw", name)
                && (source.startsWith("%}", end) || source.startsWith("-%}", end))) {
            raw(end);
        } else {
            tag(Kind.BLOCK, "%}");
        }
    }

    private void raw(int tagEnd) {
        int from = source.charAt(tagEnd) == '-' ? afterSpace(tagEnd + 3) : tagEnd + 2;
        for (int i = source.indexOf("{%", from); i >= 0; i = source.indexOf("{%", i + 2)) {
            char sign = source.charAt(Math.min(i + 2, source.length() - 1));
            int name = afterSpace(i + 2 + (sign == '-' || sign == '+' ? 1 : 0));
            int end = afterSpace(name + 6);
            boolean signed = end < source.length() && "-+".indexOf(source.charAt(end)) >= 0;
            if (source.startsWith("endraw", name) && source.startsWith("%}", end + (signed ? 1 : 0))) {
                advance(from);
                data(strippedBefore(source.substring(from, i), '%', sign));
                advance(end + (signed ? 3 : 2));
                afterTag(signed ? source.charAt(end) : ' ');
                return;
            }
        }
        throw new TemplateException("expected {% endraw %}, found the end of the template").at(line);
    }

    private void tag(Kind kind, String close) {
        tokens.add(new Token(kind, "", line));
        int brackets = 0;
        while (true) {
            advance(afterSpace(at));
            if (at >= source.length()) {
                throw new TemplateException("expected " + close + ", found the end of the template").at(line);
            }
            char sign = source.charAt(at);
            boolean signed = sign == '-' || (sign == '+' && kind == Kind.BLOCK);
            if (brackets == 0 && source.startsWith(close, at + (signed ? 1 : 0))) {
                tokens.add(new Token(Kind.END_OF_TAG, "", line));
                advance(at + (signed ? 3 : 2));
                afterTag(kind == Kind.BLOCK || sign == '-' ? sign : '+');
                return;
            }
            TagScanner.Scanned scanned = TagScanner.scan(source, at, line);
            String text = scanned.token().text();
            if (scanned.token().kind() == Kind.OPERATOR && text.length() == 1) {
                brackets += "([{".contains(text) ? 1 : ")]}".contains(text) ? -1 : 0;
            }
            tokens.add(scanned.token());
            advance(scanned.end());
        }
    }
}
