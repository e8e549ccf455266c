package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.gptq.solve.LinearSolution;

/**
 * One linear, solved.
 *
 * @param seconds time to solve it, its share of the factorisation not included
 */
public record SolvedLinear(LinearSpec linear, LinearSolution solution, double seconds) {}
