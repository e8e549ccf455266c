package dev.optgptq.calibrate.generate;

import dev.optgptq.kernels.HostVectors;
import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.CacheType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * Perplexity through the cache: each window's tokens are computed in parts, as a long prompt is, and every part reads
 * the keys and values of those before it from the cache. The difference to perplexity without a cache is the loss of a
 * smaller cache type.
 */
public final class CachedPerplexity {

    /** Tokens of a part: some are read back from pages by all later ones, most of them many times. */
    private static final int ROWS = 128;

    private CachedPerplexity() {}

    /**
     * Evaluates a model, decoded to float32. UserError as Perplexity.evaluate, UNSUPPORTED_MODEL where a block has no keys and
     * values, and MEMORY where the whole model does not fit.
     */
    public static Perplexity evaluate(Transformer model, CacheType cache, TokenSequences text, Progress progress) {
        if (text.length() < 2) {
            throw new UserError(UserError.Code.BAD_SETTING,
                    "a window of " + text.length() + " tokens holds no prediction; expected at least 2");
        }
        text.requireVocabulary(model.spec().vocabSize());
        long start = System.nanoTime();
        double[] means = PagedModel.use(model, limits(cache, text), paged -> windows(paged, text, progress));
        return Perplexity.of(means, text.length(), (System.nanoTime() - start) * 1e-9);
    }

    /** Device memory of evaluate(), including the weights. */
    public static long peakBytes(Transformer model, CacheType cache, TokenSequences text) {
        PageLimits limits = limits(cache, text);
        return ModelMemory.weightBytes(model) + limits.workingBytes(model.spec(), model.products())
                + limits.pages() * PageLimits.bytesPerPage(model.spec(), cache);
    }

    private static PageLimits limits(CacheType cache, TokenSequences text) {
        int rows = Math.min(ROWS, text.length());
        return new PageLimits(cache, PageTable.pagesFor(text.length()), 1, rows, text.length(), rows);
    }

    private static double[] windows(PagedModel paged, TokenSequences text, Progress progress) {
        double[] means = new double[text.count()];
        for (int window = 0; window < means.length; window++) {
            int[] tokens = new int[text.length()];
            System.arraycopy(text.ids(), window * text.length(), tokens, 0, tokens.length);
            means[window] = window(paged, tokens);
            if (!Double.isFinite(means[window])) {
                throw new UserError(UserError.Code.NUMERIC, "the cross-entropy of window " + window + " is "
                        + means[window] + "; expected a finite number: the weights overflow float32, or were damaged");
            }
            progress.at("evaluate through the cache", window + 1L, means.length);
        }
        return means;
    }

    /** The mean over the predictions of all tokens but the last. */
    private static double window(PagedModel paged, int[] tokens) {
        PageTable table = new PageTable(paged.limits().pages());
        PageTable.Pages pages = new PageTable.Pages();
        table.grow(pages, tokens.length);
        double sum = 0;
        for (int from = 0; from < tokens.length; from += paged.limits().rows()) {
            int to = Math.min(tokens.length, from + paged.limits().rows());
            paged.compute(List.of(new PagedModel.Part(tokens, from, to, pages)));
            sum += nll(paged, tokens, from, Math.min(to, tokens.length - 1));
        }
        return sum / (tokens.length - 1);
    }

    /** Of the predictions that tokens [from, to) make. */
    private static double nll(PagedModel paged, int[] tokens, int from, int to) {
        int count = to - from;
        if (count == 0) {
            return 0;
        }
        Device device = paged.device();
        try (TensorArena arena = device.arena(); Arena host = Arena.ofShared()) {
            Tensor targets = arena.vector(DType.I32, count);
            MemorySegment next = host.allocate(ValueLayout.JAVA_INT, count);
            MemorySegment.copy(tokens, from + 1, next, ValueLayout.JAVA_INT, 0, count);
            device.upload(next, targets);
            Tensor nll = arena.vector(DType.F64, count);
            device.neural().crossEntropy(paged.rowLogits(0, count), targets, nll);
            double sum = 0;
            for (double value : HostVectors.doubles(device, nll)) {
                sum += value;
            }
            return sum;
        }
    }
}
