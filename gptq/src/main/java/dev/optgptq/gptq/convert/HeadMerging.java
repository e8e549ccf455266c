package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.convert.layer.LayerConverter;
import dev.optgptq.gptq.convert.layer.LayerOutcome;
import dev.optgptq.gptq.convert.layer.Sequences;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.run.progress.PhaseClock;
import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * Merges the key-value heads of a model, layer by layer; what an earlier run finished is replayed.
 *
 * @param source the model's directory
 * @param threads of the host
 */
record HeadMerging(Transformer model, ModelDirectory source, HeadPlan plan, Grouping grouping,
        ConvertJournal journal, PhaseClock clock, Progress progress, int threads) {

    /** Tokens that are computed with at a time. */
    static final int BATCH_TOKENS = 2048;

    /** The changed tensors of every block, and how it went. */
    record Merged(List<Part> parts, List<ConvertReport.Layer> layers) {}

    Merged run(TokenSequences calibration) {
        int length = calibration.length();
        int together = Math.clamp(BATCH_TOKENS / length, 1, calibration.count());
        Transformer fast = model.withStoredWeights();
        int members = plan.kvHeads().stream().mapToInt(kvHeads -> plan.before() / kvHeads).max().orElse(1);
        boolean onDevice = memory(model.spec(), members, calibration).streamsOnDevice(model.device());
        try (ActivationStore original = Streams.embedded(model, calibration, BATCH_TOKENS, onDevice);
                ActivationStore converted = Streams.embedded(model, calibration, BATCH_TOKENS, onDevice);
                Dense dense = Dense.open(threads)) {
            Sequences sequences = new Sequences(original, converted, length, together);
            Merged merged = new Merged(new ArrayList<>(), new ArrayList<>());
            for (int block = 0; block < model.spec().blocks(); block++) {
                merged.parts.add(merge(fast, block, sequences, dense, merged.layers));
            }
            return merged;
        }
    }

    static ConvertMemory memory(ModelSpec spec, int members, TokenSequences calibration) {
        long fitted = Math.min(calibration.count(), Sequences.MOST_FITTED) * (long) calibration.length();
        return ConvertMemory.of(spec, members, calibration.tokens(), fitted, BATCH_TOKENS);
    }

    private Part merge(Transformer fast, int block, Sequences sequences, Dense dense,
            List<ConvertReport.Layer> layers) {
        int blocks = model.spec().blocks();
        String where = "block " + (block + 1) + "/" + blocks;
        BlockTensors tensors = new BlockTensors(model.spec(), source);
        LayerConverter converter = new LayerConverter(fast, dense, sequences,
                weights -> tensors.rounded(block, weights), matrix -> tensors.roundedDown(block, matrix),
                step -> {
                    clock.enter(step);
                    progress.at(where + ": " + step, block, blocks);
                });
        clock.enter("load");
        int kvHeads = plan.kvHeads().get(block);
        Optional<Part> earlier = journal.find(block);
        if (earlier.isPresent()) {
            progress.at(where + ": replayed", block, blocks);
            BlockTensors.Values values = tensors.read(block, kvHeads, ConvertJournal.read(earlier.get()));
            converter.replay(block, values.attention(), values.down(), values.downBias());
            layers.add(LayerNotes.read(earlier.get().note()));
            return earlier.get();
        }
        LayerConverter.Converted found = converter.convert(block, kvHeads, grouping);
        clock.enter("journal");
        SequencedMap<String, Matrix> named = tensors.named(block,
                new BlockTensors.Values(found.attention(), found.down(), found.downBias()));
        ConvertReport.Layer layer = layer(found.outcome());
        layers.add(layer);
        return journal.write(block, tensors.specs(named), named, LayerNotes.write(layer));
    }

    private static ConvertReport.Layer layer(LayerOutcome outcome) {
        return new ConvertReport.Layer(outcome.block(), outcome.kvHeads(), outcome.order(), outcome.keyResidual(),
                outcome.valueResidual(), outcome.mergedDivergence(), outcome.fittedDivergence(), outcome.turns(),
                ConvertReport.Step.of(outcome.values()), ConvertReport.Step.ofAny(outcome.down()));
    }
}
