package dev.optgptq.formats.scaled;

import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;

/** A weight stored as small floats with a scale for each block: what a runtime multiplies out, as the floats it stands for. */
public sealed interface ScaledTensor permits Fp8Tensor, Mxfp4Tensor {

    /** What decode() writes. */
    ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** Of what it stands for. */
    Shape shape();

    /** The stored tensors; first the one with the elements. */
    List<TensorView> parts();

    /**
     * Decodes some rows, all outer dimensions seen as one. Each value is an element times its scale in float32, rounded once.
     *
     * @param first row
     * @param target F32 [rows, columns], little-endian
     * @throws dev.optgptq.formats.UserError BAD_MODEL where a file is cut off meanwhile
     */
    void decode(long first, int rows, MemorySegment target);

    default long columns() {
        return shape().dimension(shape().rank() - 1);
    }

    /** Bytes of a tensor, copied: a file that shrinks while it is read is an error then, and no crash. */
    static byte[] bytes(TensorView view, long from, long count) {
        byte[] copy = new byte[Math.toIntExact(count)];
        view.reading(() -> MemorySegment.copy(view.data(), ValueLayout.JAVA_BYTE, from, copy, 0, copy.length));
        return copy;
    }
}
