package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.family.LinearSpec;
import java.lang.foreign.MemorySegment;

/** Receives the parameters learned over the whole model; memory is valid only during the call. */
public interface TunedSink {

    /** The scales of a linear, F16 [G, out]. */
    void scales(LinearSpec linear, MemorySegment scales);

    /**
     * The weight or the bias of a norm.
     *
     * @param tensor its name on disk
     * @param values [hidden], in the dtype in which the model stores them
     */
    void norm(String tensor, MemorySegment values);
}
