package dev.optgptq.formats.jinja;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A value of a template. Nothing can be changed but a Namespace. */
sealed interface Value {

    record Text(String value) implements Value {}

    record Int(long value) implements Value {}

    record Real(double value) implements Value {}

    record Bool(boolean value) implements Value {}

    enum None implements Value {
        NONE
    }

    /**
     * What does not exist: prints nothing and is false, but has no attributes.
     *
     * @param name what was looked for
     */
    record Undefined(String name) implements Value {}

    /** @param isTuple written in parentheses; as good as a list in everything else */
    record Items(List<Value> values, boolean isTuple) implements Value {

        static Items list(List<? extends Value> values) {
            return new Items(List.copyOf(values), false);
        }

        static Items tuple(Value... values) {
            return new Items(List.of(values), true);
        }
    }

    /** Keys in the order of insertion; see Values.key. */
    record Dict(Map<Value, Value> entries) implements Value {}

    /** What namespace() makes: the only thing that a loop can change for what follows it. */
    record Namespace(Map<String, Value> attributes) implements Value {

        /** By identity: it can hold itself. */
        @Override
        public boolean equals(@Nullable Object other) {
            return this == other;
        }

        @Override
        public int hashCode() {
            return System.identityHashCode(this);
        }
    }

    /** A macro, a global function or a method. */
    record Function(String name, Body body) implements Value {

        /** What a call computes. */
        @FunctionalInterface
        interface Body {
            Value call(Arguments arguments);
        }
    }
}
