package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Token.Kind;
import java.util.List;

/** The tokens that are left, and how deep the parser is. */
final class TokenStream {

    private static final int MOST_DEPTH = 100;

    private final List<Token> tokens;
    private int next;
    private int depth;

    TokenStream(List<Token> tokens) {
        this.tokens = tokens;
    }

    Token peek() {
        return tokens.get(next);
    }

    Token peekAfter() {
        return tokens.get(Math.min(next + 1, tokens.size() - 1));
    }

    Token take() {
        Token token = tokens.get(next);
        if (token.kind() != Kind.END) {
            next++;
        }
        return token;
    }

    int line() {
        return peek().line();
    }

    boolean isNext(Kind kind, String text) {
        return peek().is(kind, text);
    }

    boolean isName(String name) {
        return isNext(Kind.NAME, name);
    }

    boolean isOperator(String operator) {
        return isNext(Kind.OPERATOR, operator);
    }

    /** Takes it if it is next. */
    boolean takeOperator(String operator) {
        return taken(isOperator(operator));
    }

    boolean takeName(String name) {
        return taken(isName(name));
    }

    private boolean taken(boolean isNext) {
        if (isNext) {
            take();
        }
        return isNext;
    }

    void requireOperator(String operator) {
        if (!takeOperator(operator)) {
            throw unexpected("'" + operator + "'");
        }
    }

    String requireName() {
        return require(Kind.NAME, "a name").text();
    }

    void requireEndOfTag() {
        require(Kind.END_OF_TAG, "the end of the tag");
    }

    private Token require(Kind kind, String expected) {
        if (peek().kind() != kind) {
            throw unexpected(expected);
        }
        return take();
    }

    TemplateException unexpected(String expected) {
        return new TemplateException("expected " + expected + ", found " + peek().shown()).at(line());
    }

    void enter() {
        if (++depth > MOST_DEPTH) {
            throw new TemplateException("is nested deeper than " + MOST_DEPTH + " levels").at(line());
        }
    }

    void leave() {
        depth--;
    }
}
