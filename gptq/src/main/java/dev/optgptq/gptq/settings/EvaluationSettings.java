package dev.optgptq.gptq.settings;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * The text for evaluating the original and the quantized model.
 *
 * @param wanted whether it is measured at all
 * @param text the file; null for the bundled one
 * @param window tokens per window
 */
public record EvaluationSettings(boolean wanted, @Nullable Path text, int window) {}
