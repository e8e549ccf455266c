package dev.optgptq.formats.jinja;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** What a template does; each knows its line. */
sealed interface Statement {

    int line();

    record Data(int line, String text) implements Statement {}

    record Print(int line, Expression value) implements Statement {}

    record If(int line, Expression condition, List<Statement> then, List<Statement> otherwise) implements Statement {}

    /** @param condition that an element must meet */
    record For(int line, List<String> names, Expression elements, @Nullable Expression condition, List<Statement> body,
            List<Statement> otherwise) implements Statement {}

    /** @param unpacks whether the value is taken apart for the targets */
    record Assign(int line, List<Target> targets, boolean unpacks, Expression value) implements Statement {}

    /** The text of a body, filtered: the filters stand on a Literal in its place. */
    record AssignText(int line, Target target, List<NamedFilter> filters, List<Statement> body) implements Statement {}

    record FilterText(int line, List<NamedFilter> filters, List<Statement> body) implements Statement {}

    record NamedFilter(String name, Expression.Passed passed) {}

    record Macro(int line, String name, List<Parameter> parameters, List<Statement> body) implements Statement {}

    record Parameter(String name, @Nullable Expression byDefault) {}

    /** A call of a macro that gets the body as caller(). */
    record CallWithBody(int line, List<Parameter> parameters, Expression.Call call, List<Statement> body)
            implements
                Statement {}

    /** A body with names of its own; {% generation %}, which marks what is trained on, has none. */
    record With(int line, List<Expression.Named> values, List<Statement> body) implements Statement {}

    record Break(int line) implements Statement {}

    record Continue(int line) implements Statement {}

    /** What is assigned to: a name, or an attribute of the namespace of that name. */
    record Target(String name, @Nullable String attribute) {}
}
