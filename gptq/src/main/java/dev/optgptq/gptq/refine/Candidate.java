package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.kernels.TensorArena;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A candidate solution of a block.
 *
 * @param weights its dequantized weights
 * @param linears the codes of the linears, but for parked ones
 * @param experts those of experts that are parked; null without
 * @param arena owns weights and linears
 */
record Candidate(BlockWeights weights, List<SolvedLinear> linears, @Nullable ParkedLinears experts, TensorArena arena)
        implements
            AutoCloseable {

    Candidate(BlockWeights weights, List<SolvedLinear> linears, TensorArena arena) {
        this(weights, linears, null, arena);
    }

    /** Lends all linears in forward order; the integers of parked ones are on the device during their call only. */
    void each(Consumer<SolvedLinear> use) {
        Map<LinearSpec, SolvedLinear> here = linears.stream()
                .collect(Collectors.toMap(SolvedLinear::linear, Function.identity()));
        for (LinearSpec linear : weights.linears()) {
            SolvedLinear solved = here.get(linear);
            if (solved != null) {
                use.accept(solved);
            } else if (experts != null && experts.has(linear)) {
                experts.lend(linear, use);
            }
        }
    }

    @Override
    public void close() {
        arena.close();
        if (experts != null) {
            experts.close();
        }
    }
}
