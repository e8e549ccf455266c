package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Value.Bool;
import dev.optgptq.formats.jinja.Value.Dict;
import dev.optgptq.formats.jinja.Value.Function;
import dev.optgptq.formats.jinja.Value.Int;
import dev.optgptq.formats.jinja.Value.Items;
import dev.optgptq.formats.jinja.Value.None;
import dev.optgptq.formats.jinja.Value.Text;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.function.IntPredicate;

/** Methods of Python's texts, mappings and lists; none of them changes its object. */
record Methods(Budget budget) {

    private static final Set<String> OF_TEXT = Set.of("strip", "lstrip", "rstrip", "startswith", "endswith", "split",
            "rsplit", "splitlines", "upper", "lower", "title", "capitalize", "replace", "join", "find", "rfind",
            "count",
            "isdigit", "isalpha", "isalnum", "isspace", "isupper", "islower", "removeprefix", "removesuffix",
            "partition", "rpartition");
    private static final Set<String> OF_MAPPING = Set.of("get", "items", "keys", "values");
    private static final Set<String> OF_LIST = Set.of("index", "count");

    Optional<Function> find(Value of, String name) {
        return switch (of) {
            case Text text when OF_TEXT.contains(name) ->
                method(name, arguments -> text(text.value(), name, arguments));
            case Dict dict when OF_MAPPING.contains(name) -> method(name, arguments -> mapping(dict, name, arguments));
            case Items items when OF_LIST.contains(name) -> method(name, arguments -> list(items, name, arguments));
            default -> Optional.empty();
        };
    }

    private static Optional<Function> method(String name, Function.Body body) {
        return Optional.of(new Function(name, body));
    }

    private Value mapping(Dict dict, String name, Arguments arguments) {
        return switch (name) {
            case "get" -> {
                Arguments.Bound given = arguments.bind("get", "key", "default");
                yield dict.entries().getOrDefault(Values.key(given.required("key"), budget),
                        given.get("default").orElse(None.NONE));
            }
            case "keys" -> Items.list(Values.elements(dict, budget));
            case "values" -> {
                budget.steps(dict.entries().size());
                yield Items.list(List.copyOf(dict.entries().values()));
            }
            default -> pairs(dict);
        };
    }

    Items pairs(Dict dict) {
        budget.steps(dict.entries().size());
        return Items.list(dict.entries().entrySet().stream()
                .map(entry -> Items.tuple(entry.getKey(), entry.getValue())).toList());
    }

    private Value list(Items items, String name, Arguments arguments) {
        Value wanted = arguments.bind(name, "value").required("value");
        long count = items.values().stream().filter(value -> Values.equal(value, wanted, budget)).count();
        if (name.equals("count")) {
            return new Int(count);
        }
        for (int i = 0; i < items.values().size(); i++) {
            if (Values.equal(items.values().get(i), wanted, budget)) {
                return new Int(i);
            }
        }
        throw new TemplateException("index: the list does not hold the value");
    }

    private Value text(String of, String name, Arguments arguments) {
        budget.characters(of.length());
        return switch (name) {
            case "strip", "lstrip", "rstrip" -> new Text(stripped(of, name, arguments));
            case "startswith", "endswith" -> new Bool(affix(of, name, arguments));
            case "removeprefix", "removesuffix" -> new Text(without(of, name, arguments));
            case "split", "rsplit" -> texts(split(of, name, arguments));
            case "splitlines" -> texts(of.lines().peek(_ -> budget.step()).toList());
            case "partition", "rpartition" -> partition(of, name, arguments);
            case "upper" -> new Text(of.toUpperCase(Locale.ROOT));
            case "lower" -> new Text(of.toLowerCase(Locale.ROOT));
            case "title" -> new Text(Texts.title(of));
            case "capitalize" -> new Text(Texts.capitalize(of));
            case "replace" -> replaced(of, arguments.bind(name, "old", "new", "count"));
            case "join" -> joined(of, Values.elements(arguments.bind(name, "parts").required("parts"), budget));
            case "find", "rfind" -> found(of, name, arguments);
            case "count" -> new Int(Texts.split(of, arguments.bind(name, "part").text("part"), -1, budget).size() - 1);
            case "isupper" ->
                new Bool(of.equals(of.toUpperCase(Locale.ROOT)) && of.chars().anyMatch(Character::isLetter));
            case "islower" ->
                new Bool(of.equals(of.toLowerCase(Locale.ROOT)) && of.chars().anyMatch(Character::isLetter));
            case "isdigit" -> new Bool(Texts.isAll(of, Character::isDigit));
            case "isalpha" -> new Bool(Texts.isAll(of, Character::isLetter));
            case "isalnum" -> new Bool(Texts.isAll(of, Character::isLetterOrDigit));
            default -> new Bool(Texts.isAll(of, Texts::isSpace));
        };
    }

