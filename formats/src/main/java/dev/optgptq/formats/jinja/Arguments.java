package dev.optgptq.formats.jinja;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Values of a call's arguments. */
record Arguments(List<Value> positional, Map<String, Value> named) {

    static final Arguments NONE = new Arguments(List.of(), Map.of());

    /** Arguments by the names of a function's parameters. TemplateException for one that it does not have. */
    Bound bind(String function, String... parameters) {
        if (positional.size() > parameters.length) {
            throw new TemplateException(function + " takes at most " + parameters.length + " arguments, found "
                    + positional.size());
        }
        Map<String, Value> bound = new HashMap<>();
        for (int i = 0; i < positional.size(); i++) {
            bound.put(parameters[i], positional.get(i));
        }
        named.forEach((name, value) -> {
            if (!List.of(parameters).contains(name) || bound.put(name, value) != null) {
                throw new TemplateException(function + " has no argument '" + name + "', or has it twice");
            }
        });
        return new Bound(function, bound);
    }

    /** Without the first. */
    Arguments rest() {
        return new Arguments(positional.subList(1, positional.size()), named);
    }

    record Bound(String function, Map<String, Value> values) {

        Optional<Value> get(String parameter) {
            return Optional.ofNullable(values.get(parameter)).filter(value -> value != Value.None.NONE);
        }

        Value required(String parameter) {
            Value value = values.get(parameter);
            if (value == null) {
                throw new TemplateException(function + " needs an argument '" + parameter + "'");
            }
            return value;
        }

        String text(String parameter) {
            return Values.requireText(required(parameter), function);
        }

        Optional<String> optionalText(String parameter) {
            return get(parameter).map(value -> Values.requireText(value, function));
        }

        long whole(String parameter, long otherwise) {
            return get(parameter).map(value -> Values.requireInt(value, function)).orElse(otherwise);
        }

        boolean truth(String parameter, boolean otherwise) {
            return get(parameter).map(Values::isTrue).orElse(otherwise);
        }
    }
}
