package dev.optgptq.formats.scaled;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.TensorView;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * A matrix of F8_E4M3 [rows, columns] with a factor for each block, as DeepSeek-V3 is published (arXiv 2412.19437, section
 * 3.3.2): w[r, c] = element[r, c] * scales[r / blockRows, c / blockColumns].
 *
 * @param scales F32 or BF16 [ceil(rows / blockRows), ceil(columns / blockColumns)]; called inverse scales on disk, since
 *     weights were divided by them
 */
public record Fp8Tensor(TensorView elements, TensorView scales, int blockRows, int blockColumns)
        implements
            ScaledTensor {

    private static final float[] VALUES = values();

    public Fp8Tensor {
        Shape shape = elements.shape();
        if (shape.rank() != 2) {
            throw bad(elements, "a matrix", shape.toString());
        }
        Shape expected = Shape.of(Math.ceilDiv(shape.dimension(0), blockRows),
                Math.ceilDiv(shape.dimension(1), blockColumns));
        if (!scales.shape().equals(expected)) {
            throw bad(scales, expected + ", one for each block of " + blockRows + " x " + blockColumns + " of "
                    + shape, scales.shape().toString());
        }
        if (scales.dtype() != DType.F32 && scales.dtype() != DType.BF16) {
            throw bad(scales, "F32 or BF16", scales.dtype().toString());
        }
    }

    @Override
    public Shape shape() {
        return elements.shape();
    }

    @Override
    public List<TensorView> parts() {
        return List.of(elements, scales);
    }

    @Override
    public void decode(long first, int rows, MemorySegment target) {
        int columns = Math.toIntExact(columns());
        float[] factors = {};
        float[] decoded = new float[columns];
        for (int row = 0; row < rows; row++) {
            if (row == 0 || (first + row) % blockRows == 0) {
                factors = factors((first + row) / blockRows);
            }
            byte[] stored = ScaledTensor.bytes(elements, (first + row) * columns, columns);
            for (int block = 0; block < factors.length; block++) {
                int end = Math.min(columns, (block + 1) * blockColumns);
                for (int c = block * blockColumns; c < end; c++) {
                    decoded[c] = VALUES[Byte.toUnsignedInt(stored[c])] * factors[block];
                }
            }
            MemorySegment.copy(decoded, 0, target, FLOAT, (long) row * columns * Float.BYTES, columns);
        }
    }

    /** Those of a row of blocks. */
    private float[] factors(long blockRow) {
        int count = Math.toIntExact(scales.shape().dimension(1));
        int size = scales.dtype().bytes();
        ByteBuffer stored = ByteBuffer.wrap(ScaledTensor.bytes(scales, blockRow * count * size, (long) count * size))
                .order(ByteOrder.LITTLE_ENDIAN);
        float[] factors = new float[count];
        for (int i = 0; i < count; i++) {
            factors[i] = scales.dtype() == DType.F32 ? stored.getFloat() : Floats.fromBF16(stored.getShort());
        }
        return factors;
    }

    private static float[] values() {
        float[] values = new float[256];
        for (int bits = 0; bits < values.length; bits++) {
            values[bits] = Floats.fromE4M3((byte) bits);
        }
        return values;
    }

    private static UserError bad(TensorView view, String expected, String found) {
        return new UserError(Code.BAD_MODEL, view.name() + ": expected " + expected + ", found " + found + " in "
                + view.file() + "; the file is damaged or config.json is from another model");
    }
}
