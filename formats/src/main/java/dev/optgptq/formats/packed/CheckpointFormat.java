package dev.optgptq.formats.packed;

import java.util.Arrays;
import java.util.Optional;

/** The two layouts of GPTQ checkpoints; they differ in the stored zero point only: v1 stores it minus one. */
public enum CheckpointFormat {
    /** Zero points are stored minus one. Symmetric only: every runtime reads it. */
    GPTQ("gptq", 1),
    /** Zero points are stored as they are; needed for asymmetric grids. */
    GPTQ_V2("gptq_v2", 0);

    private final String label;
    private final int zeroOffset;

    CheckpointFormat(String label, int zeroOffset) {
        this.label = label;
        this.zeroOffset = zeroOffset;
    }

    static Optional<CheckpointFormat> labelled(String label) {
        return Arrays.stream(values()).filter(format -> format.label.equals(label)).findFirst();
    }

    /** The value of checkpoint_format in config.json. */
    public String label() {
        return label;
    }

    @Override
    public String toString() {
        return label;
    }

    /** What a reader adds to a stored zero point. */
    public int zeroOffset() {
        return zeroOffset;
    }
}
