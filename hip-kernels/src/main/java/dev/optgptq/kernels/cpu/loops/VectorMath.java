package dev.optgptq.kernels.cpu.loops;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Elementary functions on float vectors. They use only operations whose every lane is defined to the bit, so the result
 * is the same whether this code is interpreted or compiled; the Vector API's own EXP and its unordered reduceLanes(ADD)
 * are not, and would make two runs of one command differ.
 *
 * <p>
 * The polynomials are minimax fits of the relative error; their own error is given beside the total with rounding.
 */
public final class VectorMath {

    /** The CPU's preferred width, up to 16 lanes. */
    public static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED.length() > 16
            ? FloatVector.SPECIES_512
            : FloatVector.SPECIES_PREFERRED;
    public static final int LANES = SPECIES.length();

    private static final VectorShuffle<Float> BY_8 = VectorShuffle.iota(SPECIES, 8, 1, true);
    private static final VectorShuffle<Float> BY_4 = VectorShuffle.iota(SPECIES, 4, 1, true);
    private static final VectorShuffle<Float> BY_2 = VectorShuffle.iota(SPECIES, 2, 1, true);
    private static final VectorShuffle<Float> BY_1 = VectorShuffle.iota(SPECIES, 1, 1, true);

    /**
     * 1.5 * 2^23 + 127. Adding it to a small t rounds t to the nearest integer n and leaves n + 127, the exponent field of
     * 2^n, in the low bits of the sum.
     */
    private static final float TO_EXPONENT = 0x1.8p23f + 127;
    private static final float LOG2_E = 1.442695f;
    /** ln 2 in two parts; n * LN2_HIGH is exact for any exponent n. */
    private static final float LN2_HIGH = 0x1.62e4p-1f;
    private static final float LN2_LOW = 1.4286068e-6f;
    /** Highest power first, down to the first. A loop over an array, unlike exp's, to stay within what C2 inlines. */
    private static final float[] TAIL = {-0.020623514f, 0.112435855f, -0.22821416f, 0.19178528f, -0.07942408f,
            0.09615714f, 0.07838955f, 0.110235445f, 0.11957181f, 0.11968669f};
    /** Where tanh is 1 in float32, and its coefficients, highest power first. */
    private static final float TANH_ONE = 7.905311f;
    private static final float[] TANH_ODD = {-2.7607684e-16f, 2.000188e-13f, -8.604672e-11f, 5.122297e-8f,
            1.48572235e-5f, 6.3726195e-4f, 4.8935246e-3f};
    private static final float[] TANH_EVEN = {1.1982584e-6f, 1.1853471e-4f, 2.2684345e-3f, 4.893525e-3f};
    private static final float EXP2_UNDERFLOW = -126;
    private static final float EXP_UNDERFLOW = -87.33f;
    private static final float EXP_OVERFLOW = 88.37f;

    private VectorMath() {}

    /**
     * 2^t for t up to 127. Relative error below 1.5e-7 (polynomial 2e-9); 0 below -126, where the result would be
     * subnormal. NaN stays NaN.
     */
    public static FloatVector exp2(FloatVector t) {
        FloatVector shifted = t.add(TO_EXPONENT);
        FloatVector r = t.sub(shifted.sub(TO_EXPONENT));
        FloatVector p = FloatVector.broadcast(SPECIES, 1.535337e-4f);
        p = p.fma(r, FloatVector.broadcast(SPECIES, 1.3398874e-3f));
        p = p.fma(r, FloatVector.broadcast(SPECIES, 9.618437e-3f));
        p = p.fma(r, FloatVector.broadcast(SPECIES, 5.5503324e-2f));
        p = p.fma(r, FloatVector.broadcast(SPECIES, 2.4022648e-1f));
        p = p.fma(r, FloatVector.broadcast(SPECIES, 6.931472e-1f));
        p = p.fma(r, FloatVector.broadcast(SPECIES, 1f));
        FloatVector power = p.mul(powerOfTwo(shifted));
        return power.blend(0f, t.compare(VectorOperators.LT, EXP2_UNDERFLOW));
    }

    /** 2^n from TO_EXPONENT + n: the low bits become the exponent field. */
    private static FloatVector powerOfTwo(FloatVector shifted) {
        return shifted.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats();
    }

