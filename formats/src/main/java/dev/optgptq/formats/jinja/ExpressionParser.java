package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Token.Kind;
import dev.optgptq.formats.jinja.Value.Bool;
import dev.optgptq.formats.jinja.Value.Int;
import dev.optgptq.formats.jinja.Value.None;
import dev.optgptq.formats.jinja.Value.Real;
import dev.optgptq.formats.jinja.Value.Text;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Expressions, in Jinja's order of precedence: each method parses one level and calls the next tighter one. */
final class ExpressionParser {

    private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");
    /** These follow a test without an argument. */
    private static final Set<String> NO_ARGUMENT = Set.of("else", "or", "and", "is", "if", "in", "not");

    private final TokenStream tokens;

    ExpressionParser(TokenStream tokens) {
        this.tokens = tokens;
    }

    /** Several with commas between them are a tuple. */
    Expression tuple() {
        Expression first = expression();
        if (!tokens.isOperator(",")) {
            return first;
        }
        List<Expression> elements = new ArrayList<>(List.of(first));
        while (tokens.takeOperator(",") && tokens.peek().kind() != Kind.END_OF_TAG && !tokens.isOperator(")")) {
            elements.add(expression());
        }
        return new Expression.Sequence(elements, true);
    }

    Expression expression() {
        tokens.enter();
        Expression value = or();
        while (tokens.takeName("if")) {
            Expression condition = or();
            value = new Expression.Choice(condition, value, tokens.takeName("else") ? expression() : null);
        }
        tokens.leave();
        return value;
    }

    /** Without a condition after it, which belongs to the loop there. */
    Expression or() {
        Expression left = and();
        while (tokens.takeName("or")) {
            left = new Expression.Logic(false, left, and());
        }
        return left;
    }

    private Expression and() {
        Expression left = not();
        while (tokens.takeName("and")) {
            left = new Expression.Logic(true, left, not());
        }
        return left;
    }

    private Expression not() {
        int nots = 0;
        while (tokens.takeName("not")) {
            nots++;
        }
        Expression value = comparison();
        for (; nots > 0; nots--) {
            value = new Expression.Not(value);
        }
        return value;
    }

    private Expression comparison() {
        Expression first = sum();
        List<Expression.Link> links = new ArrayList<>();
        while (true) {
            if (tokens.peek().kind() == Kind.OPERATOR && COMPARISONS.contains(tokens.peek().text())) {
                links.add(new Expression.Link(tokens.take().text(), sum()));
            } else if (tokens.takeName("in")) {
                links.add(new Expression.Link("in", sum()));
            } else if (tokens.isName("not") && tokens.peekAfter().is(Kind.NAME, "in")) {
                tokens.take();
                tokens.take();
                links.add(new Expression.Link("not in", sum()));
            } else {
                return links.isEmpty() ? first : new Expression.Comparison(first, links);
            }
        }
    }

    private Expression sum() {
        Expression left = concatenation();
        while (tokens.isOperator("+") || tokens.isOperator("-")) {
            left = new Expression.Arithmetic(tokens.take().text(), left, concatenation());
        }
        return left;
    }

    private Expression concatenation() {
        Expression left = product();
        while (tokens.takeOperator("~")) {
            left = new Expression.Arithmetic("~", left, product());
        }
        return left;
    }

    private Expression product() {
        Expression left = power();
        while (tokens.isOperator("*") || tokens.isOperator("/") || tokens.isOperator("//") || tokens.isOperator("%")) {
            left = new Expression.Arithmetic(tokens.take().text(), left, power());
        }
        return left;
    }

    private Expression power() {
        Expression left = unary(true);
        while (tokens.takeOperator("**")) {
            left = new Expression.Arithmetic("**", left, unary(true));
        }
        return left;
    }

    private Expression unary(boolean withFilters) {
        tokens.enter();
        Expression value;
        if (tokens.isOperator("-") || tokens.isOperator("+")) {
            boolean negative = tokens.take().text().equals("-");
            value = new Expression.Sign(unary(false), negative);
        } else {
            value = postfix(primary());
        }
        tokens.leave();
        return withFilters ? filtered(value) : value;
    }

    private Expression primary() {
        Token token = tokens.take();
        return switch (token.kind()) {
            case NAME -> name(token.text());
            case STRING -> new Expression.Literal(new Text(adjacent(token.text())));
            case INTEGER -> new Expression.Literal(whole(token));
            case REAL -> new Expression.Literal(new Real(Double.parseDouble(token.text())));
            case OPERATOR -> bracket(token);
            case DATA, PRINT, BLOCK, END_OF_TAG, END -> throw new TemplateException("expected a value, found "
                    + token.shown()).at(token.line());
        };
    }

    private static Value whole(Token token) {
        try {
            return new Int(Long.parseLong(token.text()));
        } catch (NumberFormatException e) {
            throw new TemplateException("the number " + token.text() + " is too large").at(token.line());
        }
    }

