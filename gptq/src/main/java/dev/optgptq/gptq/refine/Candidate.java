package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.kernels.TensorArena;
import java.util.List;

/**
 * A block as it could be.
 *
 * @param weights what it computes with
 * @param linears the codes behind them
 * @param arena owns both
 */
record Candidate(BlockWeights weights, List<SolvedLinear> linears, TensorArena arena) implements AutoCloseable {

    @Override
    public void close() {
        arena.close();
    }
}
