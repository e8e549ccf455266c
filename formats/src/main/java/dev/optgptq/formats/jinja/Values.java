package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Value.Bool;
import dev.optgptq.formats.jinja.Value.Dict;
import dev.optgptq.formats.jinja.Value.Function;
import dev.optgptq.formats.jinja.Value.Int;
import dev.optgptq.formats.jinja.Value.Items;
import dev.optgptq.formats.jinja.Value.Namespace;
import dev.optgptq.formats.jinja.Value.None;
import dev.optgptq.formats.jinja.Value.Real;
import dev.optgptq.formats.jinja.Value.Text;
import dev.optgptq.formats.jinja.Value.Undefined;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/** Truth, equality and order of values, as Python defines them. Nested values can be deep, and hold one value many times. */
final class Values {

    private Values() {}

    static Value of(JsonNode json) {
        return switch (json.getNodeType()) {
            case STRING -> new Text(json.stringValue());
            case BOOLEAN -> new Bool(json.booleanValue());
            case NUMBER -> json.isIntegralNumber() && json.canConvertToLong()
                    ? new Int(json.longValue())
                    : new Real(json.doubleValue());
            case ARRAY -> {
                List<Value> values = new ArrayList<>();
                json.forEach(element -> values.add(of(element)));
                yield Items.list(values);
            }
            case OBJECT -> {
                Map<Value, Value> entries = new LinkedHashMap<>();
                json.properties().forEach(entry -> entries.put(new Text(entry.getKey()), of(entry.getValue())));
                yield new Dict(entries);
            }
            case NULL, MISSING, BINARY, POJO -> None.NONE;
        };
    }

    static boolean isTrue(Value value) {
        return switch (value) {
            case Text text -> !text.value().isEmpty();
            case Int number -> number.value() != 0;
            case Real number -> number.value() != 0;
            case Bool bool -> bool.value();
            case None _,Undefined _ -> false;
            case Items items -> !items.values().isEmpty();
            case Dict dict -> !dict.entries().isEmpty();
            case Namespace _,Function _ -> true;
        };
    }

    static boolean equal(Value left, Value right, Budget budget) {
        budget.step();
        if (isNumber(left) && isNumber(right)) {
            return (left instanceof Real || right instanceof Real)
                    ? real(left) == real(right)
                    : whole(left) == whole(right);
        }
        if (left instanceof Text a && right instanceof Text b) {
            budget.read(a.value());
            return a.equals(b);
        }
        if (left instanceof Items a && right instanceof Items b) {
            return a.isTuple() == b.isTuple() && a.values().size() == b.values().size()
                    && allEqual(a.values(), b.values(), budget);
        }
        if (left instanceof Dict a && right instanceof Dict b) {
            budget.steps(a.entries().size());
            return a.entries().size() == b.entries().size()
                    && a.entries().keySet().stream().allMatch(key -> b.entries().containsKey(key(key, budget)))
                    && allEqual(a.entries().values(), a.entries().keySet().stream().map(b.entries()::get).toList(),
                            budget);
        }
        return left instanceof Undefined ? right instanceof Undefined : left.equals(right);
    }

    private static boolean allEqual(Collection<Value> left, List<Value> right, Budget budget) {
        budget.enter();
        Iterator<Value> others = right.iterator();
        boolean equal = left.stream().allMatch(value -> equal(value, others.next(), budget));
        budget.leave();
        return equal;
    }

    /** Numbers, texts and sequences have an order. */
    static int compare(Value left, Value right, Budget budget) {
        budget.step();
        if (isNumber(left) && isNumber(right)) {
            return (left instanceof Real || right instanceof Real)
                    ? Double.compare(real(left), real(right))
                    : Long.compare(whole(left), whole(right));
        }
        if (left instanceof Text a && right instanceof Text b) {
            budget.read(a.value());
            return a.value().compareTo(b.value());
        }
        if (left instanceof Items a && right instanceof Items b) {
            budget.enter();
            int order = 0;
            for (int i = 0; order == 0 && i < Math.min(a.values().size(), b.values().size()); i++) {
                order = compare(a.values().get(i), b.values().get(i), budget);
            }
            budget.leave();
            return order != 0 ? order : Integer.compare(a.values().size(), b.values().size());
        }
        throw new TemplateException(kind(left) + " cannot be compared with " + kind(right));
    }

