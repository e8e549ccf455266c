package dev.optgptq.calibrate.capture;

/**
 * How large activations became on the calibration text: magnitudes.
 *
 * @param input of what enters a linear
 * @param residual of the residual stream where its block reads it, and where it was followed further of what the block puts out
 */
public record Activity(float input, float residual) {

    public float largest() {
        return Math.max(input, residual);
    }
}
