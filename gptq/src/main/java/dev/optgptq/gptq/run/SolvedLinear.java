package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.gptq.solve.LinearSolution;

/**
 * One linear, solved.
 *
 * @param seconds time to solve it, its share of the factorisation not included
 */
record SolvedLinear(LinearSpec linear, LinearSolution solution, double seconds) {}
