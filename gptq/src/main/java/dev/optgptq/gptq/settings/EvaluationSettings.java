package dev.optgptq.gptq.settings;

import dev.optgptq.calibrate.data.Corpus;

/**
 * The text for evaluating the original and the quantized model.
 *
 * @param wanted whether it is measured at all
 * @param text where it is, and how it becomes tokens
 * @param window tokens per window
 */
public record EvaluationSettings(boolean wanted, Corpus text, int window) {}
