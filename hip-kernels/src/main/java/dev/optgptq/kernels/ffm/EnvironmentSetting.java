package dev.optgptq.kernels.ffm;

import java.util.Locale;
import java.util.Optional;

/**
 * A setting of the machine: the system property opt-gptq.NAME, or the environment variable OPT_GPTQ_NAME
 * with underscores.
 *
 * @param name such as hip.lib
 */
public record EnvironmentSetting(String name) {

    /** The system property. */
    public String property() {
        return "opt-gptq." + name;
    }

    /** The environment variable, which counts when the property is not set. */
    public String variable() {
        return "OPT_GPTQ_" + name.toUpperCase(Locale.ROOT).replace('.', '_');
    }

    public Optional<String> value() {
        String set = System.getProperty(property());
        return Optional.ofNullable(set != null ? set : System.getenv(variable())).filter(text -> !text.isBlank());
    }
}
