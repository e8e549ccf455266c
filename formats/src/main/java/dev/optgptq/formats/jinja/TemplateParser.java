package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Statement.NamedFilter;
import dev.optgptq.formats.jinja.Statement.Parameter;
import dev.optgptq.formats.jinja.Statement.Target;
import dev.optgptq.formats.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** Statements. */
final class TemplateParser {

    private static final int MOST_PARAMETERS = 255;

    private final TokenStream tokens;
    private final ExpressionParser expressions;
    private int loops;

    private TemplateParser(TokenStream tokens) {
        this.tokens = tokens;
        this.expressions = new ExpressionParser(tokens);
    }

    static List<Statement> parse(String template) {
        TemplateParser parser = new TemplateParser(new TokenStream(Lexer.tokens(template)));
        List<Statement> all = parser.body(Set.of());
        if (parser.tokens.peek().kind() != Kind.END) {
            throw parser.tokens.unexpected("a statement");
        }
        return all;
    }

    /** Up to one of these tags, of which the name is next; up to the end for none. */
    private List<Statement> body(Set<String> ends) {
        tokens.enter();
        List<Statement> statements = new ArrayList<>();
        while (true) {
            Token token = tokens.peek();
            if (token.kind() == Kind.DATA) {
                statements.add(new Statement.Data(token.line(), tokens.take().text()));
            } else if (token.kind() == Kind.PRINT) {
                tokens.take();
                statements.add(new Statement.Print(token.line(), expressions.tuple()));
                tokens.requireEndOfTag();
            } else if (token.kind() == Kind.BLOCK) {
                tokens.take();
                if (ends.contains(tokens.peek().text())) {
                    tokens.leave();
                    return List.copyOf(statements);
                }
                statements.add(statement(token.line()));
            } else if (ends.isEmpty()) {
                tokens.leave();
                return List.copyOf(statements);
            } else {
                throw tokens.unexpected("one of the tags " + String.join(", ", ends.stream().sorted().toList()));
            }
        }
    }

    /** A body up to one tag, with that tag. */
    private List<Statement> bodyTo(String end) {
        tokens.requireEndOfTag();
        List<Statement> body = body(Set.of(end));
        endTag();
        return body;
    }

    private void endTag() {
        tokens.requireName();
        if (tokens.peek().kind() == Kind.NAME) {
            tokens.take(); // {% endmacro name %}
        }
        tokens.requireEndOfTag();
    }

    private Statement statement(int line) {
        String name = tokens.requireName();
        return switch (name) {
            case "if" -> condition(line);
            case "for" -> loop(line);
            case "set" -> assignment(line);
            case "macro" -> macro(line);
            case "call" -> call(line);
            case "filter" -> new Statement.FilterText(line, filters(expressionFilter()), bodyTo("endfilter"));
            case "with" -> with(line);
            case "generation" -> new Statement.With(line, List.of(), bodyTo("endgeneration"));
            case "break", "continue" -> leaveLoop(line, name);
            case "include", "import", "from", "extends" -> throw new TemplateException("{% " + name
                    + " %} is not supported: a chat template is one file").at(line);
            default -> throw new TemplateException("found the unknown statement '" + name + "'").at(line);
        };
    }

    private Statement leaveLoop(int line, String name) {
        if (loops == 0) {
            throw new TemplateException("found '" + name + "' outside of a loop").at(line);
        }
        tokens.requireEndOfTag();
        return name.equals("break") ? new Statement.Break(line) : new Statement.Continue(line);
    }

    private Statement condition(int line) {
        Expression condition = expressions.tuple();
        tokens.requireEndOfTag();
        List<Statement> then = body(Set.of("elif", "else", "endif"));
        int at = tokens.line();
        String end = tokens.requireName();
        List<Statement> otherwise = List.of();
        switch (end) {
            case "elif" -> {
                tokens.enter();
                otherwise = List.of(condition(at));
                tokens.leave();
            }
            case "else" -> otherwise = bodyTo("endif");
            default -> tokens.requireEndOfTag();
        }
        return new Statement.If(line, condition, then, otherwise);
    }

