package dev.optgptq.formats.gguf;

import java.util.List;

/**
 * A tensor of a file to be written.
 *
 * @param name in the file
 * @param dimensions from the innermost: the elements of a row, which are whole blocks of the type; rows; matrices
 */
record GgufTensor(String name, GgufType type, List<Long> dimensions) {

    GgufTensor {
        dimensions = List.copyOf(dimensions);
        if (dimensions.getFirst() % type.blockElements() != 0) {
            throw new IllegalArgumentException(
                    name + ": rows of " + dimensions.getFirst() + " are not whole blocks of " + type);
        }
    }

    /** How many rows there are; one for a vector. */
    int rows() {
        return Math.toIntExact(dimensions.stream().skip(1).reduce(1L, Math::multiplyExact));
    }

    /** Size of the data, in bytes. */
    long bytes() {
        long elements = dimensions.stream().reduce(1L, Math::multiplyExact);
        return Math.multiplyExact(elements / type.blockElements(), type.blockBytes());
    }
}