    /** Strings that follow each other are one. */
    private String adjacent(String first) {
        StringBuilder text = new StringBuilder(first);
        while (tokens.peek().kind() == Kind.STRING) {
            text.append(tokens.take().text());
        }
        return text.toString();
    }

    private static Expression name(String name) {
        return switch (name) {
            case "true", "True" -> new Expression.Literal(new Bool(true));
            case "false", "False" -> new Expression.Literal(new Bool(false));
            case "none", "None" -> new Expression.Literal(None.NONE);
            default -> new Expression.Name(name);
        };
    }

    private Expression bracket(Token token) {
        return switch (token.text()) {
            case "(" -> {
                if (tokens.takeOperator(")")) {
                    yield new Expression.Sequence(List.of(), true);
                }
                Expression inner = tuple();
                tokens.requireOperator(")");
                yield inner;
            }
            case "[" -> {
                List<Expression> elements = new ArrayList<>();
                while (!tokens.takeOperator("]")) {
                    elements.add(expression());
                    requireCommaBefore("]");
                }
                yield new Expression.Sequence(elements, false);
            }
            case "{" -> {
                List<Expression.Pair> pairs = new ArrayList<>();
                while (!tokens.takeOperator("}")) {
                    Expression key = expression();
                    tokens.requireOperator(":");
                    pairs.add(new Expression.Pair(key, expression()));
                    requireCommaBefore("}");
                }
                yield new Expression.Mapping(pairs);
            }
            default -> throw new TemplateException("expected a value, found " + token.shown()).at(token.line());
        };
    }

    private void requireCommaBefore(String close) {
        if (!tokens.isOperator(close)) {
            tokens.requireOperator(",");
        }
    }

    private Expression postfix(Expression value) {
        Expression of = value;
        while (true) {
            if (tokens.takeOperator(".")) {
                of = tokens.peek().kind() == Kind.INTEGER
                        ? new Expression.Item(of, new Expression.Literal(whole(tokens.take())))
                        : new Expression.Attribute(of, tokens.requireName());
            } else if (tokens.takeOperator("[")) {
                of = subscript(of);
            } else if (tokens.isOperator("(")) {
                of = new Expression.Call(of, passed());
            } else {
                return of;
            }
        }
    }

    private Expression subscript(Expression of) {
        Expression from = isSliceEnd() ? null : expression();
        if (from != null && tokens.takeOperator("]")) {
            return new Expression.Item(of, from);
        }
        tokens.requireOperator(":");
        Expression to = isSliceEnd() ? null : expression();
        Expression step = tokens.takeOperator(":") && !isSliceEnd() ? expression() : null;
        tokens.requireOperator("]");
        return new Expression.Slice(of, from, to, step);
    }

    private boolean isSliceEnd() {
        return tokens.isOperator(":") || tokens.isOperator("]");
    }

    /** Filters and tests, and what follows them. */
    private Expression filtered(Expression value) {
        Expression of = value;
        while (true) {
            if (tokens.takeOperator("|")) {
                String name = tokens.requireName();
                of = new Expression.Filter(of, name,
                        tokens.isOperator("(") ? passed() : Expression.Passed.NONE);
            } else if (tokens.takeName("is")) {
                of = test(of);
            } else if (tokens.isOperator("(")) {
                of = new Expression.Call(of, passed());
            } else {
                return of;
            }
        }
    }

    private Expression test(Expression of) {
        boolean negated = tokens.takeName("not");
        String name = tokens.requireName();
        Expression.Passed passed = Expression.Passed.NONE;
        if (tokens.isOperator("(")) {
            passed = passed();
        } else if (takesArgument(tokens.peek())) {
            passed = new Expression.Passed(List.of(postfix(primary())), List.of());
        }
        Expression test = new Expression.Test(of, name, passed);
        return negated ? new Expression.Not(test) : test;
    }

    private static boolean takesArgument(Token token) {
        return switch (token.kind()) {
            case NAME -> !NO_ARGUMENT.contains(token.text());
            case STRING, INTEGER, REAL -> true;
            case OPERATOR -> token.text().equals("[") || token.text().equals("{");
            case DATA, PRINT, BLOCK, END_OF_TAG, END -> false;
        };
    }

    /** Arguments in parentheses. */
    Expression.Passed passed() {
        tokens.requireOperator("(");
        List<Expression> positional = new ArrayList<>();
        List<Expression.Named> named = new ArrayList<>();
        while (!tokens.takeOperator(")")) {
            @Nullable
            String name = argumentName();
            if (name != null) {
                named.add(new Expression.Named(name, expression()));
            } else {
                positional.add(expression());
            }
            requireCommaBefore(")");
        }
        return new Expression.Passed(positional, named);
    }

    private @Nullable String argumentName() {
        if (tokens.peek().kind() == Kind.NAME && tokens.peekAfter().is(Kind.OPERATOR, "=")) {
            String name = tokens.requireName();
            tokens.requireOperator("=");
            return name;
        }
        return null;
    }
}
