package dev.optgptq.calibrate.model;

import java.util.List;

/** One model's architecture, resolved from config.json by its family's description. Filled in by the calibrate module. */
public record ModelSpec(String family, int hiddenSize, int blocks, int vocabSize, int maxPositions) {

    /** The linears of a block, in forward order; those of the embedding and the head are not among them. */
    public List<LinearSpec> linears(int block) {
        throw new UnsupportedOperationException("not written yet");
    }
}
