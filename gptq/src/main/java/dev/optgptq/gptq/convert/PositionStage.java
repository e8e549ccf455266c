package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.layer.PositionConverter;
import dev.optgptq.gptq.convert.layer.Sequences;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.run.checkpoint.BlockRecord;
import dev.optgptq.kernels.dense.Dense;
import dev.optgptq.kernels.dense.Matrix;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Consumer;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Gives a model ALiBi. It can begin with standard slopes and nothing else, or with heads in the order of their slopes and every
 * layer fitted to the original's. Which is the better beginning depends on the model: a fit of rotary attention has to be
 * undone in healing, one of learned positions is most of the way. So rotary models that are to be healed start plainly, of which a
 * few steps give the wrong impression; elsewhere both are tried on held-out text.
 *
 * @param original the model as it was
 * @param base the same weights with ALiBi in place
 * @param starts compares the two
 * @param threads of the host
 */
record PositionStage(Transformer original, ModelDirectory base, PositionStarts starts, ConvertJournal journal,
        Progress progress, Consumer<String> log, int threads) {

    static final String ROTARY = "rotary";
    private static final String PREFIX = "positions-";
    private static final String CHOICE = "positions";
    private static final JsonMapper JSON = JsonMapper.shared();

    /** The changed tensors; none where the plain start is the better one. */
    record Positioned(List<Part> parts, ConvertReport.Positions report) {}

    /** @param from what the positions are now, for the report */
    Positioned run(String from, TokenSequences calibration) {
        List<ConvertReport.PositionLayer> layers = new ArrayList<>();
        Optional<Part> chosen = journal.find(CHOICE);
        if (chosen.isPresent()) {
            ConvertReport.Positions report = JSON.treeToValue(chosen.get().note(), ConvertReport.Positions.class);
            return new Positioned(report.start().equals(PositionStarts.FITTED) ? finished() : List.of(), report);
        }
        if (from.equals(ROTARY) && starts.heal() != null) {
            log.accept("ALiBi from the plain start, as rotary models heal best from it");
            return new Positioned(List.of(),
                    new ConvertReport.Positions(from, PositionStarts.PLAIN, null, null, 0, List.of()));
        }
        List<Part> parts = fit(calibration, layers);
        ConvertReport.Positions report = starts.choose(from, base, parts, layers);
        log.accept(String.format(Locale.ROOT,
                "ALiBi from the %s start: divergence %.4f with standard slopes alone, %.4f with fitted layers, %s",
                report.start(), report.plain(), report.fitted(),
                report.steps() == 0 ? "as they are" : "after " + report.steps() + " steps of healing"));
        journal.writeNote(CHOICE, (ObjectNode) JSON.valueToTree(report));
        return new Positioned(report.start().equals(PositionStarts.FITTED) ? parts : List.of(), report);
    }

    private static String name(int block) {
        return PREFIX + BlockRecord.name(block);
    }

    private List<Part> finished() {
        List<Part> parts = new ArrayList<>();
        for (int block = 0; block < original.spec().blocks(); block++) {
            parts.add(journal.find(name(block)).orElseThrow());
        }
        return parts;
    }

    private List<Part> fit(TokenSequences calibration, List<ConvertReport.PositionLayer> layers) {
        Transformer target = Transformer.open(base, original.device());
        int length = calibration.length();
        int together = Math.clamp(HeadMerging.BATCH_TOKENS / length, 1, calibration.count());
        boolean onDevice = HeadMerging.memory(original.spec(), 1, calibration).streamsOnDevice(original.device());
        try (ActivationStore ofOriginal = Streams.embedded(original, calibration, HeadMerging.BATCH_TOKENS, onDevice);
                ActivationStore ofTarget = Streams.embedded(target, calibration, HeadMerging.BATCH_TOKENS, onDevice);
                Dense dense = Dense.open(threads)) {
            Sequences sequences = new Sequences(ofOriginal, ofTarget, length, together);
            List<Part> parts = new ArrayList<>();
            for (int block = 0; block < original.spec().blocks(); block++) {
                parts.add(fit(block, target, sequences, dense, layers));
            }
            return parts;
        }
    }

    private Part fit(int block, Transformer target, Sequences sequences, Dense dense,
            List<ConvertReport.PositionLayer> layers) {
        int blocks = original.spec().blocks();
        String where = "positions of block " + (block + 1) + "/" + blocks;
        BlockTensors tensors = new BlockTensors(target.spec(), base);
        PositionConverter converter = new PositionConverter(original, target, dense, sequences,
                weights -> tensors.rounded(block, weights), matrix -> tensors.roundedDown(block, matrix),
                step -> progress.at(where + ": " + step, block, blocks));
        Optional<Part> earlier = journal.find(name(block));
        if (earlier.isPresent()) {
            progress.at(where + ": replayed", block, blocks);
            BlockTensors.Values values = tensors.read(block, HeadPlan.attention(target.spec()).kvHeads(),
                    ConvertJournal.read(earlier.get()));
            converter.replay(block, values.attention(), values.down(), values.downBias());
            layers.add(JSON.treeToValue(earlier.get().note(), ConvertReport.PositionLayer.class));
            return earlier.get();
        }
        PositionConverter.Converted found = converter.convert(block);
        SequencedMap<String, Matrix> named = tensors.named(block,
                new BlockTensors.Values(found.attention(), found.down(), found.downBias()));
        PositionConverter.Outcome outcome = found.outcome();
        ConvertReport.PositionLayer layer = new ConvertReport.PositionLayer(block, found.order(), outcome.before(),
                outcome.after(), ConvertReport.Step.of(outcome.values()), ConvertReport.Step.of(outcome.down()));
        layers.add(layer);
        return journal.write(name(block), tensors.specs(named), named, (ObjectNode) JSON.valueToTree(layer));
    }
}
