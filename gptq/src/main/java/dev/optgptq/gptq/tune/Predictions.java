package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;

/** The positions whose next token is known: all but the last of each sequence. */
final class Predictions {

    private Predictions() {}

    static double count(TokenSequences text) {
        return (double) text.count() * (text.length() - 1);
    }

    /**
     * The sum over the predictions among some tokens.
     *
     * @param losses F64 [1, n], of the tokens from {@code firstToken} on
     * @param length tokens per sequence
     */
    static double sum(Device device, long firstToken, Tensor losses, int length) {
        double[] values = HostVectors.doubles(device, losses);
        double sum = 0;
        for (int i = 0; i < values.length; i++) {
            boolean last = (firstToken + i + 1) % length == 0;
            sum += last ? 0 : values[i];
        }
        return sum;
    }
}
