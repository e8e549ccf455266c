package dev.optgptq.cli.generate;

import dev.optgptq.calibrate.generate.Sampling;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.CacheType;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Settings of a generation.
 *
 * @param maxTokens of an answer
 * @param stopTexts texts that end an answer
 * @param ignoreStopTokens whether answers continue past the model's end-of-sequence token
 * @param sequences in a batch; null for as many as fit in memory
 * @param cacheBytes for the pages; null for all free memory
 * @param products matmul dtype of the linears
 */
public record GenerateSettings(int maxTokens, Sampling sampling, List<String> stopTexts, boolean ignoreStopTokens,
        boolean logProbabilities, CacheType cache, @Nullable Integer sequences, @Nullable Long cacheBytes,
        DType products) {}
