package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.GradientOps.Attended;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The cases of GradientOps.attentionGradient: around the tiles of 32 queries and 64 keys, and the head sizes of models. */
final class AttentionGradientCases {

    private AttentionGradientCases() {}

    static List<GradientCase> cases() {
        List<GradientCase> cases = new ArrayList<>();
        for (int length : new int[] {1, 2, 7, 31, 32, 33, 63, 64, 65, 97}) {
            cases.add(attention(2, shape(length, 2, 2, 4, 0), false));
            cases.add(attention(1, shape(length, 3, 1, 8, 0), true));
        }
        for (int headDim : new int[] {1, 3, 8, 15, 17, 20, 31, 33, 64, 80, 128, 129, 192, 256}) {
            cases.add(attention(1, shape(35, 2, 1, headDim, 0), false));
        }
        for (int window : new int[] {1, 2, 31, 32, 33, 64, 70, 129, 200}) {
            cases.add(attention(1, shape(130, 2, 2, 4, window), false));
            cases.add(attention(2, shape(67, 4, 2, 4, window), true));
        }
        cases.add(attention(3, shape(5, 8, 2, 16, 0), true));
        cases.add(attention(0, shape(4, 2, 2, 8, 0), false));
        cases.add(attention(1, new AttentionShape(40, 2, 2, 8, -0.5f, 0), false));
        for (int length : new int[] {1, 2, 33, 64, 65}) {
            cases.add(extras(length, 2, 8, 8, 0, 0, false, true));
            cases.add(extras(length, 1, 4, 7, 0, 0, false, false));
            cases.add(extras(length, 2, 6, 4, 2, 40, true, true));
        }
        for (int valueDim : new int[] {1, 31, 64, 65, 128, 200}) {
            cases.add(extras(35, 1, 20, valueDim, 1, 0, false, false));
        }
        cases.add(extras(35, 2, 140, 8, 0, 0, false, true));
        return cases;
    }

    /** wiki-llama-14m, with ALiBi, TinyLlama's GQA and a window; 5 matmuls are counted, where the forward op has 2. */
    static List<OpCase> bench() {
        return List.of(bench(4, shape(512, 6, 6, 64, 0), false), bench(2, shape(1024, 6, 6, 64, 0), true),
                bench(1, shape(512, 32, 4, 64, 0), false), bench(1, shape(1024, 8, 8, 128, 0), false),
                bench(1, shape(2048, 6, 6, 64, 256), false));
    }

    private static OpCase bench(int sequences, AttentionShape shape, boolean alibi) {
        double pairs = 0;
        for (int i = 0; i < shape.sequenceLength(); i++) {
            pairs += shape.window() == 0 ? i + 1 : Math.min(i + 1, shape.window());
        }
        return attention(sequences, shape, alibi).backward()
                .flops(10.0 * sequences * shape.heads() * shape.headDim() * pairs);
    }

    private static AttentionShape shape(int length, int heads, int kvHeads, int headDim, int window) {
        return new AttentionShape(length, heads, kvHeads, headDim, (float) (1 / Math.sqrt(headDim)), window);
    }

    private static GradientCase extras(int length, int kvHeads, int headDim, int valueDim, float softcap, int window,
            boolean alibi, boolean sinks) {
        return attention(2, new AttentionShape(length, 2, kvHeads, headDim, valueDim,
                (float) (1 / Math.sqrt(headDim)), softcap, window), alibi, sinks);
    }

    private static GradientCase attention(int sequences, AttentionShape shape, boolean alibi) {
        return attention(sequences, shape, alibi, false);
    }

    /** The forward op runs first: its output is among what the gradient needs. */
    private static GradientCase attention(int sequences, AttentionShape shape, boolean alibi, boolean sinks) {
        long rows = (long) sequences * shape.sequenceLength();
        long width = (long) shape.heads() * shape.headDim();
        long kvWidth = (long) shape.kvHeads() * shape.headDim();
        long outWidth = (long) shape.heads() * shape.valueDim();
        long valueWidth = (long) shape.kvHeads() * shape.valueDim();
        String name = sequences + " x " + shape.sequenceLength() + ", heads " + shape.heads() + "/" + shape.kvHeads()
                + " of " + shape.headDim() + ", window " + shape.window() + (alibi ? ", ALiBi" : "")
                + AttentionCases.extras(shape, sinks);
        // A query that sees one key has no gradient: two equal products cancel.
        Tolerance tolerance = Tolerance.sum(shape.sequenceLength() + 64L).ofTerms(1);
        OpCase backward = op("attentionGradient", name).input("q", DType.F32, rows, width, Values.grid(1))
                .input("k", DType.F32, rows, kvWidth, Values.grid(1))
                .input("v", DType.F32, rows, valueWidth, Values.grid(1))
                .input("dOut", DType.F32, rows, outWidth, normal(1))
                .input("slopes", DType.F32, 1, shape.heads(),
                        Values.byIndex((row, head) -> Math.pow(2, -1 - (int) head)))
                .input("sinks", DType.F32, 1, shape.heads(), Values.grid(1))
                .inPlace("dSinks", DType.F32, 1, shape.heads(), normal(1), Tolerance.sum(rows + 64).ofTerms(1))
                .output("out", DType.F32, rows, outWidth, Tolerance.roundings(24))
                .output("dq", DType.F32, rows, width, tolerance).output("dk", DType.F32, rows, kvWidth, tolerance)
                .output("dv", DType.F32, rows, valueWidth, tolerance).call((device, at) -> {
                    Tensor slopes = alibi ? at.get("slopes") : null;
                    Tensor sink = sinks ? at.get("sinks") : null;
                    device.neural().attention(at.get("q"), at.get("k"), at.get("v"), slopes, sink, shape,
                            at.get("out"));
                    device.gradient().attentionGradient(
                            new Attended(at.get("q"), at.get("k"), at.get("v"), slopes, sink, shape, at.get("out")),
                            at.get("dOut"), at.get("dq"), at.get("dk"), at.get("dv"),
                            sinks ? at.get("dSinks") : null);
                });
        return new GradientCase(backward, (device, arena, at) -> {
            Tensor out = arena.matrix(DType.F32, rows, outWidth);
            device.neural().attention(at.get("q"), at.get("k"), at.get("v"), alibi ? at.get("slopes") : null,
                    sinks ? at.get("sinks") : null, shape, out);
            return out;
        }, "dOut", sinks
                ? Map.of("q", "dq", "k", "dk", "v", "dv", "sinks", "dSinks")
                : Map.of("q", "dq", "k", "dk", "v", "dv"));
    }
}
