package dev.optgptq.gptq.run;

import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.run.checkpoint.CheckpointOutput;
import dev.optgptq.gptq.run.checkpoint.LinearPacker;
import dev.optgptq.gptq.run.checkpoint.OutputConfig;
import dev.optgptq.gptq.run.checkpoint.OutputDtype;
import dev.optgptq.gptq.run.checkpoint.ScaleCount;
import dev.optgptq.gptq.run.checkpoint.TunedParameters;
import dev.optgptq.gptq.run.resume.RunJournal;
import java.util.SortedMap;

/**
 * The checkpoint that a run writes. Blocks are written while later ones are computed; the output directory appears once
 * everything is written and verified.
 */
final class Checkpoint implements AutoCloseable {

    private final RunContext run;
    private final RunJournal journal;
    private final OutputConfig config;
    private final CheckpointWriter writer;
    private final WriteBehind behind;
    private final CheckpointOutput output;

    /**
     * Begins to write: tensors outside the blocks, and the blocks of earlier runs.
     *
     * @param maxShardBytes size above which the output is split
     */
    Checkpoint(RunContext run, RunJournal journal, long maxShardBytes) {
        this.run = run;
        this.journal = journal;
        this.config = new OutputConfig(run.settings(), run.source(), run.plan());
        this.writer = new CheckpointWriter(journal.directory(), run.plan().specs(), maxShardBytes,
                run.plan().quantization().format().framework());
        this.behind = new WriteBehind(journal.directory().path(), run.memory().needs().writing());
        // Parameters learned over the whole model replace their tensors at the end.
        this.output = new CheckpointOutput(writer, run.plan(), run.settings().isGradient()
                ? TunedParameters.tensors(run.model(), run.settings().refinement())
                : TunedParameters.NONE, run.settings().threads());
        behind.then(output::writeOutside);
        journal.writeBehind(behind, output::write);
    }

    /** Packs the solver's codes. */
    LinearPacker packer() {
        return new LinearPacker(run.plan().quantization().inGptqLayout(), run.device());
    }

    /**
     * Writes the rest: learned parameters, the source's other tensors, config and companions.
     *
     * @param dtype that the config asks to compute in
     */
    void write(OutputDtype dtype) {
        run.progress().enter("write", "checkpoint");
        behind.await();
        TunedParameters.find(journal.parts()).ifPresent(output::write);
        output.writeKept();
        config.write(writer, run.caller().origin(), dtype);
        writer.finishTensors();
    }

    /** Changes the dtype that the config asks to compute in. */
    void askFor(OutputDtype dtype) {
        config.replace(writer, run.caller().origin(), dtype);
    }

    /** Opens the written checkpoint as any reader would. */
    ModelDirectory open() {
        run.progress().enter("verify", "read back");
        return ModelDirectory.open(writer.workDirectory());
    }

    /** Compares it with the solver's codes and the source; throws UserError OUTPUT for a difference. The scales by module. */
    SortedMap<String, ScaleCount> verify(ModelDirectory written) {
        return output.verify(written);
    }

    /** Makes the output directory appear, and removes the journal's parts from it. */
    void publish() {
        run.progress().enter("write", "finish");
        writer.finish();
        journal.complete();
    }

    @Override
    public void close() {
        try {
            behind.close();
        } finally {
            writer.close();
        }
    }
}
