package dev.optgptq.gptq.settings;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * What the model is measured on before and after.
 *
 * @param wanted whether it is measured at all
 * @param text the file; null for the bundled one
 * @param window tokens per window
 */
public record EvaluationSettings(boolean wanted, @Nullable Path text, int window) {}
