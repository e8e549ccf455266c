package dev.optgptq.gptq.settings;

import dev.optgptq.calibrate.gradient.Labels;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.calibrate.gradient.SampledLabels;
import java.util.Locale;

/** Labels of the loss whose gradient weighs tokens. */
public enum Fisher {
    /** The next token of the text. */
    EMPIRICAL,
    /** A token drawn from the model's own predictions. */
    SAMPLED;

    /** As the command line writes it. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }

    static Fisher of(Labels labels) {
        return switch (labels) {
            case NextToken next -> EMPIRICAL;
            case SampledLabels sampled -> SAMPLED;
        };
    }

    Labels labels(long seed) {
        return switch (this) {
            case EMPIRICAL -> new NextToken();
            case SAMPLED -> new SampledLabels(seed);
        };
    }
}
