package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.Position;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Floats;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;

/** The constants that positions need on the device; computed in float64, stored in float32. */
final class PositionTables {

    private PositionTables() {}

    static Tables.Rotation rotation(Position.Rotary form, int positions, Device device, TensorArena arena) {
        double[] frequencies = frequencies(form, positions);
        double factor = form.scaling().attentionFactor();
        int pairs = frequencies.length;
        float[] cos = new float[Math.multiplyExact(positions, pairs)];
        float[] sin = new float[cos.length];
        for (int position = 0; position < positions; position++) {
            for (int pair = 0; pair < pairs; pair++) {
                double angle = position * frequencies[pair];
                cos[position * pairs + pair] = (float) (factor * Math.cos(angle));
                sin[position * pairs + pair] = (float) (factor * Math.sin(angle));
            }
        }
        return new Tables.Rotation(upload(cos, positions, device, arena), upload(sin, positions, device, arena),
                form);
    }

    /**
     * Radians per position of each pair, scaled and rounded.
     *
     * @param length of the sequences
     */
    static double[] frequencies(Position.Rotary form, int length) {
        double[] frequencies = form.scaling().frequencies(form.theta(), form.rotaryDim(), length);
        for (int i = 0; i < frequencies.length; i++) {
            frequencies[i] = round(frequencies[i], form.frequencyType());
        }
        return frequencies;
    }

    private static double round(double value, DType type) {
        return switch (type) {
            case F16 -> Floats.fromF16(Floats.toF16((float) value));
            case BF16 -> Floats.fromBF16(Floats.toBF16((float) value));
            case F32 -> (float) value;
            default -> throw new IllegalArgumentException("constants of positions in " + type);
        };
    }

    static Tensor slopes(Position.Alibi form, int heads, Device device, TensorArena arena) {
        return upload(slopes(form, heads), 1, device, arena);
    }

    /**
     * One slope per query head: as stated, or those of the paper. For a power of two, slope k is 2^(-maxBias (k + 1) / heads). Otherwise the slopes of the
     * next power of two: every second one, from the second, then those left out, from the first (Press et al. 2021;
     * notes/formats 6.5).
     */
    static float[] slopes(Position.Alibi form, int heads) {
        int power = heads == 1 ? 1 : Integer.highestOneBit(heads - 1) << 1;
        float[] slopes = new float[heads];
        for (int head = 0; head < heads; head++) {
            if (!form.stated().isEmpty()) {
                slopes[head] = (float) (form.stated().get(head) * form.factor());
                continue;
            }
            int step = head;
            if (power != heads) {
                step = head < power / 2 ? 2 * head + 1 : 2 * head - power;
            }
            double slope = Math.pow(2, -form.maxBias() * (step + 1) / power);
            slopes[head] = (float) (round(slope, form.slopeType()) * form.factor());
        }
        return slopes;
    }

    private static Tensor upload(float[] values, int rows, Device device, TensorArena arena) {
        Tensor target = arena.matrix(DType.F32, rows, values.length / rows);
        try (Arena host = Arena.ofShared()) {
            device.upload(host.allocateFrom(ValueLayout.JAVA_FLOAT, values), target);
            // An accelerator may still be copying when upload returns.
            device.synchronize();
        }
        return target;
    }
}