    private Statement loop(int line) {
        List<String> names = new ArrayList<>();
        boolean bracket = tokens.takeOperator("(");
        do {
            names.add(tokens.requireName());
        } while (tokens.takeOperator(","));
        if (bracket) {
            tokens.requireOperator(")");
        }
        if (!tokens.takeName("in")) {
            throw tokens.unexpected("'in'");
        }
        Expression elements = loopElements();
        Expression condition = tokens.takeName("if") ? expressions.expression() : null;
        if (tokens.isName("recursive")) {
            throw new TemplateException("recursive loops are not supported").at(line);
        }
        tokens.requireEndOfTag();
        loops++;
        List<Statement> body = body(Set.of("else", "endfor"));
        loops--;
        List<Statement> otherwise = List.of();
        if (tokens.requireName().equals("else")) {
            otherwise = bodyTo("endfor");
        } else {
            tokens.requireEndOfTag();
        }
        return new Statement.For(line, names, elements, condition, body, otherwise);
    }

    private Expression loopElements() {
        Expression first = expressions.or();
        if (!tokens.isOperator(",")) {
            return first;
        }
        List<Expression> elements = new ArrayList<>(List.of(first));
        while (tokens.takeOperator(",")) {
            elements.add(expressions.or());
        }
        return new Expression.Sequence(elements, true);
    }

    private Statement assignment(int line) {
        List<Target> targets = new ArrayList<>();
        boolean bracket = tokens.takeOperator("(");
        do {
            String name = tokens.requireName();
            targets.add(new Target(name, tokens.takeOperator(".") ? tokens.requireName() : null));
        } while (tokens.takeOperator(","));
        if (bracket) {
            tokens.requireOperator(")");
        }
        if (tokens.takeOperator("=")) {
            Expression value = expressions.tuple();
            tokens.requireEndOfTag();
            return new Statement.Assign(line, targets, targets.size() > 1, value);
        }
        if (targets.size() > 1) {
            throw tokens.unexpected("'='");
        }
        List<NamedFilter> filters = tokens.takeOperator("|") ? filters(expressionFilter()) : List.of();
        return new Statement.AssignText(line, targets.getFirst(), filters, bodyTo("endset"));
    }

    private NamedFilter expressionFilter() {
        String name = tokens.requireName();
        return new NamedFilter(name, tokens.isOperator("(") ? expressions.passed() : Expression.Passed.NONE);
    }

    private List<NamedFilter> filters(NamedFilter first) {
        List<NamedFilter> filters = new ArrayList<>(List.of(first));
        while (tokens.takeOperator("|")) {
            filters.add(expressionFilter());
        }
        return filters;
    }

    private Statement macro(int line) {
        String name = tokens.requireName();
        List<Parameter> parameters = parameters();
        return new Statement.Macro(line, name, parameters, outsideLoops("endmacro"));
    }

    private Statement call(int line) {
        List<Parameter> parameters = tokens.isOperator("(") ? parameters() : List.of();
        if (!(expressions.expression() instanceof Expression.Call call)) {
            throw new TemplateException("expected a call in {% call %}").at(line);
        }
        return new Statement.CallWithBody(line, parameters, call, outsideLoops("endcall"));
    }

    /** A loop around a macro cannot be left from within it. */
    private List<Statement> outsideLoops(String end) {
        int around = loops;
        loops = 0;
        List<Statement> body = bodyTo(end);
        loops = around;
        return body;
    }

    private List<Parameter> parameters() {
        tokens.requireOperator("(");
        List<Parameter> parameters = new ArrayList<>();
        while (!tokens.takeOperator(")")) {
            parameters.add(new Parameter(tokens.requireName(),
                    tokens.takeOperator("=") ? expressions.expression() : null));
            if (!tokens.isOperator(")")) {
                tokens.requireOperator(",");
            }
        }
        if (parameters.size() > MOST_PARAMETERS) {
            throw tokens.unexpected("at most " + MOST_PARAMETERS + " parameters");
        }
        return parameters;
    }

    private Statement with(int line) {
        List<Expression.Named> values = new ArrayList<>();
        while (tokens.peek().kind() == Kind.NAME) {
            String name = tokens.requireName();
            tokens.requireOperator("=");
            values.add(new Expression.Named(name, expressions.expression()));
            tokens.takeOperator(",");
        }
        return new Statement.With(line, values, bodyTo("endwith"));
    }
}
