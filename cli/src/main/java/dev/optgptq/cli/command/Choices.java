package dev.optgptq.cli.command;

import java.util.Locale;

/** Enums as options write them: in lower case. */
final class Choices {

    private Choices() {}

    static String label(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }
}
