package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.contract.CacheBatch.Sequence;
import dev.optgptq.kernels.ops.CacheShape;
import dev.optgptq.kernels.ops.CacheType;
import dev.optgptq.kernels.ops.FusedOps;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The cases of FusedOps: the edges of their kernels; the ops that they replace have more of their own. */
final class FusedCases {

    private FusedCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (CacheType type : CacheType.values()) {
            for (int headDim : new int[] {16, 64, 128}) {
                cases.add(attend(type, CacheCases.shape(4, 2, headDim, 0), new Sequence(300, 1), new Sequence(7, 1)));
            }
            cases.add(attend(type, new CacheShape(4, 2, 64, 0.2f, 3, 20), new Sequence(33, 1), new Sequence(50, 9)));
            for (RotaryLayout layout : RotaryLayout.values()) {
                cases.add(turnAndAppend(type, 5, 4, 2, 16, 8, layout));
                cases.add(turnAndAppend(type, 1, 1, 1, 7, 3, layout));
                cases.add(turnAndAppend(type, 3, 6, 2, 128, 33, layout));
            }
        }
        return cases;
    }

    private static OpCase attend(CacheType type, CacheShape shape, Sequence... sequences) {
        CacheBatch batch = CacheBatch.apart(sequences);
        DType half = type == CacheType.BF16 ? DType.BF16 : DType.F16;
        return CacheCases.attendOperands(type, shape, true, batch, "and " + half + " " + Arrays.toString(sequences))
                .output("rounded", half, batch.rows(), (long) shape.heads() * shape.headDim(),
                        new Tolerance(half == DType.F16 ? 0x1p-8 : 0x1p-5))
                .call((device, at) -> device.fused().attend(at.get("q"),
                        CacheCases.pages(type, shape.kvHeads(), shape.headDim(), at), CacheCases.rows(batch, at),
                        at.get("slopes"), CacheCases.sinks(shape, at), shape, at.get("out"), at.get("rounded")));
    }

    /** Turned by sines and cosines that make products exact, so that codes are the same bits everywhere. */
    private static OpCase turnAndAppend(CacheType type, int rows, int heads, int kvHeads, int headDim, int pairs,
            RotaryLayout layout) {
        int positions = 50;
        OpCase.Builder builder = op("turnAndAppend", type + " " + rows + " rows, " + heads + "/" + kvHeads
                + " heads of " + headDim + ", " + pairs + " pairs, " + layout)
                .input("cos", DType.F32, positions, pairs, Values.integers(-1, 1))
                .input("sin", DType.F32, positions, pairs, Values.integers(-1, 1))
                .input("positions", DType.I32, 1, rows, Values.integers(0, positions - 1))
                .inPlace("q", DType.F32, rows, (long) heads * headDim, normal(1), Tolerance.EXACT)
                .inPlace("k", DType.F32, rows, (long) kvHeads * headDim, normal(1), Tolerance.EXACT)
                .input("v", DType.F32, rows, (long) kvHeads * headDim, normal(1));
        return CacheCases.filledPages(builder, type, rows, kvHeads, headDim)
                .call((device, at) -> device.fused().turnAndAppend(at.get("q"), at.get("k"), at.get("v"),
                        new FusedOps.Rotation(at.get("cos"), at.get("sin"), at.get("positions"), layout),
                        at.get("slots"), CacheCases.pages(type, kvHeads, headDim, at)));
    }

    /** Llama-2-7B's keys with 8 heads, decoding 7 sequences. */
    static List<OpCase> bench() {
        return List.of(turnAndAppend(CacheType.INT4, 7, 32, 8, 128, 64, RotaryLayout.HALF).bytes(7 * 48 * 128 * 8.0));
    }
}
