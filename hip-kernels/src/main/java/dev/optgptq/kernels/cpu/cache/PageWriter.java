package dev.optgptq.kernels.cpu.cache;

import dev.optgptq.kernels.FloatRounding;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Stores keys, or values, of one head of one token. A few per step of decoding: scalar loops. */
record PageWriter(CachePages pages, Tensor elements, @Nullable Tensor grids) {

    private static final float LARGEST = 65504;

    /** Stores a head of x's row. */
    void store(Tensor x, long row, int head, int slot) {
        int headDim = pages.headDim();
        long from = Memory.row(x, row) + (long) head * headDim * Float.BYTES;
        long pageRow = (long) (slot / CachePages.TOKENS) * pages.kvHeads() + head;
        int place = slot % CachePages.TOKENS;
        CacheType type = pages.type();
        long at = Memory.row(elements, pageRow) + (long) place * type.width(headDim) * type.dtype().bytes();
        switch (type) {
            case F32 -> MemorySegment.copy(x.memory(), from, elements.memory(), at, (long) headDim * Float.BYTES);
            case F16 -> {
                for (int d = 0; d < headDim; d++) {
                    elements.memory().set(Memory.SHORT, at + 2L * d, Float.floatToFloat16(get(x, from, d)));
                }
            }
            case BF16 -> {
                for (int d = 0; d < headDim; d++) {
                    elements.memory().set(Memory.SHORT, at + 2L * d, FloatRounding.floatToBf16(get(x, from, d)));
                }
            }
            case INT8, INT4 -> storeCodes(x, from, at, pageRow, place);
        }
    }

    private static float get(Tensor x, long from, int d) {
        return x.memory().get(Memory.FLOAT, from + (long) d * Float.BYTES);
    }

    private void storeCodes(Tensor x, long from, long at, long pageRow, int place) {
        int headDim = pages.headDim();
        float low = get(x, from, 0);
        float high = low;
        for (int d = 1; d < headDim; d++) {
            low = Math.min(low, get(x, from, d));
            high = Math.max(high, get(x, from, d));
        }
        int bits = pages.type().bits();
        int maxCode = pages.type().maxCode();
        short scaleBits = stored((high - low) / maxCode);
        short minimumBits = stored(low);
        float scale = Float.float16ToFloat(scaleBits);
        float minimum = Float.float16ToFloat(minimumBits);
        int perByte = Byte.SIZE / bits;
        for (int b = 0; b * perByte < headDim; b++) {
            int codes = 0;
            for (int i = 0; i < perByte && b * perByte + i < headDim; i++) {
                codes |= code(get(x, from, b * perByte + i), scale, minimum, maxCode) << (i * bits);
            }
            elements.memory().set(ValueLayout.JAVA_BYTE, at + b, (byte) codes);
        }
        Tensor grid = Objects.requireNonNull(grids);
        long gridAt = Memory.row(grid, pageRow) + (long) place * CacheType.GRID * Short.BYTES;
        grid.memory().set(Memory.SHORT, gridAt, scaleBits);
        grid.memory().set(Memory.SHORT, gridAt + Short.BYTES, minimumBits);
    }

    private static short stored(float value) {
        return Float.floatToFloat16(Math.clamp(value, -LARGEST, LARGEST));
    }

    private static int code(float value, float scale, float minimum, int maxCode) {
        return scale == 0 ? 0 : Math.clamp((long) Math.rint((value - minimum) / scale), 0, maxCode);
    }
}
