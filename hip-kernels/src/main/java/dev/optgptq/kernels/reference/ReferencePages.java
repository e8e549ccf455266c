package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.FloatRounding;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheType;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** The keys or the values of pages, one element at a time. */
final class ReferencePages {

    private static final float LARGEST = 65504;

    private final CachePages pages;
    private final Tensor elements;
    private final @Nullable Tensor grids;

    private ReferencePages(CachePages pages, Tensor elements, @Nullable Tensor grids) {
        this.pages = pages;
        this.elements = elements;
        this.grids = grids;
    }

    static ReferencePages keys(CachePages pages) {
        return new ReferencePages(pages, pages.keys(), pages.keyGrids());
    }

    static ReferencePages values(CachePages pages) {
        return new ReferencePages(pages, pages.values(), pages.valueGrids());
    }

    private long row(long page, int head) {
        return page * pages.kvHeads() + head;
    }

    /** Element d of a head of the token at some place of a page. */
    double get(long page, int head, int place, int d) {
        long row = row(page, head);
        int width = pages.type().width(pages.headDim());
        if (!pages.type().isQuantized()) {
            return Elements.get(elements, row, (long) place * width + d);
        }
        Tensor grid = Objects.requireNonNull(grids);
        double scale = Elements.get(grid, row, (long) place * CacheType.GRID);
        double minimum = Elements.get(grid, row, (long) place * CacheType.GRID + 1);
        int stored = Elements.getByte(elements, row, (long) place * width + (long) d * pages.type().bits() / Byte.SIZE);
        int code = pages.type() == CacheType.INT4 ? (stored >> (4 * (d % 2))) & 0xF : stored;
        return scale * code + minimum;
    }

    /** Stores a head of x's row r. */
    void store(Tensor x, long r, int head, int slot) {
        long row = row(slot / CachePages.TOKENS, head);
        int place = slot % CachePages.TOKENS;
        int headDim = pages.headDim();
        float[] values = new float[headDim];
        for (int d = 0; d < headDim; d++) {
            values[d] = Elements.getFloat(x, r, (long) head * headDim + d);
        }
        if (pages.type().isQuantized()) {
            storeCodes(values, row, place);
            return;
        }
        for (int d = 0; d < headDim; d++) {
            Elements.set(elements, row, (long) place * headDim + d, values[d]);
        }
    }

    private void storeCodes(float[] values, long row, int place) {
        float low = values[0];
        float high = values[0];
        for (float value : values) {
            low = Math.min(low, value);
            high = Math.max(high, value);
        }
        int maxCode = pages.type().maxCode();
        float scale = stored((high - low) / maxCode);
        float minimum = stored(low);
        int width = pages.type().width(pages.headDim());
        int perByte = Byte.SIZE / pages.type().bits();
        for (int at = 0; at < width; at++) {
            int codes = 0;
            for (int i = 0; i < perByte && at * perByte + i < values.length; i++) {
                codes |= code(values[at * perByte + i], scale, minimum, maxCode) << (i * pages.type().bits());
            }
            Elements.setByte(elements, row, (long) place * width + at, codes);
        }
        Tensor grid = Objects.requireNonNull(grids);
        Elements.set(grid, row, (long) place * CacheType.GRID, scale);
        Elements.set(grid, row, (long) place * CacheType.GRID + 1, minimum);
    }

    /** As F16 has it. */
    private static float stored(float value) {
        return Float.float16ToFloat(FloatRounding.doubleToFloat16(Math.clamp(value, -LARGEST, LARGEST)));
    }

    private static int code(float value, float scale, float minimum, int maxCode) {
        return scale == 0 ? 0 : Math.clamp((long) Math.rint((value - minimum) / scale), 0, maxCode);
    }
}
