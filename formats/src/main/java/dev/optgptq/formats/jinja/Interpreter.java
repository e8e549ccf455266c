package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Statement.NamedFilter;
import dev.optgptq.formats.jinja.Statement.Parameter;
import dev.optgptq.formats.jinja.Statement.Target;
import dev.optgptq.formats.jinja.Value.Bool;
import dev.optgptq.formats.jinja.Value.Function;
import dev.optgptq.formats.jinja.Value.Int;
import dev.optgptq.formats.jinja.Value.Namespace;
import dev.optgptq.formats.jinja.Value.Text;
import dev.optgptq.formats.jinja.Value.Undefined;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Runs statements. */
final class Interpreter {

    private final Budget budget;
    private final Evaluator evaluator;
    /** Of the statement that runs, for messages. */
    private int line = 1;

    Interpreter(Budget budget) {
        this.budget = budget;
        this.evaluator = Evaluator.of(budget);
    }

    /** How a body ended. */
    private enum End {
        NORMAL, BREAK, CONTINUE
    }

    String render(List<Statement> statements, Scope scope) {
        try {
            StringBuilder out = new StringBuilder();
            run(statements, scope, out);
            return out.toString();
        } catch (TemplateException e) {
            throw e.at(line);
        }
    }

    private End run(List<Statement> statements, Scope scope, StringBuilder out) {
        budget.enter();
        End end = End.NORMAL;
        for (int i = 0; end == End.NORMAL && i < statements.size(); i++) {
            budget.step();
            line = statements.get(i).line();
            end = run(statements.get(i), scope, out);
        }
        budget.leave();
        return end;
    }

    private End run(Statement statement, Scope scope, StringBuilder out) {
        switch (statement) {
            case Statement.Data data -> print(data.text(), out);
            case Statement.Print print -> print(Printed.text(evaluator.evaluate(print.value(), scope), budget), out);
            case Statement.If condition -> {
                return run(Values.isTrue(evaluator.evaluate(condition.condition(), scope))
                        ? condition.then()
                        : condition.otherwise(), scope, out);
            }
            case Statement.For loop -> {
                return loop(loop, scope, out);
            }
            case Statement.Assign assign -> assign(assign, scope);
            case Statement.AssignText assign -> assign(assign.target(),
                    filtered(body(assign.body(), scope), assign.filters(), scope), scope);
            case Statement.FilterText filter -> print(
                    Printed.text(filtered(body(filter.body(), scope), filter.filters(), scope), budget), out);
            case Statement.Macro macro -> scope.set(macro.name(),
                    macro(macro.name(), macro.parameters(), macro.body(), scope));
            case Statement.CallWithBody call -> print(Printed.text(evaluator.call(call.call(), scope,
                    Map.of("caller", macro("caller", call.parameters(), call.body(), scope))), budget), out);
            case Statement.With with -> {
                Scope inner = new Scope(scope);
                with.values().forEach(one -> inner.set(one.name(), evaluator.evaluate(one.value(), scope)));
                return run(with.body(), inner, out);
            }
            case Statement.Break _ -> {
                return End.BREAK;
            }
            case Statement.Continue _ -> {
                return End.CONTINUE;
            }
        }
        return End.NORMAL;
    }

    private void print(String text, StringBuilder out) {
        budget.characters(text.length());
        out.append(text);
    }

    /** The text that a body prints. */
    private Value body(List<Statement> body, Scope scope) {
        StringBuilder text = new StringBuilder();
        run(body, new Scope(scope), text);
        return new Text(text.toString());
    }

    private Value filtered(Value text, List<NamedFilter> filters, Scope scope) {
        Value value = text;
        for (NamedFilter filter : filters) {
            value = evaluator.filters().apply(filter.name(), value, evaluator.arguments(filter.passed(), scope));
        }
        return value;
    }

