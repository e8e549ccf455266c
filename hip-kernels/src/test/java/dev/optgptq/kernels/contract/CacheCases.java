package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.contract.CacheBatch.Sequence;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import dev.optgptq.kernels.ops.CacheShape;
import dev.optgptq.kernels.ops.CacheType;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The cases of CacheOps: one token and many, the edges of pages, forks, groups of 1 to 16 heads, every type of cache. */
final class CacheCases {

    private CacheCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (CacheType type : CacheType.values()) {
            appends(type, cases);
            attends(type, cases);
        }
        for (RotaryLayout layout : RotaryLayout.values()) {
            for (int pairs : new int[] {1, 4, 9, 16, 33}) {
                cases.add(rotary(7, 3, 2 * pairs + pairs % 2, pairs, layout));
            }
        }
        for (int vocabulary : new int[] {1, 2, 15, 16, 17, 255, 256, 257, 5000}) {
            cases.add(argmax("", 3, vocabulary, normal(1)));
        }
        cases.add(argmax("of equal ones ", 4, 700, Values.integers(-3, 3)));
        cases.add(argmax("with NaN ", 5, 300,
                Values.byIndex((row, c) -> row == 1 && c == 200
                        ? Double.NaN
                        : row == 3 && c == 7
                                ? Double.POSITIVE_INFINITY
                                : -c)));
        cases.add(argmax("without rows ", 0, 16, normal(1)));
        return cases;
    }

    private static void appends(CacheType type, List<OpCase> cases) {
        for (int headDim : new int[] {1, 2, 7, 8, 15, 16, 33, 64, 80, 128}) {
            cases.add(append(type, "", 5, 2, headDim, normal(2)));
        }
        cases.add(append(type, "", 1, 1, 16, normal(1)));
        cases.add(append(type, "", 40, 3, 24, normal(1)));
        cases.add(append(type, "constant ", 3, 2, 16, Values.constant(1.7)));
        cases.add(append(type, "tiny ", 3, 2, 16, normal(1e-7)));
        cases.add(append(type, "without rows ", 0, 2, 16, normal(1)));
        if (type != CacheType.F16) {
            cases.add(append(type, "beyond F16 ", 3, 2, 16, normal(1e6)));
        }
    }

    private static void attends(CacheType type, List<OpCase> cases) {
        for (int length : new int[] {1, 2, 15, 16, 17, 31, 32, 33, 100, 255, 256, 257, 530}) {
            cases.add(attend(type, shape(4, 2, 16, 0), length % 2 == 0, new Sequence(length, 1)));
        }
        for (int group : new int[] {1, 2, 3, 4, 5, 7, 8, 12, 16}) {
            cases.add(attend(type, shape(2 * group, 2, 16, 0), group == 8, new Sequence(45, 1), new Sequence(20, 3)));
        }
        for (int headDim : new int[] {1, 3, 8, 15, 20, 64, 72, 80, 128}) {
            cases.add(attend(type, shape(4, 1, headDim, 0), false, new Sequence(37, 2)));
        }
        for (int window : new int[] {1, 2, 15, 16, 17, 40}) {
            cases.add(attend(type, shape(2, 2, 8, window), window == 17, new Sequence(70, 3), new Sequence(300, 1)));
        }
        // A prompt in one go, its second part, and one that decodes beside them.
        cases.add(attend(type, shape(4, 2, 32, 0), true, new Sequence(40, 40), new Sequence(81, 50),
                new Sequence(17, 1)));
        cases.add(attend(type, shape(4, 2, 32, 0), false, new Sequence(130, 130), new Sequence(1, 1)));
        // Sequences without rows wait for their turn; others share their first pages.
        cases.add(attend(type, shape(4, 2, 16, 0), false, new Sequence(33, 0), new Sequence(21, 1)));
        for (int headDim : new int[] {16, 64, 128}) {
            cases.add(attend(type, new CacheShape(4, 2, headDim, 0.3f, 2.5f, 0), headDim == 16, new Sequence(300, 1),
                    new Sequence(20, 5)));
        }
        for (int headDim : new int[] {64, 128}) {
            for (int length : new int[] {1, 15, 17, 530}) {
                cases.add(attend(type, shape(8, 2, headDim, 0), length == 17, new Sequence(length, 1)));
                cases.add(attend(type, shape(4, 4, headDim, 20), length == 15,
                        new Sequence(length, Math.min(3, length))));
            }
        }
        cases.add(attendForked(type));
        cases.add(attend(type, shape(2, 1, 16, 0), false));
    }

    static CacheShape shape(int heads, int kvHeads, int headDim, int window) {
        return new CacheShape(heads, kvHeads, headDim, (float) (1 / Math.sqrt(headDim)), 0, window);
    }

    private static OpCase attend(CacheType type, CacheShape shape, boolean alibi, Sequence... sequences) {
        return attend(type, shape, alibi, CacheBatch.apart(sequences), Arrays.toString(sequences));
    }

    private static OpCase attendForked(CacheType type) {
        return attend(type, shape(4, 2, 16, 0), true,
                CacheBatch.forked(2, new Sequence(40, 1), new Sequence(36, 4), new Sequence(33, 1)),
                "forks with 2 pages in common");
    }

    private static OpCase attend(CacheType type, CacheShape shape, boolean alibi, CacheBatch batch, String note) {
        return attendOperands(type, shape, alibi, batch, note).call((device, at) -> device.cache().attend(at.get("q"),
                pages(type, shape.kvHeads(), shape.headDim(), at), rows(batch, at), alibi ? at.get("slopes") : null,
                sinks(shape, at), shape, at.get("out")));
    }

    static CacheRows rows(CacheBatch batch, OpCase.Operands at) {
        return new CacheRows(at.get("table"), at.get("lengths"), at.get("starts"), batch.mostRows());
    }

    /** As in models: those that cap scores, and those that have sinks, do both here. */
    static @Nullable Tensor sinks(CacheShape shape, OpCase.Operands at) {
        return shape.softcap() > 0 ? at.get("sinks") : null;
    }

    static OpCase.Builder attendOperands(CacheType type, CacheShape shape, boolean alibi, CacheBatch batch,
            String note) {
        Tolerance tolerance = switch (type) {
            case F32 -> Tolerance.roundings(24);
            // Queries and weights may be rounded to fp16/bf16.
            case F16, INT8, INT4 -> new Tolerance(0x1p-9);
            case BF16 -> new Tolerance(0x1p-6);
        };
        OpCase.Builder builder = op("attend", type + " " + note + ", heads " + shape.heads() + "/" + shape.kvHeads()
                + " of " + shape.headDim() + ", window " + shape.window() + (alibi ? ", ALiBi" : "")
                + (shape.softcap() > 0 ? ", softcap " + shape.softcap() + " and sinks" : ""))
                .input("q", DType.F32, batch.rows(), (long) shape.heads() * shape.headDim(), normal(1))
                .input("table", DType.I32, batch.sequences(), batch.tableColumns(), Values.byIndex(batch::page))
                .input("lengths", DType.I32, 1, batch.sequences(), Values.byIndex((row, s) -> batch.length(s)))
                .input("starts", DType.I32, 1, batch.sequences() + 1, Values.byIndex((row, s) -> batch.start(s)))
                .input("slopes", DType.F32, 1, shape.heads(), Values.byIndex((row, h) -> Math.pow(2, -1 - (int) h)))
                .input("sinks", DType.F32, 1, shape.heads(), Values.uniform(-2, 3))
                .output("out", DType.F32, batch.rows(), (long) shape.heads() * shape.headDim(), tolerance);
        inputPages(builder, type, batch.pages(), shape);
        return builder;
    }

    private static void inputPages(OpCase.Builder builder, CacheType type, long pages, CacheShape shape) {
        long rows = pages * shape.kvHeads();
        long columns = (long) CachePages.TOKENS * type.width(shape.headDim());
        Values values = type.isQuantized() ? Values.integers(0, 255) : normal(1);
        builder.input("keys", type.dtype(), rows, columns, values).input("values", type.dtype(), rows, columns, values);
        if (type.isQuantized()) {
            // Scales so that values are about normal.
            double scale = 4.0 / type.maxCode();
            Values grids = Values.byIndex((row, c) -> c % 2 == 0 ? scale * (1 + c % 7 / 8.0) : -2 - c % 5 / 4.0);
            long grid = (long) CachePages.TOKENS * CacheType.GRID;
            builder.input("keyGrids", DType.F16, rows, grid, grids).input("valueGrids", DType.F16, rows, grid, grids);
        }
    }

    private static OpCase append(CacheType type, String note, int rows, int kvHeads, int headDim, Values values) {
        OpCase.Builder builder = op("append",
                type + " " + note + rows + " rows, " + kvHeads + " heads of " + headDim)
                .input("k", DType.F32, rows, (long) kvHeads * headDim, values)
                .input("v", DType.F32, rows, (long) kvHeads * headDim, values);
        return filledPages(builder, type, rows, kvHeads, headDim).call((device, at) -> device.cache()
                .append(at.get("k"), at.get("v"), at.get("slots"), pages(type, kvHeads, headDim, at)));
    }

    /** Pages that rows are appended to, and where: from the middle of a page on, with one row that is not stored. */
    static OpCase.Builder filledPages(OpCase.Builder builder, CacheType type, int rows, int kvHeads, int headDim) {
        long pages = Math.ceilDiv(rows, CachePages.TOKENS) + 2L;
        long columns = (long) CachePages.TOKENS * type.width(headDim);
        long grid = (long) CachePages.TOKENS * CacheType.GRID;
        Values before = type.isQuantized() ? Values.integers(0, 255) : normal(1);
        Values slots = Values.byIndex((row, r) -> rows > 2 && r == 1 ? -1 : 9 + r);
        builder.input("slots", DType.I32, 1, rows, slots)
                .inPlace("keys", type.dtype(), pages * kvHeads, columns, before, Tolerance.EXACT)
                .inPlace("values", type.dtype(), pages * kvHeads, columns, before, Tolerance.EXACT);
        if (type.isQuantized()) {
            builder.inPlace("keyGrids", DType.F16, pages * kvHeads, grid, normal(1), Tolerance.EXACT)
                    .inPlace("valueGrids", DType.F16, pages * kvHeads, grid, normal(1), Tolerance.EXACT);
        }
        return builder;
    }

    static CachePages pages(CacheType type, int kvHeads, int headDim, OpCase.Operands at) {
        boolean codes = type.isQuantized();
        return new CachePages(type, kvHeads, headDim, at.get("keys"), at.get("values"),
                codes ? at.get("keyGrids") : null, codes ? at.get("valueGrids") : null);
    }

    private static OpCase rotary(int rows, int heads, int headDim, int pairs, RotaryLayout layout) {
        int positions = 50;
        return op("rotaryAt", rows + " rows, " + heads + " heads of " + headDim + ", " + pairs + " pairs, " + layout)
                .input("cos", DType.F32, positions, pairs, Values.uniform(-1, 1))
                .input("sin", DType.F32, positions, pairs, Values.uniform(-1, 1))
                .input("positions", DType.I32, 1, rows, Values.integers(0, positions - 1))
                .inPlace("x", DType.F32, rows, (long) heads * headDim, normal(1), Tolerance.roundings(4))
                .call((device, at) -> device.cache().rotaryAt(at.get("x"), headDim, at.get("cos"), at.get("sin"),
                        at.get("positions"), layout));
    }

    private static OpCase argmax(String note, int rows, int vocabulary, Values values) {
        return op("argmax", note + "[" + rows + ", " + vocabulary + "]")
                .input("logits", DType.F32, rows, vocabulary, values)
                .output("ids", DType.I32, 1, rows, Tolerance.EXACT)
                .call((device, at) -> device.cache().argmax(at.get("logits"), at.get("ids")));
    }

    /** Llama-2-7B's heads as they are and as Opt-GQA, decoding at 4096 tokens; and what comes around it. */
    static List<OpCase> bench() {
        List<OpCase> cases = new ArrayList<>();
        for (CacheType type : List.of(CacheType.F16, CacheType.INT8, CacheType.INT4)) {
            cases.add(benchAttend(type, shape(32, 8, 128, 0), 1, 4096));
            cases.add(benchAttend(type, shape(32, 8, 128, 0), 16, 4096));
        }
        cases.add(benchAttend(CacheType.F16, shape(32, 32, 128, 0), 1, 4096));
        cases.add(append(CacheType.F16, "", 64, 8, 128, normal(1)).bytes(64 * 8 * 128 * 12.0));
        cases.add(append(CacheType.INT4, "", 64, 8, 128, normal(1)).bytes(64 * 8 * 128 * 9.0));
        cases.add(rotary(64, 32, 128, 64, RotaryLayout.HALF).bytes(64 * 32 * 128 * 8.0));
        cases.add(argmax("", 16, 32000, normal(1)).bytes(16 * 32000 * 4.0));
        return cases;
    }

    private static OpCase benchAttend(CacheType type, CacheShape shape, int sequences, int length) {
        Sequence[] batch = new Sequence[sequences];
        Arrays.fill(batch, new Sequence(length, 1));
        return attend(type, shape, false, CacheBatch.apart(batch), sequences + " x " + length)
                .bytes((double) sequences * length * shape.kvHeads() * type.bytesPerHead(shape.headDim()));
    }
}
