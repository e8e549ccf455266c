package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.gptq.run.checkpoint.BlockRecorder;
import dev.optgptq.gptq.run.checkpoint.LinearPacker;
import dev.optgptq.gptq.run.resume.SharedJournal;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Calibrate and solve, one block after the other: each block's inputs come from the quantized blocks before it (Frantar et al.,
 * arXiv 2210.17323, section 4). Round to nearest works the same way, without a calibration stream.
 */
final class GptqRun {

    private final RunContext run;
    private final LinearPacker packer;
    /** The models as the stream passes through them. */
    private final Replicas models;
    private final BlockQuantizer quantizer;

    GptqRun(RunContext run, LinearPacker packer) {
        this.run = run;
        this.packer = packer;
        this.models = run.calibrated();
        this.quantizer = new BlockQuantizer(models, run.calibrator(), run.grids(),
                run.settings().solving().trueSequential(), run.memory().experts(), run.progress());
    }

    /** Finishes the remaining blocks. */
    void run(SharedJournal journal) {
        int blocks = run.model().blocks();
        int first = journal.finished();
        if (first == blocks) {
            return;
        }
        run.progress().enter("load", "calibration");
        try (CalibrationStream stream = embed();
                Prefetch prefetch = run.models().prefetch(run.memory().placement().ahead())) {
            for (int block = 0; block < first && stream != null; block++) {
                prefetch.wants(block);
                quantizer.replay(block, stream, restored(journal, block));
            }
            for (int block = first; block < blocks; block++) {
                prefetch.wants(block);
                try (BlockRecorder recorder = run.record(journal, packer)) {
                    quantizer.quantize(block, stream, recorder);
                    run.progress().exchange(run.ranks());
                    run.progress().enter("write");
                    if (recorder != null) {
                        recorder.finish(run.clock().phases());
                    }
                }
                if (stream != null && quantizer.streams(block) && block + 1 < blocks) {
                    // No quantized weights of experts are in memory: they are read from the part.
                    journal.own().orElseThrow().await();
                    quantizer.advance(block, stream, restored(journal, block));
                }
            }
        }
    }

    private BiConsumer<BlockWeights, Runnable> restored(SharedJournal journal, int block) {
        return (weights, pass) -> journal.restored(block, weights, packer, pass);
    }

    private @Nullable CalibrationStream embed() {
        TokenSequences calibration = run.texts().calibration();
        return calibration == null
                ? null
                : CalibrationStream.embed(models, calibration, run.partition(calibration),
                        run.memory().placement().place());
    }
}
