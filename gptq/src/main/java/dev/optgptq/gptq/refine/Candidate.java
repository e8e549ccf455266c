package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.kernels.TensorArena;
import java.util.List;

/**
 * A candidate solution of a block.
 *
 * @param weights its dequantized weights
 * @param linears the codes of the linears
 * @param arena owns both
 */
record Candidate(BlockWeights weights, List<SolvedLinear> linears, TensorArena arena) implements AutoCloseable {

    @Override
    public void close() {
        arena.close();
    }
}
