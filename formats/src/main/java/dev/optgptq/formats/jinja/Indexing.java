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
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** of.name, of[key] and of[from:to:step]. What is not there is Undefined; only an Undefined has no parts at all. */
record Indexing(Methods methods, Budget budget) {

    Value attribute(Value of, String name) {
        Optional<Function> method = methods.find(of, name);
        if (method.isPresent()) {
            return method.get();
        }
        return switch (of) {
            case Dict dict -> dict.entries().getOrDefault(new Text(name), new Undefined(name));
            case Namespace namespace -> namespace.attributes().getOrDefault(name, new Undefined(name));
            case Undefined undefined -> throw new TemplateException("'" + undefined.name() + "' is undefined");
            case Text _,Int _,Real _,Bool _,None _,Items _,Function _ -> new Undefined(name);
        };
    }

    Value item(Value of, Value key) {
        if (of instanceof Dict dict && Values.isKey(key)) {
            Value found = dict.entries().get(Values.key(key, budget));
            if (found != null) {
                return found;
            }
        }
        if (key instanceof Text name) {
            return attribute(of, name.value());
        }
        if ((of instanceof Items || of instanceof Text) && key instanceof Int index) {
            return element(of, index.value());
        }
        if (of instanceof Undefined undefined) {
            throw new TemplateException("'" + undefined.name() + "' is undefined");
        }
        return new Undefined(Values.kind(key));
    }

    private Value element(Value of, long index) {
        int size = length(of);
        long at = index < 0 ? index + size : index;
        if (at < 0 || at >= size) {
            return new Undefined("element " + index);
        }
        return of instanceof Text text
                ? new Text(Texts.part(text.value(), (int) at, (int) at + 1))
                : Values.elements(of, budget).get((int) at);
    }

    private int length(Value of) {
        int size = Values.length(of, budget);
        budget.characters(of instanceof Text ? size : 0);
        return size;
    }

    /** Bounds and step as Python has them; None stands for an absent one. */
    Value slice(Value of, Value from, Value to, Value step) {
        if (!(of instanceof Items) && !(of instanceof Text)) {
            throw new TemplateException("expected a list or text to slice, found " + Values.kind(of));
        }
        int size = length(of);
        long by = step == None.NONE ? 1 : Math.clamp(Values.requireInt(step, "a slice"), -size - 1L, size + 1L);
        if (by == 0) {
            throw new TemplateException("the step of a slice must not be 0");
        }
        long first = bound(from, by > 0 ? 0 : size - 1, size, by);
        long end = bound(to, by > 0 ? size : -1, size, by);
        if (of instanceof Text text && by == 1) {
            return new Text(Texts.part(text.value(), (int) first, (int) Math.max(first, end)));
        }
        List<Value> elements = Values.elements(of, budget);
        List<Value> taken = new ArrayList<>();
        for (long i = first; by > 0 ? i < end : i > end; i += by) {
            budget.step();
            taken.add(elements.get((int) i));
        }
        if (of instanceof Text) {
            return new Text(taken.stream().map(value -> ((Text) value).value()).collect(Collectors.joining()));
        }
        return new Items(List.copyOf(taken), ((Items) of).isTuple());
    }

    private static long bound(Value given, long absent, int size, long by) {
        if (given == None.NONE) {
            return absent;
        }
        long at = Values.requireInt(given, "a slice");
        long fromStart = at < 0 ? at + size : at;
        return Math.clamp(fromStart, by > 0 ? 0 : -1, by > 0 ? size : size - 1);
    }
}
