package dev.optgptq.formats.packed;

import dev.optgptq.formats.safetensors.TensorSpec;
import java.lang.foreign.MemorySegment;

/**
 * A tensor that a format stores for a packed linear. It follows from one part of the linear in GPTQ layout.
 *
 * @param spec its name, dtype and shape
 * @param part that it is made from
 * @param encode the part's bytes to the tensor's, which are all zero before
 * @param decode the inverse; of a tensor that only repeats the shape, nothing is decoded
 */
public record StoredTensor(TensorSpec spec, PackedPart part, Conversion encode, Conversion decode) {

    /** The bytes are the same. */
    private static final Conversion SAME = (from, to) -> to.copyFrom(from);
    /** Nothing follows from it. */
    private static final Conversion NOTHING = (from, to) -> {};

    /** From one segment to another, each of exactly the bytes of its tensor. */
    @FunctionalInterface
    public interface Conversion {
        /** Reads all of one, writes all of the other. */
        void apply(MemorySegment from, MemorySegment to);
    }

    /** One whose bytes are the part's. */
    static StoredTensor same(TensorSpec spec, PackedPart part) {
        return new StoredTensor(spec, part, SAME, SAME);
    }

    /** One that repeats what other tensors say by their shapes. */
    static StoredTensor repeated(TensorSpec spec, PackedPart part, Conversion encode) {
        return new StoredTensor(spec, part, encode, NOTHING);
    }

    /** Whether its bytes are the part's, so that they need no copy. */
    public boolean isSame() {
        return encode.equals(SAME);
    }

    boolean isDecoded() {
        return !decode.equals(NOTHING);
    }
}
