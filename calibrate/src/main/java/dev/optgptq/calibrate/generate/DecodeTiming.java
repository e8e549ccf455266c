package dev.optgptq.calibrate.generate;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.LinearWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import dev.optgptq.kernels.ops.CacheShape;
import dev.optgptq.kernels.ops.CacheType;
import dev.optgptq.kernels.ops.MatrixOps.Product;
import dev.optgptq.kernels.ops.QuantOps.PackedProduct;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Collectors;

/**
 * Times decoding with a cache full of random keys and values up to a context: the engine that answers prompts,
 * without the prompts.
 *
 * @param step seconds of a step of the whole batch, the median
 * @param attention seconds of a step's attention alone, all blocks one after the other
 * @param linears seconds of the blocks' linears alone
 * @param prefill seconds that the prompt takes to its first token
 * @param cacheBytes of keys and values that a step reads
 * @param weightBytes that a step reads: blocks and head
 * @param peakBytes on the device
 */
public record DecodeTiming(double step, double attention, double linears, double prefill, long cacheBytes,
        long weightBytes, long peakBytes) {

    private static final int WARM_UP = 4;
    private static final int FILL_ROWS = 4096;

    /**
     * Parameters of a measurement.
     *
     * @param batch sequences
     * @param context tokens of each before the first step
     * @param steps measured
     * @param prompt tokens of the prompt that is computed
     */
    public record Work(CacheType cache, int batch, int context, int steps, int prompt) {

        int length() {
            return context + WARM_UP + steps;
        }

        PageLimits limits() {
            int pages = batch * PageTable.pagesFor(length()) + PageTable.pagesFor(prompt);
            return new PageLimits(cache, pages, batch, Math.max(batch, Math.min(prompt, 2048)),
                    Math.max(length(), prompt), batch);
        }
    }

    /** Measures a model; UserError MEMORY where it does not fit. */
    public static DecodeTiming measure(Transformer model, Work work) {
        return PagedModel.use(model, work.limits(), paged -> new Run(model, paged, work).measure());
    }

    /** One measurement. */
    private static final class Run {
        private final Transformer transformer;
        private final PagedModel model;
        private final Work work;
        private final Device device;
        private final List<PageTable.Pages> sequences = new ArrayList<>();
        private final PageTable table;
        private final int[] tokens;

        Run(Transformer transformer, PagedModel model, Work work) {
            this.transformer = transformer;
            this.model = model;
            this.work = work;
            this.device = model.device();
            this.table = new PageTable(model.limits().pages());
            this.tokens = new SplittableRandom(1)
                    .ints(Math.max(work.length(), work.prompt()), 0, model.spec().vocabSize()).toArray();
        }

        DecodeTiming measure() {
            double prefill = prefill();
            for (int i = 0; i < work.batch(); i++) {
                PageTable.Pages pages = new PageTable.Pages();
                table.grow(pages, work.length());
                sequences.add(pages);
            }
            fill();
            double step = steps();
            return new DecodeTiming(step, attention(), linears(), prefill, cacheBytes(),
                    ModelMemory.weightBytes(transformer) - embeddingBytes(), device.peakMemory());
        }

        private long embeddingBytes() {
            return model.embeddingBytes();
        }

        private long cacheBytes() {
            return work.batch() * (long) work.context() * PageLimits.bytesPerPage(model.spec(), work.cache())
                    / CachePages.TOKENS;
        }

        /** Twice, as the first one compiles kernels. */
        private double prefill() {
            double seconds = 0;
            for (int round = 0; round < 2; round++) {
                PageTable.Pages pages = new PageTable.Pages();
                table.grow(pages, work.prompt());
                device.synchronize();
                long start = System.nanoTime();
                for (int from = 0; from < work.prompt();) {
                    int to = Math.min(work.prompt(), from + model.limits().rows());
                    model.compute(List.of(new PagedModel.Part(tokens, from, to, pages)));
                    from = to;
                }
                model.likeliest(model.lastLogits(1));
                seconds = (System.nanoTime() - start) * 1e-9;
                table.close(pages);
            }
            return seconds;
        }

        private double steps() {
            double[] times = new double[work.steps()];
            for (int i = -WARM_UP; i < work.steps(); i++) {
                int at = work.context() + WARM_UP + i;
                List<PagedModel.Part> parts = sequences.stream()
                        .map(pages -> new PagedModel.Part(tokens, at, at + 1, pages)).toList();
                long start = System.nanoTime();
                model.compute(parts);
                model.likeliest(model.lastLogits(work.batch()));
                if (i >= 0) {
                    times[i] = (System.nanoTime() - start) * 1e-9;
                }
            }
            Arrays.sort(times);
            return times[times.length / 2];
        }

        /** Random keys and values for every token of the context. */
        private void fill() {
            try (TensorArena arena = device.arena(); Arena host = Arena.ofShared()) {
                for (CachePages pages : model.pages()) {
                    int width = pages.kvHeads() * pages.headDim();
                    Tensor values = random(FILL_ROWS, width, arena, host);
                    Tensor slots = arena.vector(DType.I32, FILL_ROWS);
                    MemorySegment places = host.allocate(ValueLayout.JAVA_INT, FILL_ROWS);
                    for (PageTable.Pages sequence : sequences) {
                        for (int from = 0; from < work.context(); from += FILL_ROWS) {
                            int count = Math.min(FILL_ROWS, work.context() - from);
                            for (int i = 0; i < count; i++) {
                                places.setAtIndex(ValueLayout.JAVA_INT, i, sequence.slot(from + i));
                            }
                            device.upload(places.asSlice(0, (long) count * Integer.BYTES), slots.columns(0, count));
                            device.cache().append(values.rows(0, count), values.rows(0, count),
                                    slots.columns(0, count), pages);
                        }
                    }
                    device.synchronize();
                }
            }
        }

        private Tensor random(long rows, long columns, TensorArena arena, Arena host) {
            Tensor target = arena.matrix(DType.F32, rows, columns);
            MemorySegment values = host.allocate(ValueLayout.JAVA_FLOAT, rows * columns);
            SplittableRandom random = new SplittableRandom(7);
            for (long i = 0; i < rows * columns; i++) {
                values.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextDouble(-1, 1));
            }
            device.upload(values, target);
            device.synchronize();
            return target;
        }

        private double attention() {
            try (TensorArena arena = device.arena(); Arena host = Arena.ofShared()) {
                int width = PageTable.pagesFor(work.context());
                int[] lengths = new int[work.batch()];
                Arrays.fill(lengths, work.context());
                int[] starts = new int[work.batch() + 1];
                Arrays.setAll(starts, i -> i);
                int[] pages = new int[work.batch() * width];
                Arrays.setAll(pages, i -> sequences.get(i / width).page(i % width));
                CacheRows rows = new CacheRows(upload(pages, work.batch(), arena, host),
                        upload(lengths, 1, arena, host), upload(starts, 1, arena, host), 1);
                BlockSpec block = model.spec().block(0);
                Mixer.Attention form = (Mixer.Attention) block.mixer();
                Tensor q = random(work.batch(), form.queryWidth(), arena, host);
                Tensor out = arena.matrix(DType.F32, work.batch(), form.queryWidth());
                CacheShape shape = new CacheShape(form.heads(), form.kvHeads(), form.headDim(), form.scale(),
                        form.softcap(), form.window());
                return median(() -> model.pages()
                        .forEach(each -> device.cache().attend(q, each, rows, null, null, shape, out)));
            }
        }

        private Tensor upload(int[] values, int rows, TensorArena arena, Arena host) {
            Tensor target = arena.matrix(DType.I32, rows, values.length / rows);
            device.upload(host.allocateFrom(ValueLayout.JAVA_INT, values), target);
            device.synchronize();
            return target;
        }

        private double linears() {
            try (TensorArena arena = device.arena(); Arena host = Arena.ofShared()) {
                int widest = model.spec().widestInput();
                Tensor x = random(work.batch(), widest, arena, host);
                Tensor factor = arena.matrix(transformer.products(), work.batch(), widest);
                device.neural().convert(x, factor);
                int outputs = model.spec().blockSpecs().stream()
                        .mapToInt(block -> block.linears().stream().mapToInt(LinearSpec::outputs).sum()).max()
                        .orElse(0);
                Tensor y = arena.matrix(DType.F32, work.batch(), outputs);
                return median(() -> model.blocks().forEach(block -> bySite(block)
                        .forEach(linears -> multiply(block, linears, factor, y))));
            }
        }

        /** Linears with the same inputs, together. */
        private static Collection<List<LinearSpec>> bySite(BlockWeights block) {
            return block.linears().stream()
                    .collect(Collectors.groupingBy(LinearSpec::site, LinkedHashMap::new, Collectors.toList())).values();
        }

        private void multiply(BlockWeights block, List<LinearSpec> linears, Tensor factor, Tensor y) {
            Tensor x = factor.columns(0, linears.getFirst().inputs());
            List<PackedProduct> packed = new ArrayList<>();
            List<Product> dense = new ArrayList<>();
            int column = 0;
            for (LinearSpec linear : linears) {
                Tensor target = y.columns(column, linear.outputs());
                column += linear.outputs();
                switch (block.of(linear)) {
                    case LinearWeights.Dense own -> dense.add(new Product(own.weight(), null, target));
                    case LinearWeights.Packed own -> packed.add(new PackedProduct(own.packed(), null, target));
                }
            }
            if (!packed.isEmpty()) {
                device.quant().linearsPacked(packed, x);
            }
            if (!dense.isEmpty()) {
                device.matrix().linears(dense, x);
            }
        }

        /** Recorded, as in a step. */
        private double median(Runnable work) {
            double[] times = new double[7];
            work.run();
            try (Device.Recording recording = device.record(work)) {
                for (int i = 0; i < times.length; i++) {
                    device.synchronize();
                    long start = System.nanoTime();
                    recording.replay();
                    device.synchronize();
                    times[i] = (System.nanoTime() - start) * 1e-9;
                }
            }
            Arrays.sort(times);
            return times[times.length / 2];
        }
    }
}
