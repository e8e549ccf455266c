package dev.optgptq.formats.gguf;

/**
 * A tensor of a file to be written: a matrix of rows, or one row.
 *
 * @param name in the file
 * @param rows 0 for a vector, which has one dimension there
 * @param columns elements of a row, whole blocks of the type
 */
public record GgufTensor(String name, GgufType type, long rows, long columns) {

    public GgufTensor {
        if (columns % type.blockElements() != 0) {
            throw new IllegalArgumentException(name + ": rows of " + columns + " are not whole blocks of " + type);
        }
    }

    static GgufTensor vector(String name, long elements) {
        return new GgufTensor(name, GgufType.F32, 0, elements);
    }

    /** Size of the data, in bytes. */
    public long bytes() {
        return Math.multiplyExact(Math.max(1, rows), columns / type.blockElements() * type.blockBytes());
    }
}
