package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.SequenceRange;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.List;

/**
 * Runs sequences through whole models with one block of weights in memory: for groups of sequences whose residual streams
 * fit a budget, model by model, block by block, batch by batch; then the heads, side by side, so that two models'
 * predictions for a token can be compared at once, without being stored. A group is large enough to make decoding a
 * block's weights for each negligible.
 *
 * @param sources the models, on one device
 */
record LogitsStream(List<Source> sources, TokenSequences text, Progress progress, Limits limits) {

    LogitsStream {
        sources = List.copyOf(sources);
        if (sources.stream().map(source -> source.model().device()).distinct().count() != 1) {
            throw new IllegalArgumentException("expected models on one device");
        }
    }

    /** @param purpose the purpose, in reported phases: "evaluate" */
    record Source(Transformer model, String purpose) {}

    /**
     * Batch limits, for all models together.
     *
     * @param batchTokens tokens per batch, where sequences allow: large enough for matmuls to run at full speed
     * @param groupBytes size of a group's residual streams
     * @param logitsBytes logits that exist at one time
     */
    record Limits(int batchTokens, long groupBytes, long logitsBytes) {
        static final Limits DEFAULT = new Limits(2048, 256L << 20, 64L << 20);
    }

    /**
     * Batch sizes under given limits.
     *
     * @param length tokens per sequence
     * @param batch sequences in a forward pass
     * @param group sequences whose residual streams are held, whole batches
     * @param logitsRows tokens whose logits exist at one time
     */
    record Sizes(int length, int batch, int group, long logitsRows) {

        private static Sizes of(List<ModelSpec> models, int count, int length, Limits limits) {
            long hidden = models.stream().mapToLong(ModelSpec::hiddenSize).sum();
            long vocabularies = models.stream().mapToLong(ModelSpec::vocabSize).sum();
            int batch = Math.clamp(limits.batchTokens() / length, 1, count);
            int group = Math.clamp(limits.groupBytes() / (length * hidden * Float.BYTES), batch, count) / batch * batch;
            return new Sizes(length, batch, group,
                    Math.clamp(limits.logitsBytes() / (vocabularies * Float.BYTES), 1, batch * length));
        }
    }

    /** Peak device memory of run(), for {@code count} sequences of {@code length} tokens. */
    static long peakBytes(List<ModelSpec> models, int count, int length, Limits limits) {
        Sizes sizes = Sizes.of(models, count, length, limits);
        long ids = (long) Integer.BYTES * sizes.group() * length;
        long held = models.stream().mapToLong(model -> StreamedModel.heldBytes(model, sizes)).sum();
        long running = models.stream().mapToLong(model -> StreamedModel.runningBytes(model, sizes)).max().orElse(0);
        return ids + held + running;
    }

    /**
     * Receives each model's logits for the tokens from {@code firstToken} on: F32 [n, vocabulary], in the order of the
     * models; valid during the call only.
     */
    @FunctionalInterface
    interface Consumer {
        void accept(long firstToken, List<Tensor> logits);
    }

    /**
     * Statistics of a model.
     *
     * @param seconds that it took
     * @param largestActivation the largest magnitude of its residual stream before, between and after its blocks
     */
    record Pass(double seconds, float largestActivation) {}

    /** The sequences of one of several devices. */
    SequenceRange range(int device, int devices) {
        return SequenceRange.of(text, sizes().batch(), device, devices);
    }

    private Sizes sizes() {
        return Sizes.of(sources.stream().map(source -> source.model().spec()).toList(), text.count(), text.length(),
                limits);
    }

    /** Runs all sequences. */
    List<Pass> run(Consumer consumer) {
        return run(SequenceRange.all(text), consumer);
    }

    /**
     * Runs some of the sequences. Returns the statistics of each model, in their order; the consumer's time is not
     * included. Throws UserError NUMERIC for a residual stream that is not finite, or overflows in a norm.
     */
    List<Pass> run(SequenceRange range, Consumer consumer) {
        sources.forEach(source -> text.requireVocabulary(source.model().spec().vocabSize()));
        Device device = sources.getFirst().model().device();
        int length = text.length();
        Sizes sizes = sizes();
        Steps steps = new Steps((long) range.count() * length);
        try (TensorArena arena = device.arena()) {
            Tensor ids = arena.vector(DType.I32, (long) sizes.group() * length);
            List<StreamedModel> models = sources.stream()
                    .map(source -> new StreamedModel(source, sizes, steps, arena)).toList();
            for (int first = range.from(); first < range.to(); first += sizes.group()) {
                long tokens = (long) Math.min(sizes.group(), range.to() - first) * length;
                Tensor groupIds = ids.columns(0, tokens);
                text.upload(device, first, groupIds);
                models.forEach(model -> model.blocks(groupIds));
                heads(models, tokens, (long) first * length, sizes.logitsRows(), consumer);
            }
            device.synchronize();
            steps.end();
            return models.stream().map(StreamedModel::pass).toList();
        }
    }

    /** A few rows at a time: logits of a whole batch can be larger than the model. */
    private static void heads(List<StreamedModel> models, long tokens, long tokensBefore, long rows,
            Consumer consumer) {
        for (long row = 0; row < tokens; row += rows) {
            long from = row;
            long n = Math.min(rows, tokens - row);
            consumer.accept(tokensBefore + row, models.stream().map(model -> model.head(from, n)).toList());
        }
    }

    /** Reports the progress of all models together, in tokens through a block or a head. */
    final class Steps {
        private final long total;
        private long done;

        private Steps(long tokens) {
            total = tokens * sources.stream().mapToLong(source -> source.model().spec().blocks() + 1L).sum();
        }

        /** Before {@code tokens} are sent through one of them. */
        void begin(String phase, long tokens) {
            progress.at(phase, done, total);
            done += tokens;
        }

        private void end() {
            progress.at(sources.getLast().purpose(), done, total);
        }
    }
}
