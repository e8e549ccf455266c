package dev.optgptq.calibrate.generate;

import dev.optgptq.kernels.HostVectors;
import dev.optgptq.calibrate.family.EmbeddingSpec;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.TokenContext;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.EmbeddingWeights;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** A model with all its weights on a device, beside a pool of pages: computes new tokens of sequences. */
public final class PagedModel {

    private final Transformer model;
    private final PageLimits limits;
    private final EmbeddingWeights embedding;
    private final int firstPosition;
    private final Head head;
    private final List<BlockWeights> blocks = new ArrayList<>();
    private final List<CachePages> pages;
    private final Transformer.Workspace workspace;
    private final Tensor x;
    private final Tensor last;
    private final Tensor normed;
    private final Tensor logits;
    private final Tensor chosen;
    private final Tensor integers;
    private final MemorySegment hostIntegers;
    private final RecordedSteps steps;
    /** Which experts are computed is decided on the host, in the middle of a step. */
    private final boolean recordable;

    private PagedModel(Transformer model, PageLimits limits, TensorArena arena, Arena host,
            RecordedSteps steps) {
        ModelSpec spec = model.spec();
        this.model = model;
        this.limits = limits;
        this.embedding = model.loadEmbedding(arena);
        EmbeddingSpec.Positions learned = spec.embedding().positions();
        this.firstPosition = learned == null ? 0 : learned.offset();
        for (int block = 0; block < spec.blocks(); block++) {
            blocks.add(model.loadBlock(block, arena));
        }
        this.head = model.loadHead(arena);
        this.pages = limits.allocate(spec, arena);
        this.workspace = model.paged().workspace(arena, limits.rows(), limits.positions());
        this.x = arena.matrix(DType.F32, limits.rows(), spec.hiddenSize());
        this.last = arena.matrix(DType.F32, limits.sequences(), spec.hiddenSize());
        this.normed = arena.matrix(DType.F32, limits.logitsRows(), spec.hiddenSize());
        this.logits = arena.matrix(DType.F32, limits.logitsRows(), spec.vocabSize());
        this.chosen = arena.vector(DType.I32, limits.sequences());
        this.integers = arena.vector(DType.I32, limits.integers());
        this.hostIntegers = host.allocate(ValueLayout.JAVA_INT, limits.integers());
        this.steps = steps;
        this.recordable = spec.blockSpecs().stream()
                .noneMatch(block -> block.feedForward() instanceof FeedForward.Experts);
    }

    /**
     * Loads a model to its device, with a pool of pages, until it is closed. UserError MEMORY where it does not fit.
     */
    public static <T> T use(Transformer model, PageLimits limits, Function<PagedModel, T> use) {
        try (TensorArena arena = model.device().arena();
                Arena host = Arena.ofShared();
                RecordedSteps steps = new RecordedSteps(model.device())) {
            T result = use.apply(new PagedModel(model, limits, arena, host, steps));
            model.device().synchronize();
            return result;
        }
    }

    /**
     * New tokens of one sequence: those at positions [from, to), which have their places.
     *
     * @param tokens of the sequence, from its first; those from {@code to} on are not read
     */
    record Part(int[] tokens, int from, int to, PageTable.Pages pages) {

        int rows() {
            return to - from;
        }
    }

    public ModelSpec spec() {
        return model.spec();
    }

    PageLimits limits() {
        return limits;
    }

    Device device() {
        return model.device();
    }

    List<CachePages> pages() {
        return pages;
    }

    List<BlockWeights> blocks() {
        return blocks;
    }

    /** Device memory of the embedding, of which a step reads almost nothing. */
    long embeddingBytes() {
        return EmbeddingWeights.bytes(model.spec());
    }

    void copyPage(PageTable.Copy copy) {
        pages.forEach(block -> block.copyPage(copy.from(), copy.to(), device()));
    }

    /** Computes the parts' tokens; their keys and values are stored. At most rows() of them, of at most sequences() sequences. */
    void compute(List<Part> parts) {
        int rows = parts.stream().mapToInt(Part::rows).sum();
        Layout layout = Layout.of(parts, rows, PageTable.pagesFor(limits.positions()));
        fill(parts, layout);
        device().upload(hostIntegers.asSlice(0, (long) layout.total() * Integer.BYTES),
                integers.columns(0, layout.total()));
        if (layout.decodes() && recordable) {
            steps.run(layout, () -> compute(layout));
        } else {
            compute(layout);
        }
    }

