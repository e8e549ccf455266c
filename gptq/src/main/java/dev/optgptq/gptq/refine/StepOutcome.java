package dev.optgptq.gptq.refine;

/**
 * What one step of a refinement did.
 *
 * @param step "scale search", "token weights", "error propagation", "scale refit", "coordinate descent", "learned
 *     rounding", "tuned scales", "tuned scales and norms"
 * @param block which block; -1 for the whole model
 * @param before what the step is judged by, without it; of a block, the error of its output on the held-out sequences, each
 *     token weighed by the loss's squared gradient where that is known, as a share of the output; of the model, the
 *     divergence of its predictions in nats per token
 * @param after the same with it
 * @param kept whether it was kept: it was better
 * @param seconds what it cost
 * @param note what else there is to say; empty for nothing
 */
public record StepOutcome(String step, int block, double before, double after, boolean kept, double seconds,
        String note) {}
