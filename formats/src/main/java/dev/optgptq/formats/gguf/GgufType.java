package dev.optgptq.formats.gguf;

/**
 * How the elements of a tensor are stored (ggml.h, enum ggml_type; ggml-common.h for the blocks). A block holds consecutive
 * elements of a row.
 */
public enum GgufType {
    F32(0, 1, 4), F16(1, 1, 2),
    /** d float16, 16 bytes: byte j holds element j below and j + 16 above; w = d (q - 8). */
    Q4_0(2, 32, 18),
    /** d and m float16, 16 bytes as above; w = d q + m. */
    Q4_1(3, 32, 20),
    /** d float16, 32 signed bytes; w = d q. */
    Q8_0(8, 32, 34);

    private final int code;
    private final int blockElements;
    private final int blockBytes;

    GgufType(int code, int blockElements, int blockBytes) {
        this.code = code;
        this.blockElements = blockElements;
        this.blockBytes = blockBytes;
    }

    /** In the file. */
    int code() {
        return code;
    }

    public int blockElements() {
        return blockElements;
    }

    public int blockBytes() {
        return blockBytes;
    }
}
