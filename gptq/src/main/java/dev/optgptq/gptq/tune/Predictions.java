package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The tokens that predict one that is known: all but the last of each sequence. */
final class Predictions {

    private Predictions() {}

    static double count(TokenSequences text) {
        return (double) text.count() * (text.length() - 1);
    }

    /**
     * The sum over those of some tokens.
     *
     * @param losses F64 [1, n], of the tokens from {@code firstToken} on
     * @param length tokens per sequence
     */
    static double sum(Device device, long firstToken, Tensor losses, int length) {
        try (Arena host = Arena.ofConfined()) {
            MemorySegment values = host.allocate(ValueLayout.JAVA_DOUBLE, losses.columns());
            device.download(losses, values);
            double sum = 0;
            for (long i = 0; i < losses.columns(); i++) {
                boolean last = (firstToken + i + 1) % length == 0;
                sum += last ? 0 : values.getAtIndex(ValueLayout.JAVA_DOUBLE, i);
            }
            return sum;
        }
    }
}
