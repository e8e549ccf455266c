package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Value.Bool;
import dev.optgptq.formats.jinja.Value.Dict;
import dev.optgptq.formats.jinja.Value.Function;
import dev.optgptq.formats.jinja.Value.Int;
import dev.optgptq.formats.jinja.Value.Items;
import dev.optgptq.formats.jinja.Value.None;
import dev.optgptq.formats.jinja.Value.Real;
import dev.optgptq.formats.jinja.Value.Text;
import dev.optgptq.formats.jinja.Value.Undefined;
import java.util.Locale;

/** Jinja's tests: value is name(argument). */
final class Tests {

    private Tests() {}

    static boolean test(String name, Value value, Arguments arguments, Budget budget) {
        return switch (name) {
            case "defined" -> !(value instanceof Undefined);
            case "undefined" -> value instanceof Undefined;
            case "none" -> value == None.NONE;
            case "string" -> value instanceof Text;
            case "mapping" -> value instanceof Dict;
            case "number" -> Values.isNumber(value);
            case "integer" -> value instanceof Int;
            case "float" -> value instanceof Real;
            case "boolean" -> value instanceof Bool;
            case "true" -> value.equals(new Bool(true));
            case "false" -> value.equals(new Bool(false));
            case "callable" -> value instanceof Function;
            case "sequence" -> value instanceof Items || value instanceof Text || value instanceof Dict;
            case "iterable" -> value instanceof Items || value instanceof Text || value instanceof Dict
                    || value instanceof Undefined;
            case "odd" -> Math.floorMod(Values.requireInt(value, name), 2) == 1;
            case "even" -> Math.floorMod(Values.requireInt(value, name), 2) == 0;
            case "lower" -> {
                String text = text(value, name, budget);
                yield text.equals(text.toLowerCase(Locale.ROOT));
            }
            case "upper" -> {
                String text = text(value, name, budget);
                yield text.equals(text.toUpperCase(Locale.ROOT));
            }
            default -> against(name, value, arguments, budget);
        };
    }

    private static String text(Value value, String name, Budget budget) {
        String text = Values.requireText(value, name);
        budget.characters(text.length());
        return text;
    }

    private static boolean against(String name, Value value, Arguments arguments, Budget budget) {
        return switch (name) {
            case "equalto", "eq", "==" -> Values.equal(value, other(name, arguments), budget);
            case "ne", "!=" -> !Values.equal(value, other(name, arguments), budget);
            case "lt", "lessthan", "<" -> Values.compare(value, other(name, arguments), budget) < 0;
            case "le", "<=" -> Values.compare(value, other(name, arguments), budget) <= 0;
            case "gt", "greaterthan", ">" -> Values.compare(value, other(name, arguments), budget) > 0;
            case "ge", ">=" -> Values.compare(value, other(name, arguments), budget) >= 0;
            case "in" -> Values.contains(other(name, arguments), value, budget);
            case "sameas" -> isSame(value, other(name, arguments), budget);
            case "divisibleby" -> {
                long divisor = Values.requireInt(other(name, arguments), name);
                yield divisor != 0 && Values.requireInt(value, name) % divisor == 0;
            }
            default -> throw new TemplateException("found the unknown test '" + name + "'");
        };
    }

    /** True is 1, but not the same. */
    private static boolean isSame(Value value, Value other, Budget budget) {
        return value instanceof Bool == other instanceof Bool && Values.equal(value, other, budget);
    }

    private static Value other(String name, Arguments arguments) {
        return arguments.bind(name, "other").required("other");
    }
}
