package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Value.Dict;
import dev.optgptq.formats.jinja.Value.Int;
import dev.optgptq.formats.jinja.Value.Items;
import dev.optgptq.formats.jinja.Value.Real;
import dev.optgptq.formats.jinja.Value.Text;
import dev.optgptq.formats.jinja.Value.Undefined;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.IntPredicate;

/** Jinja's filters: value | name(arguments). */
record Filters(Methods methods, Indexing indexing, Budget budget) {

    Value apply(String name, Value value, Arguments arguments) {
        budget.step();
        return switch (name) {
            case "length", "count" -> new Int(Values.length(value, budget));
            case "tojson" -> new Text(JsonText.of(value, arguments, budget));
            case "default", "d" -> byDefault(value, arguments.bind(name, "default_value", "boolean"));
            case "string" -> new Text(Printed.text(value, budget));
            case "safe" -> value;
            case "int" -> whole(counted(value), arguments.bind(name, "default", "base"));
            case "float" -> real(counted(value), arguments.bind(name, "default"));
            case "abs" -> Values.compare(value, new Int(0), budget) < 0 ? new Arithmetic(budget).negated(value) : value;
            case "items" ->
                value instanceof Dict dict ? methods.pairs(dict) : Items.list(Values.elements(value, budget));
            case "dictsort" -> Items.list(methods.pairs(requireDict(value, name)).values().stream()
                    .sorted(this::compare).toList());
            case "trim", "upper", "lower", "title", "capitalize", "replace", "escape", "e", "indent" -> text(name,
                    Printed.text(value, budget), arguments);
            default -> list(name, value, arguments);
        };
    }

    private Value text(String name, String text, Arguments arguments) {
        budget.characters(text.length());
        return switch (name) {
            case "trim" -> {
                IntPredicate removed = methods.strippable(text, name, arguments);
                yield new Text(Texts.stripRight(Texts.stripLeft(text, removed), removed));
            }
            case "upper" -> new Text(text.toUpperCase(Locale.ROOT));
            case "lower" -> new Text(text.toLowerCase(Locale.ROOT));
            case "title" -> new Text(Texts.title(text));
            case "capitalize" -> new Text(Texts.capitalize(text));
            case "replace" -> methods.replaced(text, arguments.bind(name, "old", "new", "count"));
            case "indent" -> indented(text, arguments.bind(name, "width", "first", "blank"));
            default -> {
                budget.characters(5L * text.length());
                yield new Text(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
                        .replace("'", "&#39;").replace("\"", "&#34;"));
            }
        };
    }

    private Value list(String name, Value value, Arguments arguments) {
        if (name.equals("first") || name.equals("last")) {
            List<Value> elements = Values.elements(value, budget);
            return elements.isEmpty()
                    ? new Undefined(name + " of nothing")
                    : name.equals("first") ? elements.getFirst() : elements.getLast();
        }
        List<Value> elements = Values.elements(value, budget);
        budget.steps(elements.size());
        return switch (name) {
            case "list" -> Items.list(elements);
            case "join" -> joined(elements, arguments.bind(name, "d", "attribute"));
            case "reverse" -> value instanceof Text text
                    ? new Text(new StringBuilder(text.value()).reverse().toString())
                    : Items.list(elements.reversed());
            case "select", "reject", "selectattr", "rejectattr" -> selected(name, elements, arguments);
            case "map" -> mapped(elements, arguments);
            case "sort" -> sorted(elements, arguments.bind(name, "reverse", "case_sensitive", "attribute"));
            case "unique" -> unique(elements);
            case "sum" -> elements.stream().reduce(new Int(0), (a, b) -> new Arithmetic(budget).of("+", a, b));
            case "min" -> elements.stream().min(this::compare).orElse(new Undefined("min of nothing"));
            case "max" -> elements.stream().max(this::compare).orElse(new Undefined("max of nothing"));
            default -> throw new TemplateException("found the unknown filter '" + name + "'");
        };
    }

    /** What is read as a number. */
    private Value counted(Value value) {
        budget.characters(value instanceof Text text ? text.value().length() : 0);
        return value;
    }

    private static Value byDefault(Value value, Arguments.Bound given) {
        boolean absent = value instanceof Undefined || (given.truth("boolean", false) && !Values.isTrue(value));
        return absent ? given.values().getOrDefault("default_value", new Text("")) : value;
    }

