package dev.optgptq.formats.jinja;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** What has a value. */
sealed interface Expression {

    record Literal(Value value) implements Expression {}

    record Name(String name) implements Expression {}

    /** of.name */
    record Attribute(Expression of, String name) implements Expression {}

    /** of[key] */
    record Item(Expression of, Expression key) implements Expression {}

    /** of[from:to:step] */
    record Slice(Expression of, @Nullable Expression from, @Nullable Expression to, @Nullable Expression step)
            implements
                Expression {}

    record Call(Expression function, Passed passed) implements Expression {}

    /** of | name(...) */
    record Filter(Expression of, String name, Passed passed) implements Expression {}

    /** of is name(...) */
    record Test(Expression of, String name, Passed passed) implements Expression {}

    record Not(Expression of) implements Expression {}

    record Sign(Expression of, boolean negative) implements Expression {}

    /** By its symbol: + - * / // % ** ~ */
    record Arithmetic(String operator, Expression left, Expression right) implements Expression {}

    record Logic(boolean isAnd, Expression left, Expression right) implements Expression {}

    /** first op next op next ... */
    record Comparison(Expression first, List<Link> links) implements Expression {}

    /** By its symbol: == != < <= > >= in, or "not in" */
    record Link(String operator, Expression right) {}

    /** then if condition else otherwise */
    record Choice(Expression condition, Expression then, @Nullable Expression otherwise) implements Expression {}

    record Sequence(List<Expression> elements, boolean isTuple) implements Expression {}

    record Mapping(List<Pair> pairs) implements Expression {}

    record Pair(Expression key, Expression value) {}

    /** Arguments of a call. */
    record Passed(List<Expression> positional, List<Named> named) {
        static final Passed NONE = new Passed(List.of(), List.of());
    }

    record Named(String name, Expression value) {}
}
