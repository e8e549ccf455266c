package dev.optgptq.kernels.cpu.cache;

import static dev.optgptq.kernels.cpu.loops.VectorMath.LANES;
import static dev.optgptq.kernels.cpu.loops.VectorMath.SPECIES;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.cpu.loops.HalfVectors;
import dev.optgptq.kernels.cpu.loops.Memory;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Objects;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;

/**
 * One head's page in float32: token t's element d at t * pitch + d, zeros up to the pitch, a whole number of vectors. A page is
 * decoded once for all query heads that share it.
 */
final class PageReader {

    /** As many bytes as a vector has floats; vectors of 4 floats have none. */
    private static final @Nullable VectorSpecies<Byte> BYTES = LANES >= 8
            ? VectorSpecies.of(byte.class, VectorShape.forBitSize(LANES * Byte.SIZE))
            : null;
    private static final VectorShuffle<Float> LOWER = VectorShuffle.makeZip(SPECIES, 0);
    private static final VectorShuffle<Float> UPPER = VectorShuffle.makeZip(SPECIES, 1);

    private final CachePages pages;
    private final Tensor elements;
    private final @Nullable Tensor grids;
    private final int pitch;

    PageReader(CachePages pages, Tensor elements, @Nullable Tensor grids, int pitch) {
        this.pages = pages;
        this.elements = elements;
        this.grids = grids;
        this.pitch = pitch;
    }

    /** Tokens [from, to) of a page. */
    void read(int page, int kvHead, int from, int to, float[] target) {
        long row = (long) page * pages.kvHeads() + kvHead;
        CacheType type = pages.type();
        long bytes = (long) type.width(pages.headDim()) * type.dtype().bytes();
        MemorySegment floats = MemorySegment.ofArray(target);
        for (int token = from; token < to; token++) {
            long at = Memory.row(elements, row) + token * bytes;
            int start = token * pitch;
            switch (type) {
                case F32 -> MemorySegment.copy(elements.memory(), Memory.FLOAT, at, target, start, pages.headDim());
                case F16 -> HalfVectors.widenFloat16(elements.memory(), at, floats, 4L * start, pages.headDim());
                case BF16 -> HalfVectors.widenBf16(elements.memory(), at, floats, 4L * start, pages.headDim());
                case INT8 -> bytes(at, scale(row, token), minimum(row, token), target, start);
                case INT4 -> nibbles(at, scale(row, token), minimum(row, token), target, start);
            }
        }
    }

    private float scale(long row, int token) {
        return grid(row, (long) token * CacheType.GRID);
    }

    private float minimum(long row, int token) {
        return grid(row, (long) token * CacheType.GRID + 1);
    }

    private float grid(long row, long element) {
        Tensor grid = Objects.requireNonNull(grids);
        return Float.float16ToFloat(grid.memory().get(Memory.SHORT, Memory.row(grid, row) + element * Short.BYTES));
    }

    private void bytes(long at, float scale, float minimum, float[] target, int start) {
        int headDim = pages.headDim();
        int d = 0;
        for (; BYTES != null && d <= headDim - LANES; d += LANES) {
            value(codes(at + d), scale, minimum).intoArray(target, start + d);
        }
        for (; d < headDim; d++) {
            target[start + d] = Math.fma(scale, code(at + d), minimum);
        }
    }

    private void nibbles(long at, float scale, float minimum, float[] target, int start) {
        int headDim = pages.headDim();
        int d = 0;
        for (; BYTES != null && d <= headDim - 2 * LANES; d += 2 * LANES) {
            IntVector pairs = codes(at + d / 2);
            FloatVector even = value(pairs.and(0xF), scale, minimum);
            FloatVector odd = value(pairs.lanewise(VectorOperators.LSHR, 4), scale, minimum);
            even.rearrange(LOWER, odd).intoArray(target, start + d);
            even.rearrange(UPPER, odd).intoArray(target, start + d + LANES);
        }
        for (; d < headDim; d++) {
            target[start + d] = Math.fma(scale, (code(at + d / 2) >> (4 * (d % 2))) & 0xF, minimum);
        }
    }

    private int code(long at) {
        return Byte.toUnsignedInt(elements.memory().get(ValueLayout.JAVA_BYTE, at));
    }

    private IntVector codes(long at) {
        return ByteVector.fromMemorySegment(Objects.requireNonNull(BYTES), elements.memory(), at,
                ByteOrder.LITTLE_ENDIAN).convertShape(VectorOperators.ZERO_EXTEND_B2I, Memory.INTS, 0)
                .reinterpretAsInts();
    }

    private static FloatVector value(IntVector codes, float scale, float minimum) {
        return ((FloatVector) codes.convert(VectorOperators.I2F, 0)).fma(FloatVector.broadcast(SPECIES, scale),
                FloatVector.broadcast(SPECIES, minimum));
    }
}