    private static Value whole(Value value, Arguments.Bound given) {
        try {
            return value instanceof Text text
                    ? new Int((long) Double.parseDouble(text.value().strip()))
                    : Values.isNumber(value) ? new Int(Values.whole(value)) : given.get("default").orElse(new Int(0));
        } catch (NumberFormatException e) {
            return given.get("default").orElse(new Int(0));
        }
    }

    private static Value real(Value value, Arguments.Bound given) {
        try {
            return value instanceof Text text
                    ? new Real(Double.parseDouble(text.value().strip()))
                    : Values.isNumber(value) ? new Real(Values.real(value)) : given.get("default").orElse(new Real(0));
        } catch (NumberFormatException e) {
            return given.get("default").orElse(new Real(0));
        }
    }

    private static Dict requireDict(Value value, String where) {
        if (value instanceof Dict dict) {
            return dict;
        }
        throw new TemplateException(where + ": expected a mapping, found " + Values.kind(value));
    }

    private Value indented(String text, Arguments.Bound given) {
        boolean blank = given.truth("blank", false);
        String pad = given.get("width").map(width -> width instanceof Text own
                ? own.value()
                : " ".repeat(Math.clamp(Values.requireInt(width, "indent"), 0, 1000))).orElse("    ");
        List<String> lines = Texts.split(text, "\n", -1, budget);
        budget.characters(text.length() + (long) pad.length() * lines.size());
        StringBuilder indented = new StringBuilder();
        for (int i = 0; i < lines.size(); i++) {
            boolean padded = i == 0 ? given.truth("first", false) : blank || !lines.get(i).isBlank();
            indented.append(i == 0 ? "" : "\n").append(padded ? pad : "").append(lines.get(i));
        }
        return new Text(indented.toString());
    }

    private Value joined(List<Value> elements, Arguments.Bound given) {
        Optional<Value> attribute = given.get("attribute");
        return methods.joined(given.optionalText("d").orElse(""), attribute.isEmpty()
                ? elements
                : elements.stream().map(element -> indexing.item(element, attribute.get())).toList());
    }

    private Value selected(String name, List<Value> elements, Arguments arguments) {
        boolean byAttribute = name.endsWith("attr");
        if (byAttribute && arguments.positional().isEmpty()) {
            throw new TemplateException(name + " needs the name of an attribute");
        }
        Arguments test = byAttribute ? arguments.rest() : arguments;
        boolean kept = name.startsWith("select");
        List<Value> selected = new ArrayList<>();
        for (Value element : elements) {
            Value tested = byAttribute ? indexing.item(element, arguments.positional().getFirst()) : element;
            boolean holds = test.positional().isEmpty()
                    ? Values.isTrue(tested)
                    : Tests.test(Values.requireText(test.positional().getFirst(), name), tested, test.rest(), budget);
            if (holds == kept) {
                selected.add(element);
            }
        }
        return Items.list(selected);
    }

    /** By attribute, with a default for elements that lack it; or through a filter. */
    private Value mapped(List<Value> elements, Arguments arguments) {
        Value attribute = arguments.named().get("attribute");
        if (attribute == null) {
            String filter = Values.requireText(arguments.bind("map", "filter", "a", "b").required("filter"), "map");
            return Items.list(elements.stream().map(element -> apply(filter, element, arguments.rest())).toList());
        }
        Arguments.Bound given = arguments.bind("map", "attribute", "default");
        return Items.list(elements.stream().map(element -> indexing.item(element, attribute))
                .map(found -> found instanceof Undefined ? given.get("default").orElse(found) : found).toList());
    }

    private Value sorted(List<Value> elements, Arguments.Bound given) {
        boolean exact = given.truth("case_sensitive", false);
        Optional<Value> attribute = given.get("attribute");
        Comparator<Value> order = Comparator.comparing(element -> {
            Value key = attribute.isEmpty() ? element : indexing.item(element, attribute.get());
            return key instanceof Text text && !exact ? new Text(text.value().toLowerCase(Locale.ROOT)) : key;
        }, this::compare);
        return Items.list(elements.stream().sorted(given.truth("reverse", false) ? order.reversed() : order).toList());
    }

    private Value unique(List<Value> elements) {
        List<Value> unique = new ArrayList<>();
        for (Value element : elements) {
            if (unique.stream().noneMatch(other -> Values.equal(other, element, budget))) {
                unique.add(element);
            }
        }
        return Items.list(unique);
    }

    private int compare(Value left, Value right) {
        return Values.compare(left, right, budget);
    }
}
