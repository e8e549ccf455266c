package dev.optgptq.gptq.settings;

import dev.optgptq.gptq.serving.TargetName;
import dev.optgptq.gptq.serving.Target;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Where the checkpoint is to be served.
 *
 * @param runtime null where nobody said
 * @param ranks of tensor parallelism; 1 for none
 */
public record TargetSettings(@Nullable TargetName runtime, int ranks) {

    /** Anywhere. */
    public static final TargetSettings NONE = new TargetSettings(null, 1);

    /** Its rules. Throws UserError BAD_SETTING for several ranks where it has none. */
    public Optional<Target> rules() {
        return Optional.ofNullable(runtime).map(known -> Target.of(known, ranks));
    }
}
