package dev.optgptq.gptq.refine;

/**
 * The outcome of one refinement step.
 *
 * @param step "scale search", "token weights", "error propagation", "scale refit", "coordinate descent", "learned
 *     rounding", "tuned scales", "tuned scales and norms"
 * @param block which block; -1 for the whole model
 * @param before the validation loss without the step; of a block, the error of its output on the held-out sequences,
 *     relative to the output, with tokens weighted by the loss's squared gradient where known; of the model, the KL
 *     divergence of its predictions in nats per token
 * @param after the same with it
 * @param kept whether it was kept: it was better
 * @param seconds time it took
 * @param note a remark; empty for none
 */
public record StepOutcome(String step, int block, double before, double after, boolean kept, double seconds,
        String note) {}