    private End loop(Statement.For loop, Scope scope, StringBuilder out) {
        List<Value> elements = new ArrayList<>();
        for (Value element : Values.elements(evaluator.evaluate(loop.elements(), scope), budget)) {
            budget.step();
            Expression condition = loop.condition();
            if (condition == null || Values.isTrue(evaluator.evaluate(condition, inner(loop, element, scope)))) {
                elements.add(element);
            }
        }
        if (elements.isEmpty()) {
            return run(loop.otherwise(), scope, out);
        }
        for (int i = 0; i < elements.size(); i++) {
            Scope inner = inner(loop, elements.get(i), scope);
            inner.set("loop", loopState(elements, i));
            if (run(loop.body(), inner, out) == End.BREAK) {
                break;
            }
        }
        return End.NORMAL;
    }

    private Scope inner(Statement.For loop, Value element, Scope scope) {
        Scope inner = new Scope(scope);
        if (loop.names().size() == 1) {
            inner.set(loop.names().getFirst(), element);
            return inner;
        }
        List<Value> parts = unpacked(element, loop.names().size());
        for (int i = 0; i < parts.size(); i++) {
            inner.set(loop.names().get(i), parts.get(i));
        }
        return inner;
    }

    private List<Value> unpacked(Value value, int count) {
        List<Value> parts = Values.elements(value, budget);
        budget.steps(parts.size());
        if (parts.size() != count) {
            throw new TemplateException("expected " + count + " values to assign, found " + parts.size());
        }
        return parts;
    }

    private static Namespace loopState(List<Value> elements, int i) {
        int size = elements.size();
        Map<String, Value> state = new HashMap<>();
        state.put("index", new Int(i + 1));
        state.put("index0", new Int(i));
        state.put("revindex", new Int(size - i));
        state.put("revindex0", new Int(size - i - 1));
        state.put("length", new Int(size));
        state.put("first", new Bool(i == 0));
        state.put("last", new Bool(i == size - 1));
        state.put("previtem", i == 0 ? new Undefined("loop.previtem") : elements.get(i - 1));
        state.put("nextitem", i == size - 1 ? new Undefined("loop.nextitem") : elements.get(i + 1));
        state.put("cycle", new Function("cycle", arguments -> {
            if (arguments.positional().isEmpty()) {
                throw new TemplateException("cycle needs values");
            }
            return arguments.positional().get(i % arguments.positional().size());
        }));
        return new Namespace(state);
    }

    private void assign(Statement.Assign assign, Scope scope) {
        Value value = evaluator.evaluate(assign.value(), scope);
        if (!assign.unpacks()) {
            assign(assign.targets().getFirst(), value, scope);
            return;
        }
        List<Value> parts = unpacked(value, assign.targets().size());
        for (int i = 0; i < parts.size(); i++) {
            assign(assign.targets().get(i), parts.get(i), scope);
        }
    }

    private static void assign(Target target, Value value, Scope scope) {
        String attribute = target.attribute();
        if (attribute == null) {
            scope.set(target.name(), value);
        } else if (scope.get(target.name()) instanceof Namespace namespace) {
            namespace.attributes().put(attribute, value);
        } else {
            throw new TemplateException("expected a namespace() at '" + target.name() + "', found "
                    + Values.kind(scope.get(target.name())));
        }
    }

    private Function macro(String name, List<Parameter> parameters, List<Statement> body, Scope defined) {
        String[] names = parameters.stream().map(Parameter::name).toArray(String[]::new);
        return new Function(name, arguments -> {
            Map<String, Value> named = new HashMap<>(arguments.named());
            @Nullable
            Value caller = named.remove("caller");
            Arguments.Bound given = new Arguments(arguments.positional(), named).bind(name, names);
            Scope inner = new Scope(defined);
            if (caller != null) {
                inner.set("caller", caller);
            }
            budget.enter();
            budget.steps(parameters.size());
            for (Parameter parameter : parameters) {
                Value value = given.values().get(parameter.name());
                Expression byDefault = parameter.byDefault();
                inner.set(parameter.name(), value != null
                        ? value
                        : byDefault == null ? new Undefined(parameter.name()) : evaluator.evaluate(byDefault, inner));
            }
            int calledAt = line;
            StringBuilder text = new StringBuilder();
            run(body, inner, text);
            line = calledAt;
            budget.leave();
            return new Text(text.toString());
        });
    }
}
