package dev.optgptq.formats.scaled;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The matrices of all experts in MXFP4 (OCP Microscaling Formats 1.0), as gpt-oss is published: runs of 32 inputs of an output
 * share a power of two, and are E2M1, two in a byte, the first in its lower half.
 *
 * @param blocks U8 [experts, outputs, inputs / 32, 16]
 * @param scales U8, E8M0 [experts, outputs, inputs / 32]
 */
public record Mxfp4Tensor(TensorView blocks, TensorView scales) implements ScaledTensor {

    /** Elements that share a scale. */
    public static final int BLOCK = 32;

    private static final int BLOCK_BYTES = BLOCK / 2;
    private static final float[] VALUES = values();

    public Mxfp4Tensor {
        Shape shape = blocks.shape();
        if (shape.rank() != 4 || shape.dimension(3) != BLOCK_BYTES) {
            throw bad(blocks, "[experts, outputs, inputs / 32, 16]", shape.toString());
        }
        Shape expected = Shape.of(shape.dimension(0), shape.dimension(1), shape.dimension(2));
        if (!scales.shape().equals(expected)) {
            throw bad(scales, expected.toString(), scales.shape().toString());
        }
        for (TensorView part : List.of(blocks, scales)) {
            if (part.dtype() != DType.U8) {
                throw bad(part, "U8", part.dtype().toString());
            }
        }
    }

    /** [experts, outputs, inputs]. */
    @Override
    public Shape shape() {
        Shape shape = blocks.shape();
        return Shape.of(shape.dimension(0), shape.dimension(1), shape.dimension(2) * BLOCK);
    }

    @Override
    public List<TensorView> parts() {
        return List.of(blocks, scales);
    }

    @Override
    public void decode(long first, int rows, MemorySegment target) {
        int perRow = Math.toIntExact(blocks.shape().dimension(2));
        float[] decoded = new float[perRow * BLOCK];
        for (int row = 0; row < rows; row++) {
            long from = (first + row) * perRow;
            byte[] stored = ScaledTensor.bytes(blocks, from * BLOCK_BYTES, (long) perRow * BLOCK_BYTES);
            byte[] exponents = ScaledTensor.bytes(scales, from, perRow);
            for (int block = 0; block < perRow; block++) {
                float scale = Floats.fromE8M0(exponents[block]);
                for (int i = block * BLOCK_BYTES; i < (block + 1) * BLOCK_BYTES; i++) {
                    decoded[2 * i] = VALUES[stored[i] & 0xf] * scale;
                    decoded[2 * i + 1] = VALUES[(stored[i] >> 4) & 0xf] * scale;
                }
            }
            MemorySegment.copy(decoded, 0, target, FLOAT, (long) row * decoded.length * Float.BYTES, decoded.length);
        }
    }

    private static float[] values() {
        float[] values = new float[16];
        for (int bits = 0; bits < values.length; bits++) {
            values[bits] = Floats.fromE2M1(bits);
        }
        return values;
    }

    private static UserError bad(TensorView view, String expected, String found) {
        return new UserError(Code.BAD_MODEL, view.name() + ": expected " + expected + ", found " + found + " in "
                + view.file() + "; the file is damaged or from another model");
    }
}
