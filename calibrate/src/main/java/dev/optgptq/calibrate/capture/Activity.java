package dev.optgptq.calibrate.capture;

/**
 * What passed a site of the calibration text, and how large it and the residual stream became: magnitudes.
 *
 * @param input of a linear's input
 * @param residual of the residual stream at its block's input, and, where measured, at the block's output
 * @param tokens that passed; of an expert those that the router sent to it
 * @param shrunk by what share an expert's Hessian was drawn towards its layer's; 0 for other sites
 */
public record Activity(float input, float residual, long tokens, double shrunk) {

    public float largest() {
        return Math.max(input, residual);
    }
}
