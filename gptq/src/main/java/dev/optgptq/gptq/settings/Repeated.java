package dev.optgptq.gptq.settings;

import java.util.List;

/** The values of an option that may be given several times, in that order. */
public record Repeated(List<String> values) {

    /** Not given. */
    static final Repeated NONE = new Repeated(List.of());

    public Repeated {
        values = List.copyOf(values);
    }

    /** As the report shows them. */
    @Override
    public String toString() {
        return String.join(" ", values);
    }
}
