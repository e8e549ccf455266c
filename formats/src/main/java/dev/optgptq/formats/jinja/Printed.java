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
import java.math.BigDecimal;
import java.util.Locale;
import java.util.Map;

/** Values as text, as Python's str() and repr() write them. */
final class Printed {

    private Printed() {}

    /** str() */
    static String text(Value value, Budget budget) {
        if (value instanceof Text text) {
            return text.value();
        }
        StringBuilder printed = new StringBuilder();
        write(value, printed, budget);
        return printed.toString();
    }

    private static void write(Value value, StringBuilder out, Budget budget) {
        budget.step();
        budget.enter();
        switch (value) {
            case Text text -> quote(text.value(), out, budget);
            case Int number -> out.append(number.value());
            case Real number -> out.append(real(number.value()));
            case Bool bool -> out.append(bool.value() ? "True" : "False");
            case None _ -> out.append("None");
            case Undefined _ -> out.append("");
            case Items items -> {
                out.append(items.isTuple() ? '(' : '[');
                String separator = "";
                for (Value element : items.values()) {
                    out.append(separator);
                    write(element, out, budget);
                    separator = ", ";
                }
                out.append(items.isTuple() ? items.values().size() == 1 ? ",)" : ")" : "]");
            }
            case Dict dict -> {
                out.append('{');
                String separator = "";
                for (Map.Entry<Value, Value> entry : dict.entries().entrySet()) {
                    out.append(separator);
                    write(entry.getKey(), out, budget);
                    out.append(": ");
                    write(entry.getValue(), out, budget);
                    separator = ", ";
                }
                out.append('}');
            }
            case Namespace _,Function _ -> throw new TemplateException("expected something to print, found "
                    + Values.kind(value));
        }
        budget.leave();
    }

    /** With the quotes that need fewer escapes. */
    private static void quote(String text, StringBuilder out, Budget budget) {
        budget.characters(text.length());
        char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
        out.append(quote);
        text.codePoints().forEach(character -> {
            switch (character) {
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                case '\\' -> out.append("\\\\");
                default -> {
                    if (character == quote) {
                        out.append('\\').append(quote);
                    } else if (character < 0x20 || character == 0x7f) {
                        out.append(String.format(Locale.ROOT, "\\x%02x", character));
                    } else {
                        out.appendCodePoint(character);
                    }
                }
            }
        });
        out.append(quote);
    }

    /** The shortest digits that give the number back, with an exponent below 1e-4 and from 1e16 on. */
    static String real(double value) {
        if (Double.isNaN(value)) {
            return "nan";
        }
        if (Double.isInfinite(value)) {
            return value > 0 ? "inf" : "-inf";
        }
        double size = Math.abs(value);
        if (size != 0 && (size < 1e-4 || size >= 1e16)) {
            String text = Double.toString(value);
            int e = text.indexOf('E');
            int exponent = Integer.parseInt(text.substring(e + 1));
            String digits = text.substring(0, e);
            return (digits.endsWith(".0") ? digits.substring(0, digits.length() - 2) : digits) + "e"
                    + (exponent < 0 ? "-" : "+") + String.format(Locale.ROOT, "%02d", Math.abs(exponent));
        }
        String plain = new BigDecimal(Double.toString(value)).toPlainString();
        return plain.contains(".") ? plain : plain + ".0";
    }
}
