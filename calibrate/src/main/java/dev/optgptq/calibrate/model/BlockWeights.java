package dev.optgptq.calibrate.model;

import dev.optgptq.kernels.Tensor;
import java.util.List;

/** The weights of one decoder block on the device, F32. The linears can be overwritten; the arena given at loading owns them. */
public interface BlockWeights {

    int index();

    /** The linears in forward order. */
    List<LinearSpec> linears();

    /** F32 [outputs, inputs]; writing to it changes what the block computes. */
    Tensor weight(LinearSpec linear);
}
