package dev.optgptq.formats.jinja;

import dev.optgptq.formats.jinja.Value.Int;
import dev.optgptq.formats.jinja.Value.Items;
import dev.optgptq.formats.jinja.Value.Real;
import dev.optgptq.formats.jinja.Value.Text;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** + - * / // % ** ~ of Python's values. */
record Arithmetic(Budget budget) {

    Value of(String operator, Value left, Value right) {
        if (operator.equals("~")) {
            return joined(Printed.text(left, budget), Printed.text(right, budget));
        }
        if (operator.equals("+") && left instanceof Text a && right instanceof Text b) {
            return joined(a.value(), b.value());
        }
        if (operator.equals("+") && left instanceof Items a && right instanceof Items b
                && a.isTuple() == b.isTuple()) {
            budget.steps((long) a.values().size() + b.values().size());
            List<Value> all = new ArrayList<>(a.values());
            all.addAll(b.values());
            return new Items(List.copyOf(all), a.isTuple());
        }
        if (operator.equals("*") && (left instanceof Text || left instanceof Items) && right instanceof Int times) {
            return repeated(left, times.value());
        }
        if (!Values.isNumber(left) || !Values.isNumber(right)) {
            throw new TemplateException(
                    "'" + operator + "' of " + Values.kind(left) + " and " + Values.kind(right) + " is not defined");
        }
        try {
            return (left instanceof Real || right instanceof Real || operator.equals("/"))
                    ? new Real(real(operator, Values.real(left), Values.real(right)))
                    : new Int(whole(operator, Values.whole(left), Values.whole(right)));
        } catch (ArithmeticException e) {
            throw new TemplateException("'" + operator + "' of " + Values.real(left) + " and " + Values.real(right)
                    + " divides by zero or is too large");
        }
    }

    Value negated(Value value) {
        return of("-", new Int(0), value);
    }

    private Text joined(String left, String right) {
        budget.characters((long) left.length() + right.length());
        return new Text(left + right);
    }

    private Value repeated(Value value, long times) {
        long count = Math.clamp(times, 0, Integer.MAX_VALUE);
        if (value instanceof Text text) {
            budget.characters(text.value().length() * count);
            return new Text(text.value().repeat((int) count));
        }
        List<Value> once = Values.elements(value, budget);
        budget.steps(once.size() * count);
        return Items.list(Collections.nCopies((int) count, once).stream().flatMap(List::stream).toList());
    }

    private static double real(String operator, double left, double right) {
        if (right == 0 && "/%//".contains(operator)) {
            throw new ArithmeticException();
        }
        return switch (operator) {
            case "+" -> left + right;
            case "-" -> left - right;
            case "*" -> left * right;
            case "/" -> left / right;
            case "//" -> Math.floor(left / right);
            case "%" -> left - right * Math.floor(left / right);
            default -> Math.pow(left, right);
        };
    }

    private static long whole(String operator, long left, long right) {
        return switch (operator) {
            case "+" -> Math.addExact(left, right);
            case "-" -> Math.subtractExact(left, right);
            case "*" -> Math.multiplyExact(left, right);
            case "//" -> Math.floorDiv(left, right);
            case "%" -> Math.floorMod(left, right);
            default -> power(left, right);
        };
    }

    private static long power(long base, long exponent) {
        long power = 1;
        for (long i = 0; i < exponent; i++) {
            power = Math.multiplyExact(power, base);
            if (base >= -1 && base <= 1 && i > 1) {
                return exponent % 2 == 0 ? base * base : base;
            }
        }
        if (exponent < 0) {
            throw new ArithmeticException();
        }
        return power;
    }
}
