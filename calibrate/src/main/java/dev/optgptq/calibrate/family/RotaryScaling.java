package dev.optgptq.calibrate.family;

import java.util.List;

/**
 * How rotary frequencies are stretched for longer contexts, under the names and formulas of Hugging Face transformers
 * (modeling_rope_utils).
 */
public sealed interface RotaryScaling {

    /**
     * Radians per position of each pair.
     *
     * @param length of the sequences, for those that depend on it
     */
    double[] frequencies(double theta, int rotaryDim, int length);

    /** Multiplies cosines and sines. */
    default double attentionFactor() {
        return 1;
    }

    /** theta^(-2i / rotaryDim) for each pair. */
    private static double[] plain(double theta, int rotaryDim) {
        double[] frequencies = new double[rotaryDim / 2];
        for (int i = 0; i < frequencies.length; i++) {
            frequencies[i] = Math.pow(theta, -2.0 * i / rotaryDim);
        }
        return frequencies;
    }

    /** As trained. */
    record Default() implements RotaryScaling {
        @Override
        public double[] frequencies(double theta, int rotaryDim, int length) {
            return plain(theta, rotaryDim);
        }
    }

    /** Positions divided by a factor. */
    record Linear(double factor) implements RotaryScaling {
        @Override
        public double[] frequencies(double theta, int rotaryDim, int length) {
            double[] frequencies = plain(theta, rotaryDim);
            for (int i = 0; i < frequencies.length; i++) {
                frequencies[i] /= factor;
            }
            return frequencies;
        }
    }

    /**
     * Sequences longer than those of training get a larger theta.
     *
     * @param positions of training
     */
    record Dynamic(double factor, double positions) implements RotaryScaling {
        @Override
        public double[] frequencies(double theta, int rotaryDim, int length) {
            double longest = Math.max(length, positions);
            double stretched = factor * longest / positions - (factor - 1);
            return plain(theta * Math.pow(stretched, rotaryDim / (rotaryDim - 2.0)), rotaryDim);
        }
    }

    /**
     * Llama 3.1: long wavelengths are divided by the factor, short ones kept, those between interpolated.
     *
     * @param factor of the long wavelengths
     * @param lowFrequencyFactor a wavelength beyond originalPositions / lowFrequencyFactor is long
     * @param highFrequencyFactor one below originalPositions / highFrequencyFactor is short; above lowFrequencyFactor
     * @param originalPositions context length before stretching
     */
    record Llama3(double factor, double lowFrequencyFactor, double highFrequencyFactor,
            double originalPositions) implements RotaryScaling {
        @Override
        public double[] frequencies(double theta, int rotaryDim, int length) {
            double[] frequencies = plain(theta, rotaryDim);
            for (int i = 0; i < frequencies.length; i++) {
                double wavelengths = originalPositions * frequencies[i] / (2 * Math.PI);
                double kept = (wavelengths - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
                double share = Math.clamp(kept, 0.0, 1.0);
                frequencies[i] = share * frequencies[i] + (1 - share) * frequencies[i] / factor;
            }
            return frequencies;
        }
    }

    /**
     * YaRN (Peng et al. 2023, arXiv 2309.00071): pairs that turn often within the original context are kept, those that turn
     * seldom are stretched.
     *
     * @param betaFast turns from which a pair is kept
     * @param betaSlow turns up to which it is stretched whole
     * @param truncate whether the bounds between are rounded outwards to whole pairs
     */
    record Yarn(double factor, double originalPositions, double betaFast, double betaSlow, boolean truncate,
            double attentionFactor) implements RotaryScaling {

        /** The factor of scores or cosines for a scaling: 0.1 mscale ln(factor) + 1. */
        public static double mscale(double factor, double mscale) {
            return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
        }

        @Override
        public double[] frequencies(double theta, int rotaryDim, int length) {
            double low = pairOf(betaFast, theta, rotaryDim);
            double high = pairOf(betaSlow, theta, rotaryDim);
            low = Math.max(truncate ? Math.floor(low) : low, 0);
            high = Math.min(truncate ? Math.ceil(high) : high, rotaryDim - 1.0);
            if (low == high) {
                high += 0.001;
            }
            double[] frequencies = plain(theta, rotaryDim);
            for (int i = 0; i < frequencies.length; i++) {
                double stretched = Math.clamp((i - low) / (high - low), 0.0, 1.0);
                frequencies[i] = frequencies[i] / factor * stretched + frequencies[i] * (1 - stretched);
            }
            return frequencies;
        }

        /** The pair that makes this many turns within the original context. */
        private double pairOf(double turns, double theta, int rotaryDim) {
            return rotaryDim * Math.log(originalPositions / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
        }
    }

    /**
     * LongRoPE (Ding et al. 2024, arXiv 2402.13753): a divisor for each pair, others for sequences beyond the original
     * context.
     */
    record LongRope(List<Double> shortFactors, List<Double> longFactors, double originalPositions,
            double attentionFactor) implements RotaryScaling {
        @Override
        public double[] frequencies(double theta, int rotaryDim, int length) {
            List<Double> factors = length > originalPositions ? longFactors : shortFactors;
            double[] frequencies = plain(theta, rotaryDim);
            for (int i = 0; i < frequencies.length; i++) {
                frequencies[i] /= factors.get(i);
            }
            return frequencies;
        }
    }
}
