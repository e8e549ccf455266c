package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Value.Dict;
import dev.optgptq.formats.jinja.Value.Function;
import dev.optgptq.formats.jinja.Value.Int;
import dev.optgptq.formats.jinja.Value.Items;
import dev.optgptq.formats.jinja.Value.Namespace;
import dev.optgptq.formats.jinja.Value.Text;
import java.time.DateTimeException;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The functions that a template can call: Jinja's own, and the two of transformers. */
final class Globals {

    private static final long MOST_RANGE = 100_000;

    /** Python's strftime letters; the others are refused. */
    private static final Map<Character, String> DATE_PARTS = Map.ofEntries(Map.entry('Y', "uuuu"), Map.entry('y', "uu"),
            Map.entry('m', "MM"), Map.entry('d', "dd"), Map.entry('B', "MMMM"), Map.entry('b', "MMM"),
            Map.entry('A', "EEEE"), Map.entry('a', "EEE"), Map.entry('H', "HH"), Map.entry('I', "hh"),
            Map.entry('M', "mm"), Map.entry('S', "ss"), Map.entry('p', "a"), Map.entry('j', "DDD"));

    private Globals() {}

    static Scope scope(LocalDateTime now, Budget budget) {
        Scope globals = new Scope(null);
        List.of(new Function("range", arguments -> range(arguments, budget)),
                new Function("namespace", arguments -> namespace(arguments, budget)),
                new Function("dict", arguments -> dict(arguments, budget)),
                new Function("raise_exception", arguments -> {
                    throw TemplateException.raised(Printed.text(
                            arguments.bind("raise_exception", "message").required("message"), budget));
                }),
                new Function("strftime_now", arguments -> new Text(
                        formatted(arguments.bind("strftime_now", "format").text("format"), now, budget))))
                .forEach(function -> globals.set(function.name(), function));
        return globals;
    }

    private static Value namespace(Arguments arguments, Budget budget) {
        Map<String, Value> attributes = new HashMap<>();
        arguments.positional().forEach(value -> {
            if (value instanceof Dict dict) {
                budget.steps(dict.entries().size());
                dict.entries().forEach((key, of) -> attributes.put(Values.requireText(key, "namespace"), of));
            }
        });
        attributes.putAll(arguments.named());
        return new Namespace(attributes);
    }

    private static Value dict(Arguments arguments, Budget budget) {
        Map<Value, Value> entries = new LinkedHashMap<>();
        arguments.positional().forEach(value -> {
            if (value instanceof Dict dict) {
                budget.steps(dict.entries().size());
                entries.putAll(dict.entries());
            }
        });
        arguments.named().forEach((name, value) -> entries.put(new Text(name), value));
        return new Dict(entries);
    }

    private static Value range(Arguments arguments, Budget budget) {
        Arguments.Bound given = arguments.bind("range", "start", "stop", "step");
        long first = Values.requireInt(given.required("start"), "range");
        boolean one = given.get("stop").isEmpty();
        long from = one ? 0 : first;
        long to = one ? first : given.whole("stop", 0);
        long step = given.whole("step", 1);
        // int: their differences and absolute values are longs
        if (step == 0 || step != (int) step || from != (int) from || to != (int) to
                || Math.abs(to - from) / Math.abs(step) > MOST_RANGE) {
            throw new TemplateException("range: more than " + MOST_RANGE + " numbers, or a step of 0");
        }
        budget.steps(Math.abs(to - from) / Math.abs(step));
        List<Value> numbers = new ArrayList<>();
        for (long i = from; step > 0 ? i < to : i > to; i += step) {
            numbers.add(new Int(i));
        }
        return Items.list(numbers);
    }

    private static String formatted(String format, LocalDateTime now, Budget budget) {
        budget.steps(format.length());
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < format.length(); i++) {
            char c = format.charAt(i);
            if (c != '%' || i + 1 == format.length()) {
                text.append(c);
                continue;
            }
            char letter = format.charAt(++i);
            boolean bare = letter == '-' && i + 1 < format.length();
            String part = DATE_PARTS.get(bare ? format.charAt(++i) : letter);
            if (part == null && letter != '%') {
                throw new TemplateException("strftime_now: the format '%" + letter + "' is not supported");
            }
            String value = part == null ? "%" : date(part, now);
            text.append(bare ? value.replaceFirst("^0+(?=.)", "") : value);
        }
        return text.toString();
    }

    private static String date(String pattern, LocalDateTime now) {
        try {
            return DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH).format(now);
        } catch (DateTimeException e) {
            throw new TemplateException("strftime_now: " + e.getMessage());
        }
    }
}
