package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.gptq.journal.PartWriter;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.report.LayerReports;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import tools.jackson.databind.node.ObjectNode;

/**
 * Records the linears of a block once their integers are final. They are copied off the device here, and written while
 * the run continues; the block counts once its record is on disk.
 */
public final class BlockRecorder implements AutoCloseable {

    private final int block;
    private final PartWriter writer;
    private final LinearPacker packer;
    private final LayerReports reports;
    private final WriteBehind behind;
    private final Consumer<BlockRecord> finished;
    private final List<RunReport.Layer> layers = new ArrayList<>();
    private final Map<String, Long> fingerprints = new LinkedHashMap<>();

    /** @param finished called on the writing thread once the block counts */
    public BlockRecorder(int block, PartWriter writer, LinearPacker packer, LayerReports reports,
            WriteBehind behind, Consumer<BlockRecord> finished) {
        this.block = block;
        this.writer = writer;
        this.packer = packer;
        this.reports = reports;
        this.behind = behind;
        this.finished = finished;
    }

    /** Packs a linear while its codes are on the device, and submits it for writing. */
    public void write(SolvedLinear solved) {
        RunReport.Layer layer = reports.of(block, solved);
        fingerprints.put(solved.linear().module(), packer.pack(solved.linear(), solved.solution().weight(),
                (tensor, bytes, fill) -> behind.write(bytes, fill, data -> writer.write(tensor, data))));
        layers.add(layer);
    }

    /** @param phases times of the run's phases so far */
    public void finish(List<RunReport.Phase> phases) {
        finish(phases, List.of());
    }

    /** @param steps outcomes of the refinement steps */
    public void finish(List<RunReport.Phase> phases, List<StepOutcome> steps) {
        ObjectNode note = BlockRecord.note(layers, fingerprints, phases, steps);
        behind.then(() -> finished.accept(new BlockRecord(writer.finish(note))));
    }

    /** Without finish() nothing remains on disk. */
    @Override
    public void close() {
        behind.finallyDo(writer::close);
    }
}
