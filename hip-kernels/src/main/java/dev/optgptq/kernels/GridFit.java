package dev.optgptq.kernels;

/** The float32 arithmetic of a grid that every device repeats step for step, so that codes agree bit for bit. */
public final class GridFit {

    private GridFit() {}

    /** The exponent table of the clip search, p = 1 - i / 100. */
    public static float shrink(int step) {
        return (float) (1 - step / 100.0);
    }

    /** The scale of [low, high], rounded to the type it is stored in; never 0 and never infinite. */
    public static float scale(Grid grid, float low, float high) {
        float raw = (high - low) / grid.maxCode();
        return switch (grid.scaleType()) {
            case F16 -> Math.clamp(Float.float16ToFloat(Float.floatToFloat16(raw)), 0x1p-24f, 65504f);
            case BF16 -> Math.clamp(FloatRounding.bf16ToFloat(FloatRounding.floatToBf16(raw)), 0x1p-133f, 0x1.fep127f);
            default -> Math.clamp(raw, Float.MIN_NORMAL, Float.MAX_VALUE);
        };
    }

    /** The zero point that puts low at code 0. */
    public static int zero(Grid grid, float low, float scale) {
        return grid.symmetric()
                ? 1 << (grid.bits() - 1)
                : (int) Math.clamp(Math.rint(-low / scale), 0, grid.maxCode());
    }

    /** The code of a weight; a NaN becomes the zero point's. */
    public static int code(Grid grid, float weight, float scale, int zero) {
        float rounded = (float) Math.rint(weight / scale);
        return Float.isNaN(rounded) ? zero : (int) Math.clamp(rounded + zero, 0, grid.maxCode());
    }

    /** What a code stands for. */
    public static float value(int code, float scale, int zero) {
        return scale * (code - zero);
    }

    /** The range that a group's extremes give: low in [0], high in [1]. */
    public static void range(Grid grid, float least, float most, float[] lowHigh) {
        float low = Math.min(0, least);
        float high = Math.max(0, most);
        if (low == 0 && high == 0) {
            low = -1;
            high = 1;
        } else if (grid.symmetric()) {
            high = Math.max(-low, high);
            low = low < 0 ? -high : low;
        }
        lowHigh[0] = low;
        lowHigh[1] = high;
    }
}
