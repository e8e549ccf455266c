package dev.optgptq.cli.generate;

import dev.optgptq.calibrate.generate.Sampling;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.CacheType;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What is asked for.
 *
 * @param maxTokens of an answer
 * @param stopTexts end an answer
 * @param ignoreStopTokens whether answers go on at the model's own end
 * @param sequences computed together; null for as many as the memory allows
 * @param cacheBytes for the pages; null for what is free
 * @param products dtype of what the linears multiply
 */
public record GenerateSettings(int maxTokens, Sampling sampling, List<String> stopTexts, boolean ignoreStopTokens,
        boolean logProbabilities, CacheType cache, @Nullable Integer sequences, @Nullable Long cacheBytes,
        DType products) {}