    /**
     * e^x. Relative error below 1.5e-7 (polynomial 3e-9); 0 below -87.33, where the result would be subnormal, infinite
     * above 88.37, 2^127.5, the last power of two being 2^127. NaN stays NaN.
     */
    public static FloatVector exp(FloatVector x) {
        FloatVector shifted = x.fma(FloatVector.broadcast(SPECIES, LOG2_E),
                FloatVector.broadcast(SPECIES, TO_EXPONENT));
        FloatVector n = shifted.sub(TO_EXPONENT);
        FloatVector r = n.fma(FloatVector.broadcast(SPECIES, -LN2_HIGH), x);
        r = n.fma(FloatVector.broadcast(SPECIES, -LN2_LOW), r);
        FloatVector p = FloatVector.broadcast(SPECIES, 1.3814567e-3f);
        p = p.fma(r, FloatVector.broadcast(SPECIES, 8.368731e-3f));
        p = p.fma(r, FloatVector.broadcast(SPECIES, 4.166839e-2f));
        p = p.fma(r, FloatVector.broadcast(SPECIES, 1.6666521e-1f));
        p = p.fma(r, FloatVector.broadcast(SPECIES, 4.9999994e-1f));
        p = p.fma(r, FloatVector.broadcast(SPECIES, 1f));
        p = p.fma(r, FloatVector.broadcast(SPECIES, 1f));
        FloatVector power = p.mul(powerOfTwo(shifted));
        VectorMask<Float> under = x.compare(VectorOperators.LT, EXP_UNDERFLOW);
        VectorMask<Float> over = x.compare(VectorOperators.GT, EXP_OVERFLOW);
        return power.blend(0f, under).blend(Float.POSITIVE_INFINITY, over);
    }

    /**
     * The upper tail of the normal distribution, 1 - Phi(t) = erfc(t / sqrt 2) / 2, for t from 0 up. Relative error below
     * 6e-7 down to 1e-38 (polynomial 4e-9), 0 beyond, from t about 13.2.
     *
     * <p>
     * e^(-t^2 / 2) R(t), R a polynomial in s = 1 / (1 + 0.3 t), fitted over [0, 14.5].
     */
    public static FloatVector normalTail(FloatVector t) {
        FloatVector x = t.blend(14.5f, t.compare(VectorOperators.GT, 14.5f));
        FloatVector one = FloatVector.broadcast(SPECIES, 1f);
        FloatVector s = one.div(x.fma(FloatVector.broadcast(SPECIES, 0.3f), one));
        FloatVector p = FloatVector.zero(SPECIES);
        for (float coefficient : TAIL) {
            p = p.fma(s, FloatVector.broadcast(SPECIES, coefficient));
        }
        // The square of t in two floats: rounding it alone would cost 87 units in the last place of the power.
        FloatVector square = x.mul(x);
        FloatVector rest = x.fma(x, square.neg());
        FloatVector power = exp(square.mul(-0.5f));
        return p.mul(s).mul(rest.fma(power.mul(-0.5f), power));
    }

    /**
     * tanh. Relative error below 5e-7: the rational approximation, odd over even, of Eigen's ptanh; 1 beyond 7.9. NaN stays
     * NaN.
     */
    public static FloatVector tanh(FloatVector x) {
        FloatVector t = x.blend(TANH_ONE, x.compare(VectorOperators.GT, TANH_ONE));
        t = t.blend(-TANH_ONE, t.compare(VectorOperators.LT, -TANH_ONE));
        FloatVector square = t.mul(t);
        FloatVector p = FloatVector.broadcast(SPECIES, TANH_ODD[0]);
        for (int i = 1; i < TANH_ODD.length; i++) {
            p = p.fma(square, FloatVector.broadcast(SPECIES, TANH_ODD[i]));
        }
        FloatVector q = FloatVector.broadcast(SPECIES, TANH_EVEN[0]);
        for (int i = 1; i < TANH_EVEN.length; i++) {
            q = q.fma(square, FloatVector.broadcast(SPECIES, TANH_EVEN[i]));
        }
        return t.mul(p).div(q);
    }

    /** The larger of a and b in each lane; b where either is NaN. Two instructions, where max takes five. */
    public static FloatVector larger(FloatVector a, FloatVector b) {
        return b.blend(a, a.compare(VectorOperators.GT, b));
    }

    /** The sum of the lanes, halves first: the same order on every call, unlike reduceLanes(ADD). */
    public static float sum(FloatVector v) {
        FloatVector t = v;
        t = LANES > 8 ? t.add(t.rearrange(BY_8)) : t;
        t = LANES > 4 ? t.add(t.rearrange(BY_4)) : t;
        t = LANES > 2 ? t.add(t.rearrange(BY_2)) : t;
        return t.add(t.rearrange(BY_1)).lane(0);
    }

    /** The inner product of two stretches of count elements. */
    public static float dot(float[] a, int aStart, float[] b, int bStart, int count) {
        FloatVector products = FloatVector.zero(SPECIES);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            products = FloatVector.fromArray(SPECIES, a, aStart + i)
                    .fma(FloatVector.fromArray(SPECIES, b, bStart + i), products);
        }
        float total = sum(products);
        for (; i < count; i++) {
            total += a[aStart + i] * b[bStart + i];
        }
        return total;
    }
}