    private void compute(Layout layout) {
        int rows = layout.rows();
        int count = layout.sequences();
        CacheRows cacheRows = new CacheRows(
                Tensor.dense(DType.I32, count, layout.width(),
                        integers.columns(layout.table(), (long) count * layout.width()).memory()),
                integers.columns(layout.lengths(), count), integers.columns(layout.starts(), count + 1L),
                layout.mostRows());
        TokenContext sequences = model.paged().sequences(workspace, pages, cacheRows,
                integers.columns(layout.positions(), rows), integers.columns(layout.slots(), rows));
        Tensor stream = x.rows(0, rows);
        model.paged().embed(embedding, integers.columns(0, rows), integers.columns(layout.positionRows(), rows),
                stream);
        for (BlockWeights block : blocks) {
            model.forward(block, stream, workspace, sequences, InputTap.NONE);
        }
        if (rows > count) {
            device().matrix().gatherRows(stream, integers.columns(layout.lastRows(), count), last.rows(0, count));
        } else {
            device().matrix().copy(stream, last.rows(0, count));
        }
    }

    /** Where the integers of a batch lie: ids first. */
    private record Layout(int rows, int sequences, int mostRows, int width) {

        /** Pages by which the table grows, so that steps of the same layout follow each other. */
        private static final int GROWTH = 64;

        /** @param most pages of a sequence */
        static Layout of(List<Part> parts, int rows, int most) {
            int needed = parts.stream().mapToInt(part -> PageTable.pagesFor(part.to())).max().orElse(0);
            return new Layout(rows, parts.size(), parts.stream().mapToInt(Part::rows).max().orElse(0),
                    Math.min(most, Math.ceilDiv(needed, GROWTH) * GROWTH));
        }

        /** One token of each sequence. */
        boolean decodes() {
            return rows == sequences && mostRows == 1;
        }

        int positions() {
            return rows;
        }

        int slots() {
            return 2 * rows;
        }

        int positionRows() {
            return 3 * rows;
        }

        int lengths() {
            return 4 * rows;
        }

        int lastRows() {
            return lengths() + sequences;
        }

        int starts() {
            return lastRows() + sequences;
        }

        int table() {
            return starts() + sequences + 1;
        }

        int total() {
            return table() + sequences * width;
        }
    }

    private void fill(List<Part> parts, Layout layout) {
        int row = 0;
        for (int s = 0; s < parts.size(); s++) {
            Part part = parts.get(s);
            put(layout.starts() + s, row);
            put(layout.lengths() + s, part.to());
            for (int i = part.from(); i < part.to(); i++, row++) {
                put(row, part.tokens()[i]);
                put(layout.positions() + row, i);
                put(layout.positionRows() + row, firstPosition + i);
                put(layout.slots() + row, part.pages().slot(i));
            }
            put(layout.lastRows() + s, row - 1);
            part.pages().copyTo(hostIntegers, layout.table() + s * layout.width(), layout.width());
        }
        put(layout.starts() + parts.size(), row);
    }

    private void put(int index, int value) {
        hostIntegers.setAtIndex(ValueLayout.JAVA_INT, index, value);
    }

    /** Logits F32 [parts, vocabulary] of each part's last token, after compute(); valid until the next call. */
    Tensor lastLogits(int parts) {
        return logits(last.rows(0, parts));
    }

    /** Of some of the rows that compute() had, at most logitsRows(). */
    Tensor rowLogits(int from, int count) {
        return logits(x.rows(from, count));
    }

    private Tensor logits(Tensor stream) {
        Tensor found = logits.rows(0, stream.rows());
        model.logits(head, stream, normed.rows(0, stream.rows()), found);
        return found;
    }

    /** The likeliest tokens; -1 where logits are not finite. */
    int[] likeliest(Tensor found) {
        Tensor ids = chosen.columns(0, found.rows());
        device().cache().argmax(found, ids);
        return HostVectors.ints(device(), ids);
    }

    float[] download(Tensor row) {
        return HostVectors.floats(device(), row);
    }
}
