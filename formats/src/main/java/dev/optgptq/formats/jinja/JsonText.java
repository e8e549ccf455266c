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
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * JSON as Python's json.dumps writes it, which is what transformers puts in the place of Jinja's own tojson.
 *
 * @param indent spaces of a level; negative for one line
 */
record JsonText(int indent, String itemSeparator, String keySeparator, boolean ascii, boolean sorted, Budget budget,
        StringBuilder out) {

    static String of(Value value, Arguments arguments, Budget budget) {
        Arguments.Bound given = arguments.bind("tojson", "indent", "ensure_ascii", "separators", "sort_keys");
        int indent = (int) Math.min(64, given.whole("indent", -1));
        List<Value> separators = given.get("separators").map(both -> Values.elements(both, budget)).orElse(
                List.of(new Text(indent < 0 ? ", " : ","), new Text(": ")));
        if (separators.size() != 2) {
            throw new TemplateException("tojson: expected two separators, found " + separators.size());
        }
        JsonText json = new JsonText(indent, Values.requireText(separators.get(0), "tojson"),
                Values.requireText(separators.get(1), "tojson"), given.truth("ensure_ascii", false),
                given.truth("sort_keys", false), budget, new StringBuilder());
        json.write(value, 1);
        return json.out.toString();
    }

    private void write(Value value, int level) {
        budget.step();
        budget.enter();
        switch (value) {
            case Text text -> quote(text.value());
            case Int number -> out.append(number.value());
            case Real number -> out.append(Printed.real(number.value()));
            case Bool bool -> out.append(bool.value());
            case None _ -> out.append("null");
            case Items items -> writeAll('[', items.values().stream().map(this::element).toList(), ']', level);
            case Dict dict -> writeAll('{', entries(dict).stream().map(this::entry).toList(), '}', level);
            case Undefined _,Namespace _,Function _ -> throw new TemplateException(
                    "tojson: expected a value, found " + Values.kind(value));
        }
        budget.leave();
    }

    /** Writes a part of a list or mapping, at that level. */
    @FunctionalInterface
    private interface Part {
        void write(int level);
    }

    private Part element(Value value) {
        return level -> write(value, level);
    }

    private Part entry(Map.Entry<Value, Value> entry) {
        return level -> {
            Value key = entry.getKey();
            if (key instanceof Text text) {
                quote(text.value());
            } else {
                out.append('"');
                write(key, level);
                out.append('"');
            }
            separate(keySeparator);
            write(entry.getValue(), level);
        };
    }

    private List<Map.Entry<Value, Value>> entries(Dict dict) {
        return dict.entries().entrySet().stream()
                .sorted(sorted
                        ? Map.Entry.comparingByKey((a, b) -> Values.compare(a, b, budget))
                        : Comparator.comparingInt(_ -> 0))
                .toList();
    }

    private void writeAll(char open, List<Part> parts, char close, int level) {
        out.append(open);
        for (int i = 0; i < parts.size(); i++) {
            separate(i == 0 ? "" : itemSeparator);
            newline(level);
            parts.get(i).write(level + 1);
        }
        if (!parts.isEmpty()) {
            newline(level - 1);
        }
        out.append(close);
    }

    private void separate(String separator) {
        budget.characters(separator.length());
        out.append(separator);
    }

    private void newline(int level) {
        if (indent >= 0) {
            budget.characters((long) indent * level);
            out.append('\n').append(" ".repeat(indent * level));
        }
    }

    private void quote(String text) {
        budget.characters(text.length());
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '"' -> out.append("\\\"");
                case '\\' -> out.append("\\\\");
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                case '\b' -> out.append("\\b");
                case '\f' -> out.append("\\f");
                default -> {
                    if (c < 0x20 || (ascii && c > 0x7e)) {
                        out.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
                    } else {
                        out.append(c);
                    }
                }
            }
        }
        out.append('"');
    }
}
