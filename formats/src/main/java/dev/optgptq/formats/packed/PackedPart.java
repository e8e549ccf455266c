package dev.optgptq.formats.packed;

/** What a packed linear consists of, and how the GPTQ layout, in which everything here computes, names it. */
public enum PackedPart {
    /** A code for every input and output. */
    CODES(".qweight"),
    /** A zero point for every group and output. */
    ZEROS(".qzeros"),
    /** A scale for every group and output. */
    SCALES(".scales"),
    /** The group of every input. */
    GROUPS(".g_idx");

    private final String suffix;

    PackedPart(String suffix) {
        this.suffix = suffix;
    }

    /** Of the tensor's name, after the module's. */
    public String suffix() {
        return suffix;
    }
}
