package dev.optgptq.gptq.allocate;

import dev.optgptq.calibrate.family.LinearSpec;
import java.util.List;

/**
 * Linears of a block that have one grid.
 *
 * @param options at least one
 */
public record Unit(int block, List<LinearSpec> linears, List<Option> options) {

    public long weights() {
        return linears.stream().mapToLong(linear -> (long) linear.inputs() * linear.outputs()).sum();
    }
}
