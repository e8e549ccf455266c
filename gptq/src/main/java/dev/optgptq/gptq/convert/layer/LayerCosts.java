package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Dense;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.function.IntConsumer;

/**
 * What fewer key-value heads in one layer alone cost the model: KL(original || it) of the next token on held-out sequences. One pass
 * over the blocks: what every candidate puts out goes along, so that each block is loaded once.
 *
 * @param sequences the original's stream, at the first block's input; it is advanced to the end
 * @param block receives which block is computed
 */
public record LayerCosts(Transformer model, Dense dense, Sequences sequences, IntConsumer block) {

    /** Held-out tokens that candidates are compared on. */
    private static final int TOKENS = 4096;
    /** Host memory of all candidates' activations; those of which there is no room go to files. */
    private static final long MEMORY = 2L << 30;
    /** Rows of logits at a time. */
    private static final int CHUNK = 256;

    /** A layer with fewer heads, and what the model puts out with it. */
    private record Candidate(int block, int kvHeads, ActivationStore stream) {}

    /**
     * Measures them.
     *
     * @param kvHeads numbers that the present one is a multiple of
     * @return by layer, nats per token for each of these
     */
    public List<SequencedMap<Integer, Double>> measure(List<Integer> kvHeads) {
        List<Candidate> candidates = new ArrayList<>();
        try {
            for (int index = 0; index < model.spec().blocks(); index++) {
                block.accept(index);
                pass(index, kvHeads, candidates);
            }
            return divergences(candidates);
        } finally {
            candidates.forEach(candidate -> candidate.stream.close());
        }
    }

    private int[] judged() {
        int[] heldOut = sequences.heldOut();
        return Arrays.copyOf(heldOut, Math.clamp(TOKENS / sequences.length(), 1, heldOut.length));
    }

    /** Takes all streams through a block, and adds the candidates of this block. */
    private void pass(int index, List<Integer> kvHeads, List<Candidate> candidates) {
        Device device = model.device();
        try (TensorArena arena = device.arena()) {
            LayerSource source = LayerSource.load(model, index, sequences, arena);
            Tensor buffer = arena.matrix(DType.F32, sequences.batchRows(), source.hidden());
            for (Candidate candidate : candidates) {
                advance(candidate.stream, source.original(), buffer);
            }
            GroupedWeights weights = new GroupedWeights(new HostCopies(device));
            AttentionMatrices original = weights.download(source.attention());
            for (int heads : kvHeads) {
                source.converted().heads().write(new LayerMoments(source, dense, name -> {})
                        .merges(original, heads, sequences.summed()).getFirst().weights());
                ActivationStore stream = input(buffer, MEMORY / ((long) model.spec().blocks() * kvHeads.size()));
                candidates.add(new Candidate(index, heads, stream));
                advance(stream, source.converted(), buffer);
            }
            source.advanceOriginal(buffer);
            device.synchronize();
        }
    }

    /** What enters the block on the judged sequences, in a store of its own. */
    private ActivationStore input(Tensor buffer, long memory) {
        int[] judged = judged();
        int length = sequences.length();
        ActivationStore stream = new ActivationStore((long) judged.length * length, model.spec().hiddenSize(), memory);
        sequences.each(judged, (at, batch) -> stream.write(model.device(), (long) at * length,
                sequences.read(model.device(), sequences.original(), batch, buffer)));
        return stream;
    }

    private void advance(ActivationStore stream, LayerSource.Side side, Tensor buffer) {
        long rows = sequences.batchRows();
        for (long first = 0; first < stream.rows(); first += rows) {
            stream.update(model.device(), first, buffer.rows(0, Math.min(rows, stream.rows() - first)),
                    x -> side.forward(x, InputTap.NONE));
        }
    }

    private List<SequencedMap<Integer, Double>> divergences(List<Candidate> candidates) {
        List<SequencedMap<Integer, Double>> costs = new ArrayList<>();
        for (int index = 0; index < model.spec().blocks(); index++) {
            costs.add(new LinkedHashMap<>());
        }
        try (TensorArena arena = model.device().arena();
                ActivationStore original = input(
                        arena.matrix(DType.F32, sequences.batchRows(), model.spec().hiddenSize()), MEMORY)) {
            Ends ends = Ends.open(model, arena);
            for (Candidate candidate : candidates) {
                costs.get(candidate.block).put(candidate.kvHeads, ends.divergence(original, candidate.stream));
            }
        }
        return costs;
    }

    /** Compares what last blocks put out. */
    private record Ends(Transformer model, Head head, Tensor x, Tensor normed, Tensor original, Tensor candidate,
            Tensor divergence, Tensor agrees) {

        private static Ends open(Transformer model, TensorArena arena) {
            int hidden = model.spec().hiddenSize();
            int vocabulary = model.spec().vocabSize();
            return new Ends(model, model.loadHead(arena), arena.matrix(DType.F32, CHUNK, hidden),
                    arena.matrix(DType.F32, CHUNK, hidden), arena.matrix(DType.F32, CHUNK, vocabulary),
                    arena.matrix(DType.F32, CHUNK, vocabulary), arena.vector(DType.F64, CHUNK),
                    arena.vector(DType.I32, CHUNK));
        }

        /** The mean of KL(of || from) over all tokens. */
        private double divergence(ActivationStore of, ActivationStore from) {
            double sum = 0;
            for (long first = 0; first < of.rows(); first += CHUNK) {
                long n = Math.min(CHUNK, of.rows() - first);
                logits(of, first, n, original);
                logits(from, first, n, candidate);
                Tensor found = divergence.columns(0, n);
                model.device().neural().klDivergence(original.rows(0, n), candidate.rows(0, n), found,
                        agrees.columns(0, n));
                sum += Arrays.stream(HostVectors.doubles(model.device(), found)).sum();
            }
            return sum / of.rows();
        }

        private void logits(ActivationStore stream, long first, long n, Tensor into) {
            Tensor rows = x.rows(0, n);
            stream.read(model.device(), first, rows);
            model.logits(head, rows, normed.rows(0, n), into.rows(0, n));
        }
    }
}
