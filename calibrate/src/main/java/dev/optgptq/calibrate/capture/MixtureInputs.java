package dev.optgptq.calibrate.capture;

import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The input of a block's mixture for all tokens, on the host or in a temporary file, kept by the first of several passes: the others
 * start from there, so that attention does not run once for every few experts.
 */
public final class MixtureInputs implements AutoCloseable {

    private final ActivationStore inputs;
    private boolean complete;

    private MixtureInputs(ActivationStore inputs) {
        this.inputs = inputs;
    }

    /**
     * For those passes; null where none starts from there: the first does not, nor do those with a site that all tokens pass.
     *
     * @param memoryBytes above which a temporary file is used
     */
    public static @Nullable MixtureInputs of(List<Set<InputSite>> passes, long tokens, int hidden, long memoryBytes) {
        return passes.stream().skip(1).anyMatch(sites -> sites.stream().allMatch(InputSite::ofExpert))
                ? new MixtureInputs(new ActivationStore(tokens, hidden, memoryBytes))
                : null;
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
    void read(Device device, long first, Tensor x) {
        inputs.read(device, first, x);
    }

    /** The same tap, which also keeps the inputs of a batch whose first token is this one, unless all are kept already. */
    public InputTap keeping(InputTap tap, Device device, long first) {
        if (complete) {
            return tap;
        }
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
