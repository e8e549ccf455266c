package dev.optgptq.gptq.run;

import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.gptq.journal.PartWriter;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.solve.QuantizedWeight;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Records the linears of a block once their integers are final; the block counts when it is finished. */
final class BlockRecorder implements AutoCloseable {

    private final PartWriter writer;
    private final LinearPacker packer;
    private final List<RunReport.Layer> layers = new ArrayList<>();
    private final Map<String, Long> fingerprints = new LinkedHashMap<>();

    BlockRecorder(PartWriter writer, LinearPacker packer) {
        this.writer = writer;
        this.packer = packer;
    }

    /** Writes a linear's packed tensors. */
    void write(LinearSpec linear, QuantizedWeight weight, RunReport.Layer layer) {
        fingerprints.put(linear.module(), packer.pack(linear, weight, writer::write));
        layers.add(layer);
    }

    /** @param phases where the time of the run went until now */
    BlockRecord finish(List<RunReport.Phase> phases) {
        return finish(phases, List.of());
    }

    /** @param steps what refining the block did */
    BlockRecord finish(List<RunReport.Phase> phases, List<StepOutcome> steps) {
        return new BlockRecord(writer.finish(BlockRecord.note(layers, fingerprints, phases, steps)));
    }

    /** Without finish() nothing is left. */
    @Override
    public void close() {
        writer.close();
    }
}
