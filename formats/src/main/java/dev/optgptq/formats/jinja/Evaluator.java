package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Value.Bool;
import dev.optgptq.formats.jinja.Value.Dict;
import dev.optgptq.formats.jinja.Value.Function;
import dev.optgptq.formats.jinja.Value.Items;
import dev.optgptq.formats.jinja.Value.None;
import dev.optgptq.formats.jinja.Value.Undefined;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Values of expressions. */
record Evaluator(Indexing indexing, Filters filters, Arithmetic arithmetic, Budget budget) {

    static Evaluator of(Budget budget) {
        Methods methods = new Methods(budget);
        Indexing indexing = new Indexing(methods, budget);
        return new Evaluator(indexing, new Filters(methods, indexing, budget), new Arithmetic(budget), budget);
    }

    Value evaluate(Expression expression, Scope scope) {
        budget.step();
        budget.enter();
        Value value = switch (expression) {
            case Expression.Literal literal -> literal.value();
            case Expression.Name name -> scope.get(name.name());
            case Expression.Attribute attribute -> indexing.attribute(evaluate(attribute.of(), scope),
                    attribute.name());
            case Expression.Item item -> indexing.item(evaluate(item.of(), scope), evaluate(item.key(), scope));
            case Expression.Slice slice -> indexing.slice(evaluate(slice.of(), scope), orNone(slice.from(), scope),
                    orNone(slice.to(), scope), orNone(slice.step(), scope));
            case Expression.Call call -> call(call, scope, Map.of());
            case Expression.Filter filter -> filters.apply(filter.name(), evaluate(filter.of(), scope),
                    arguments(filter.passed(), scope));
            case Expression.Test test -> new Bool(Tests.test(test.name(), evaluate(test.of(), scope),
                    arguments(test.passed(), scope), budget));
            case Expression.Not not -> new Bool(!Values.isTrue(evaluate(not.of(), scope)));
            case Expression.Sign sign -> sign.negative()
                    ? arithmetic.negated(evaluate(sign.of(), scope))
                    : evaluate(sign.of(), scope);
            case Expression.Arithmetic sum -> arithmetic.of(sum.operator(), evaluate(sum.left(), scope),
                    evaluate(sum.right(), scope));
            case Expression.Logic logic -> logic(logic, scope);
            case Expression.Comparison comparison -> new Bool(holds(comparison, scope));
            case Expression.Choice choice -> choice(choice, scope);
            case Expression.Sequence sequence -> new Items(all(sequence.elements(), scope), sequence.isTuple());
            case Expression.Mapping mapping -> mapping(mapping, scope);
        };
        budget.leave();
        return value;
    }

    /** @param more named arguments, of a call with a body */
    Value call(Expression.Call call, Scope scope, Map<String, Value> more) {
        Value function = evaluate(call.function(), scope);
        Arguments given = arguments(call.passed(), scope);
        Map<String, Value> named = new LinkedHashMap<>(given.named());
        named.putAll(more);
        if (function instanceof Function callable) {
            return callable.body().call(new Arguments(given.positional(), named));
        }
        throw new TemplateException(function instanceof Undefined undefined
                ? "found a call of the unknown function or method '" + undefined.name() + "'"
                : "expected a function to call, found " + Values.kind(function));
    }

    Arguments arguments(Expression.Passed passed, Scope scope) {
        if (passed.positional().isEmpty() && passed.named().isEmpty()) {
            return Arguments.NONE;
        }
        Map<String, Value> named = new LinkedHashMap<>();
        passed.named().forEach(one -> named.put(one.name(), evaluate(one.value(), scope)));
        return new Arguments(all(passed.positional(), scope), named);
    }

    private List<Value> all(List<Expression> expressions, Scope scope) {
        List<Value> values = new ArrayList<>(expressions.size());
        expressions.forEach(expression -> values.add(evaluate(expression, scope)));
        return List.copyOf(values);
    }

    private Value orNone(@Nullable Expression expression, Scope scope) {
        return expression == null ? None.NONE : evaluate(expression, scope);
    }

    /** The operand that decides, as in Python. */
    private Value logic(Expression.Logic logic, Scope scope) {
        Value left = evaluate(logic.left(), scope);
        return Values.isTrue(left) == logic.isAnd() ? evaluate(logic.right(), scope) : left;
    }

    private Value choice(Expression.Choice choice, Scope scope) {
        if (Values.isTrue(evaluate(choice.condition(), scope))) {
            return evaluate(choice.then(), scope);
        }
        Expression otherwise = choice.otherwise();
        return otherwise == null ? new Undefined("the value of an if without else") : evaluate(otherwise, scope);
    }

    private boolean holds(Expression.Comparison comparison, Scope scope) {
        Value left = evaluate(comparison.first(), scope);
        for (Expression.Link link : comparison.links()) {
            Value right = evaluate(link.right(), scope);
            if (!holds(link.operator(), left, right)) {
                return false;
            }
            left = right;
        }
        return true;
    }

    private boolean holds(String operator, Value left, Value right) {
        return switch (operator) {
            case "==" -> Values.equal(left, right, budget);
            case "!=" -> !Values.equal(left, right, budget);
            case "<" -> Values.compare(left, right, budget) < 0;
            case "<=" -> Values.compare(left, right, budget) <= 0;
            case ">" -> Values.compare(left, right, budget) > 0;
            case ">=" -> Values.compare(left, right, budget) >= 0;
            case "in" -> Values.contains(right, left, budget);
            default -> !Values.contains(right, left, budget);
        };
    }

    private Value mapping(Expression.Mapping mapping, Scope scope) {
        Map<Value, Value> entries = new LinkedHashMap<>();
        mapping.pairs().forEach(pair -> entries.put(Values.key(evaluate(pair.key(), scope), budget),
                evaluate(pair.value(), scope)));
        return new Dict(entries);
    }
}