    private String stripped(String of, String name, Arguments arguments) {
        IntPredicate removed = strippable(of, name, arguments);
        String left = name.equals("rstrip") ? of : Texts.stripLeft(of, removed);
        return name.equals("lstrip") ? left : Texts.stripRight(left, removed);
    }

    /** White space, or the characters of an argument. */
    IntPredicate strippable(String of, String name, Arguments arguments) {
        Optional<String> characters = arguments.bind(name, "chars").optionalText("chars");
        budget.search(of, characters.orElse(""));
        return characters.map(Texts::anyOf).orElse(Texts::isSpace);
    }

    /** One or one of several. */
    private boolean affix(String of, String name, Arguments arguments) {
        Value wanted = arguments.bind(name, "affix").required("affix");
        List<Value> all = wanted instanceof Items several ? several.values() : List.of(wanted);
        return all.stream().map(value -> Values.requireText(value, name)).peek(affix -> budget.read(affix))
                .anyMatch(affix -> name.equals("startswith") ? of.startsWith(affix) : of.endsWith(affix));
    }

    private static String without(String of, String name, Arguments arguments) {
        String affix = arguments.bind(name, "affix").text("affix");
        if (name.equals("removeprefix")) {
            return of.startsWith(affix) ? of.substring(affix.length()) : of;
        }
        return of.endsWith(affix) ? of.substring(0, of.length() - affix.length()) : of;
    }

    private List<String> split(String of, String name, Arguments arguments) {
        Arguments.Bound given = arguments.bind(name, "sep", "maxsplit");
        long most = given.whole("maxsplit", -1);
        Optional<String> separator = given.optionalText("sep");
        if (separator.isEmpty()) {
            if (most >= 0 && name.equals("rsplit")) {
                throw new TemplateException("rsplit at white space with a number is not supported");
            }
            return Texts.words(of, most, budget);
        }
        return name.equals("split")
                ? Texts.split(of, separator.get(), most, budget)
                : Texts.splitRight(of, separator.get(), most, budget);
    }

    private Value partition(String of, String name, Arguments arguments) {
        String separator = arguments.bind(name, "sep").text("sep");
        budget.search(of, separator);
        boolean first = name.equals("partition");
        int at = first ? of.indexOf(separator) : of.lastIndexOf(separator);
        if (at < 0) {
            return first
                    ? Items.tuple(new Text(of), new Text(""), new Text(""))
                    : Items.tuple(new Text(""), new Text(""), new Text(of));
        }
        return Items.tuple(new Text(of.substring(0, at)), new Text(separator),
                new Text(of.substring(at + separator.length())));
    }

    Value replaced(String of, Arguments.Bound given) {
        long most = given.whole("count", -1);
        String old = given.text("old");
        String replacement = given.text("new");
        if (old.isEmpty()) {
            throw new TemplateException("replace needs a text to replace");
        }
        List<String> parts = Texts.split(of, old, most, budget);
        budget.characters(of.length() + (parts.size() - 1L) * replacement.length());
        return new Text(String.join(replacement, parts));
    }

    Text joined(String separator, List<Value> parts) {
        List<String> texts = parts.stream().map(part -> Printed.text(part, budget)).toList();
        budget.characters(texts.stream().mapToLong(text -> (long) text.length() + separator.length()).sum());
        return new Text(String.join(separator, texts));
    }

    private Value found(String of, String name, Arguments arguments) {
        String part = arguments.bind(name, "part").text("part");
        budget.search(of, part);
        int at = name.equals("find") ? of.indexOf(part) : of.lastIndexOf(part);
        return new Int(at < 0 ? -1 : of.codePointCount(0, at));
    }

    private static Items texts(List<String> parts) {
        return Items.list(parts.stream().map(Text::new).toList());
    }
}
