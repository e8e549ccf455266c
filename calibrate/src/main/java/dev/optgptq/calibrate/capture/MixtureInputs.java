package dev.optgptq.calibrate.capture;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The input of a block's mixture for all tokens, on the host or in a temporary file, kept by the first of several passes: the others
 * start from there, so that attention does not run once for every few experts.
 */
public final class MixtureInputs implements AutoCloseable {

    private final ActivationStore inputs;
    private boolean complete;

    /** @param memoryBytes above which a temporary file is used */
    public MixtureInputs(long tokens, int hidden, long memoryBytes) {
        this.inputs = new ActivationStore(tokens, hidden, memoryBytes);
    }

    /** Bytes on the host, or in the file. */
    public static long bytes(long tokens, int hidden) {
        return Float.BYTES * tokens * hidden;
    }

    /** Whether a pass has kept them. */
    public boolean complete() {
        return complete;
    }

    /** All tokens have passed. */
    public void completed() {
        complete = true;
    }

    /** Copies those of tokens from {@code first} on to a device: x F32 [n, hidden]. */
    public void read(Device device, long first, Tensor x) {
        inputs.read(device, first, x);
    }

    /** The same tap, which also keeps the inputs of a batch whose first token is this one. */
    public InputTap keeping(InputTap tap, Device device, long first) {
        return new InputTap() {
            @Override
            public boolean at(InputSite site, Tensor x, @Nullable Tensor tokens) {
                return tap.at(site, x, tokens);
            }

            @Override
            public boolean runs(int expert) {
                return tap.runs(expert);
            }

            @Override
            public InputTap ofSome(Tensor tokens) {
                return tap.ofSome(tokens);
            }

            @Override
            public void mixtureInput(Tensor x) {
                inputs.write(device, first, x);
            }
        };
    }

    @Override
    public void close() {
        inputs.close();
    }
}
