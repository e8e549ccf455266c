package dev.optgptq.gptq.settings;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import org.jspecify.annotations.Nullable;

/**
 * The calibration data.
 *
 * @param text where it is, and how it becomes tokens
 * @param sampling how sequences are drawn
 * @param samples number of sequences
 * @param sequenceLength tokens in each
 * @param seed of the random sampling
 * @param precision matmul dtype while calibrating
 * @param expertsAtOnce how many experts of a mixture have their Hessians in memory at once; null for what has room
 */
public record CalibrationSettings(Corpus text, Sampling sampling, int samples, int sequenceLength, long seed,
        Precision precision, @Nullable Integer expertsAtOnce) {}
