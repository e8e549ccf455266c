package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.gptq.solve.LinearSolution;

/**
 * One linear of a refined block.
 *
 * @param seconds time to solve it
 */
public record RefinedLinear(LinearSpec linear, LinearSolution solution, double seconds) {}
