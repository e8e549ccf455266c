package dev.optgptq.gptq.verify;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What was found out about a checkpoint.
 *
 * @param model its directory
 * @param against the original model's; null where it was not compared
 * @param passed whether all checks did
 */
public record Verification(String model, @Nullable String against, boolean passed, List<Check> checks) {

    /**
     * @param name "files", "tensors", "scales", "weights", "forward pass"
     * @param detail what was measured, or what is wrong and what to do
     */
    public record Check(String name, boolean passed, String detail) {}

    static Verification of(String model, @Nullable String against, List<Check> checks) {
        return new Verification(model, against, checks.stream().allMatch(Check::passed), List.copyOf(checks));
    }
}
