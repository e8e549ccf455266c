package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.util.ArrayList;
import java.util.List;

/** The cases of NeuralOps.attention: around the tiles of 32 queries, 64 keys and 256 queries, and the head sizes of models. */
final class AttentionCases {

    private AttentionCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (int length : new int[] {1, 2, 7, 31, 32, 33, 63, 64, 65, 97}) {
            cases.add(attention(2, shape(length, 2, 2, 16, 0), false));
            cases.add(attention(1, shape(length, 3, 1, 8, 0), true));
        }
        for (int headDim : new int[] {1, 3, 8, 15, 17, 20, 64, 80, 96, 128, 129, 192, 256}) {
            cases.add(attention(1, shape(35, 2, 1, headDim, 0), false));
        }
        for (int window : new int[] {1, 2, 31, 32, 33, 64, 70, 129, 200}) {
            cases.add(attention(1, shape(130, 2, 2, 4, window), false));
            cases.add(attention(2, shape(67, 4, 2, 4, window), true));
        }
        cases.add(attention(3, shape(5, 8, 2, 16, 0), true));
        cases.add(attention(1, shape(300, 1, 1, 8, 0), true));
        cases.add(attention(1, shape(515, 2, 1, 4, 40), false));
        cases.add(attention(0, shape(4, 2, 2, 8, 0), false));
        for (DType half : new DType[] {DType.F16, DType.BF16}) {
            for (int length : new int[] {1, 15, 16, 17, 63, 64, 65, 130}) {
                cases.add(halves(half, shape(length, 2, 1, 16, 0), length % 2 == 0));
            }
            for (int headDim : new int[] {1, 8, 15, 20, 64, 72, 80, 128, 130}) {
                cases.add(halves(half, shape(70, 4, 2, headDim, 0), headDim == 64));
            }
            for (int window : new int[] {1, 9, 16, 64, 70}) {
                cases.add(halves(half, shape(131, 2, 2, 24, window), window == 70));
            }
        }
        for (int length : new int[] {1, 2, 33, 64, 65, 130}) {
            cases.add(extras(DType.F32, length, 16, 16, 0, 0, false, true));
            cases.add(extras(DType.F32, length, 8, 12, 0, 0, false, false));
            cases.add(extras(DType.F32, length, 12, 8, 2, 40, true, true));
        }
        for (int valueDim : new int[] {1, 7, 64, 65, 128, 192, 256}) {
            cases.add(extras(DType.F32, 35, 20, valueDim, 1, 0, false, false));
        }
        cases.add(extras(DType.F32, 35, 320, 8, 0, 0, false, false));
        cases.add(extras(DType.F32, 35, 64, 64, 0, 9, true, true));
        for (DType half : new DType[] {DType.F16, DType.BF16}) {
            cases.add(extras(half, 70, 24, 24, 1.5f, 0, true, false));
            cases.add(extras(half, 70, 24, 24, 0, 17, false, true));
            cases.add(extras(half, 70, 24, 16, 0, 0, false, false));
        }
        cases.add(largeScores());
        cases.add(negativeScale());
        return cases;
    }

    /** wiki-llama-14m (6 heads of 64; windows of 1024, and 512 in calibration), with ALiBi, and TinyLlama's GQA. */
    static List<OpCase> bench() {
        List<OpCase> cases = new ArrayList<>(extraBench());
        cases.addAll(plainBench());
        return cases;
    }

    private static List<OpCase> plainBench() {
        return List.of(bench(2, shape(1024, 6, 6, 64, 0), false), bench(4, shape(512, 6, 6, 64, 0), false),
                bench(2, shape(1024, 6, 6, 64, 0), true), bench(1, shape(512, 32, 4, 64, 0), false),
                bench(1, shape(1024, 8, 8, 128, 0), false), bench(1, shape(2048, 6, 6, 64, 256), false));
    }

    /** gemma-2 9B's cap, gpt-oss's sinks and window, and DeepSeek's wider keys. */
    static List<OpCase> extraBench() {
        return List.of(bench(1, new AttentionShape(1024, 8, 4, 256, 256, 0.0625f, 50, 0), false, false),
                bench(1, new AttentionShape(1024, 16, 2, 64, 64, 0.125f, 0, 128), false, true),
                bench(1, new AttentionShape(1024, 8, 8, 192, 128, 0.07f, 0, 0), false, false));
    }

    private static OpCase bench(int sequences, AttentionShape shape, boolean alibi) {
        return bench(sequences, shape, alibi, false);
    }

    private static OpCase bench(int sequences, AttentionShape shape, boolean alibi, boolean sinks) {
        double pairs = 0;
        for (int i = 0; i < shape.sequenceLength(); i++) {
            pairs += shape.window() == 0 ? i + 1 : Math.min(i + 1, shape.window());
        }
        return attention(DType.F32, "", sequences, shape, alibi, sinks, normal(1), Tolerance.roundings(24))
                .flops(2.0 * sequences * shape.heads() * (shape.headDim() + shape.valueDim()) * pairs);
    }

    private static AttentionShape shape(int length, int heads, int kvHeads, int headDim, int window) {
        return new AttentionShape(length, heads, kvHeads, headDim, (float) (1 / Math.sqrt(headDim)), window);
    }

    private static OpCase attention(int sequences, AttentionShape shape, boolean alibi) {
        return attention(DType.F32, "", sequences, shape, alibi, normal(1), Tolerance.roundings(24));
    }

    /** Caps that are felt, sinks, and values of another width than keys. */
    private static OpCase extras(DType dtype, int length, int headDim, int valueDim, float softcap, int window,
            boolean alibi, boolean sinks) {
        AttentionShape shape = new AttentionShape(length, 4, 2, headDim, valueDim, (float) (1 / Math.sqrt(headDim)),
                softcap, window);
        Tolerance tolerance = dtype == DType.F32
                ? Tolerance.roundings(24)
                : new Tolerance(dtype == DType.F16 ? 0x1p-11 : 0x1p-8);
        return attention(dtype, dtype == DType.F32 ? "" : dtype + " ", 2, shape, alibi, sinks, normal(1.5), tolerance);
    }

    /** Scores of some hundreds: the softmax must subtract their maximum, and one key takes nearly all the weight. */
    private static OpCase largeScores() {
        // A score of 300 in float32 is good to 2e-5, and so is its weight.
        return attention(DType.F32, "large scores ", 1, shape(70, 2, 2, 16, 0), false, normal(9),
                Tolerance.roundings(500));
    }

    private static OpCase negativeScale() {
        return attention(DType.F32, "", 1, new AttentionShape(40, 2, 2, 8, -0.5f, 0), false, normal(1),
                Tolerance.roundings(24));
    }

    /** A device may round the weights of the softmax to the dtype too: half a unit in its last place. */
    private static OpCase halves(DType dtype, AttentionShape shape, boolean alibi) {
        return attention(dtype, dtype + " ", 2, shape, alibi, normal(1),
                new Tolerance(dtype == DType.F16 ? 0x1p-11 : 0x1p-8));
    }

    private static OpCase attention(DType dtype, String note, int sequences, AttentionShape shape, boolean alibi,
            Values values, Tolerance tolerance) {
        return attention(dtype, note, sequences, shape, alibi, false, values, tolerance);
    }

    private static OpCase attention(DType dtype, String note, int sequences, AttentionShape shape, boolean alibi,
            boolean sinks, Values values, Tolerance tolerance) {
        long rows = (long) sequences * shape.sequenceLength();
        long width = (long) shape.heads() * shape.headDim();
        long kvWidth = (long) shape.kvHeads() * shape.headDim();
        String name = note + sequences + " x " + shape.sequenceLength() + ", heads " + shape.heads() + "/"
                + shape.kvHeads() + " of " + shape.headDim() + ", window " + shape.window() + (alibi ? ", ALiBi" : "")
                + extras(shape, sinks);
        return op("attention", name).input("q", dtype, rows, width, values)
                .input("k", dtype, rows, kvWidth, values)
                .input("v", dtype, rows, (long) shape.kvHeads() * shape.valueDim(), normal(1))
                .input("slopes", DType.F32, 1, shape.heads(),
                        Values.byIndex((row, head) -> Math.pow(2, -1 - (int) head)))
                .input("sinks", DType.F32, 1, shape.heads(), normal(2))
                .output("out", DType.F32, rows, (long) shape.heads() * shape.valueDim(), tolerance)
                .call((device, at) -> device.neural().attention(at.get("q"), at.get("k"), at.get("v"),
                        alibi ? at.get("slopes") : null, sinks ? at.get("sinks") : null, shape, at.get("out")));
    }

    /** What is said of a call beside its plain sizes. */
    static String extras(AttentionShape shape, boolean sinks) {
        return (shape.scale() < 0 ? ", negative scale" : "") + (shape.softcap() > 0 ? ", cap " + shape.softcap() : "")
                + (shape.valueDim() == shape.headDim() ? "" : ", values of " + shape.valueDim())
                + (sinks ? ", sinks" : "");
    }
}
