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
 * Records the linears of a block once their integers are final. They are taken off the device here, and written while the
 * run goes on; the block counts when its record is on the disk.
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

    /** @param finished hears of the block once it counts, on the thread that writes */
    public BlockRecorder(int block, PartWriter writer, LinearPacker packer, LayerReports reports,
            WriteBehind behind, Consumer<BlockRecord> finished) {
        this.block = block;
        this.writer = writer;
        this.packer = packer;
        this.reports = reports;
        this.behind = behind;
        this.finished = finished;
    }

    /** Packs a linear, while its codes are on the device, and hands it over. */
    public void write(SolvedLinear solved) {
        RunReport.Layer layer = reports.of(block, solved);
        fingerprints.put(solved.linear().module(), packer.pack(solved.linear(), solved.solution().weight(),
                (tensor, bytes, fill) -> behind.write(bytes, fill, data -> writer.write(tensor, data))));
        layers.add(layer);
    }

    /** @param phases where the time of the run went until now */
    public void finish(List<RunReport.Phase> phases) {
        finish(phases, List.of());
    }

    /** @param steps what refining the block did */
    public void finish(List<RunReport.Phase> phases, List<StepOutcome> steps) {
        ObjectNode note = BlockRecord.note(layers, fingerprints, phases, steps);
        behind.then(() -> finished.accept(new BlockRecord(writer.finish(note))));
    }

    /** Without finish() nothing is left. */
    @Override
    public void close() {
        behind.finallyDo(writer::close);
    }
}
