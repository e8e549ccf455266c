package dev.optgptq.gptq.convert.merge;

import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The elements of a head that rotate together.
 *
 * @param headDim d
 * @param pairs of elements that RoPE rotates
 * @param rest the elements that do not rotate
 */
public record HeadLayout(int headDim, List<Pair> pairs, List<Integer> rest) {

    public HeadLayout {
        pairs = List.copyOf(pairs);
        rest = List.copyOf(rest);
    }

    /** A complex number in two elements. */
    public record Pair(int real, int imaginary) {}

    /** No rotation. */
    public static HeadLayout plain(int headDim) {
        return new HeadLayout(headDim, List.of(), IntStream.range(0, headDim).boxed().toList());
    }

    /** The first rotaryDim elements rotate. */
    public static HeadLayout rotary(int headDim, int rotaryDim, RotaryLayout layout) {
        List<Pair> pairs = new ArrayList<>();
        for (int i = 0; i < rotaryDim / 2; i++) {
            pairs.add(switch (layout) {
                case HALF -> new Pair(i, i + rotaryDim / 2);
                case INTERLEAVED -> new Pair(2 * i, 2 * i + 1);
            });
        }
        return new HeadLayout(headDim, pairs, IntStream.range(rotaryDim, headDim).boxed().toList());
    }
}