    /** What a loop goes over: elements, keys, or characters. */
    static List<Value> elements(Value value, Budget budget) {
        budget.steps(value instanceof Items ? 0 : length(value, budget));
        return switch (value) {
            case Items items -> items.values();
            case Dict dict -> List.copyOf(dict.entries().keySet());
            case Text text -> Texts.characters(text.value());
            case Undefined _ -> List.of();
            case Int _,Real _,Bool _,None _,Namespace _,Function _ -> throw noList(value);
        };
    }

    static boolean contains(Value collection, Value element, Budget budget) {
        return switch (collection) {
            case Text text -> {
                String part = requireText(element, "in");
                budget.search(text.value(), part);
                yield text.value().contains(part);
            }
            case Dict dict -> dict.entries().containsKey(key(element, budget));
            case Items items -> items.values().stream().anyMatch(value -> equal(value, element, budget));
            case Undefined _ -> false;
            case Int _,Real _,Bool _,None _,Namespace _,Function _ -> throw new TemplateException(
                    "expected a list or text after 'in', found " + kind(collection));
        };
    }

    static int length(Value value, Budget budget) {
        return switch (value) {
            case Text text -> {
                budget.read(text.value());
                yield Texts.length(text.value());
            }
            case Items items -> items.values().size();
            case Dict dict -> dict.entries().size();
            case Undefined _ -> 0;
            case Int _,Real _,Bool _,None _,Namespace _,Function _ -> throw noList(value);
        };
    }

    private static TemplateException noList(Value value) {
        return new TemplateException("expected a list, found " + kind(value));
    }

    /** A key of a mapping: nothing that has parts, as in Python, where these have no hash. */
    static Value key(Value value, Budget budget) {
        if (!isKey(value)) {
            throw new TemplateException("expected a key of a mapping, found " + kind(value));
        }
        if (value instanceof Text text) {
            budget.read(text.value());
        }
        return value;
    }

    static boolean isKey(Value value) {
        return !(value instanceof Items) && !(value instanceof Dict);
    }

    static String requireText(Value value, String where) {
        if (value instanceof Text text) {
            return text.value();
        }
        throw new TemplateException(where + ": expected text, found " + kind(value));
    }

    static long requireInt(Value value, String where) {
        if (value instanceof Int || value instanceof Bool) {
            return whole(value);
        }
        throw new TemplateException(where + ": expected a whole number, found " + kind(value));
    }

    static boolean isNumber(Value value) {
        return value instanceof Int || value instanceof Real || value instanceof Bool;
    }

    static long whole(Value number) {
        return switch (number) {
            case Int whole -> whole.value();
            case Bool bool -> bool.value() ? 1 : 0;
            case Real real -> (long) real.value();
            case Text _,None _,Undefined _,Items _,Dict _,Namespace _,Function _ -> throw new TemplateException(
                    "expected a number, found " + kind(number));
        };
    }

    static double real(Value number) {
        return number instanceof Real real ? real.value() : whole(number);
    }

    /** For messages. */
    static String kind(Value value) {
        return switch (value) {
            case Text _ -> "text";
            case Int _ -> "a whole number";
            case Real _ -> "a number";
            case Bool _ -> "a boolean";
            case None _ -> "none";
            case Undefined undefined -> "'" + undefined.name() + "', which is undefined";
            case Items _ -> "a list";
            case Dict _ -> "a mapping";
            case Namespace _ -> "a namespace";
            case Function function -> "the function '" + function.name() + "'";
        };
    }
}
