package dev.optgptq.calibrate.family;

/** How rotary frequencies are stretched, under the names and formulas of Hugging Face transformers. */
public sealed interface RotaryScaling {

    /** The frequency to use, in radians per position, for one that comes from theta alone. */
    double scale(double frequency);

    /** As trained. */
    record Default() implements RotaryScaling {
        @Override
        public double scale(double frequency) {
            return frequency;
        }
    }

    /** Positions divided by a factor. */
    record Linear(double factor) implements RotaryScaling {
        @Override
        public double scale(double frequency) {
            return frequency / factor;
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
        public double scale(double frequency) {
            double wavelengths = originalPositions * frequency / (2 * Math.PI);
            double kept = (wavelengths - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
            double share = Math.clamp(kept, 0.0, 1.0);
            return share * frequency + (1 - share) * frequency / factor;
        }
    }
}
