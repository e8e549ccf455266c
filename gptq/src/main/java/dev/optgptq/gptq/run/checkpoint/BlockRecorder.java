package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.gptq.journal.PartWriter;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.refine.SolvedLinear;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.report.LayerReports;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Downloads;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.function.Consumer;
import java.util.function.Function;
import tools.jackson.databind.node.ObjectNode;

/**
 * Records the linears of a block once their integers are final. They are packed here, and copied off their devices and written
 * while the run continues; the block counts once its record is on disk.
 */
public final class BlockRecorder implements AutoCloseable {

    private final int block;
    private final PartWriter writer;
    private final LinearPacker packer;
    private final Function<Device, Downloads> downloads;
    private final LayerReports reports;
    private final WriteBehind behind;
    private final Consumer<BlockRecord> finished;
    private final List<RunReport.Layer> layers = new ArrayList<>();
    private final Map<String, Long> fingerprints = new LinkedHashMap<>();
    /** Linears on their way to the host, by module. */
    private final SequencedMap<String, PackedDownload> copying = new LinkedHashMap<>();

    /**
     * @param packer for the first device
     * @param downloads how a device's tensors are copied
     * @param finished called on the writing thread once the block counts
     */
    public BlockRecorder(int block, PartWriter writer, LinearPacker packer, Function<Device, Downloads> downloads,
            LayerReports reports, WriteBehind behind, Consumer<BlockRecord> finished) {
        this.block = block;
        this.writer = writer;
        this.packer = packer;
        this.downloads = downloads;
        this.reports = reports;
        this.behind = behind;
        this.finished = finished;
    }

    /** Packs a linear while its codes are on the first device, and submits it for writing. */
    public void write(SolvedLinear solved) {
        write(solved, packer.device());
    }

    /** @param where its codes are */
    public void write(SolvedLinear solved, Device where) {
        layers.add(reports.of(block, solved));
        String module = solved.linear().module();
        PackedDownload packed = new PackedDownload(where, downloads.apply(where));
        copying.put(module, packed);
        packer.on(where).pack(solved.linear(), solved.solution().weight(), packed,
                (tensor, bytes, part) -> behind.write(bytes, part::begin, data -> {
                    part.complete(data);
                    writer.write(tensor, data);
                }));
        if (packed.hasEnded()) {
            complete(module, packed);
        }
    }

    private void complete(String module, PackedDownload packed) {
        fingerprints.put(module, packed.fingerprint());
        copying.remove(module);
        free(packed);
    }

    private void free(PackedDownload packed) {
        packed.close();
        behind.finallyDo(packed::freeHost);
    }

    /** @param phases times of the run's phases so far */
    public void finish(List<RunReport.Phase> phases) {
        finish(phases, List.of());
    }

    /** @param steps outcomes of the refinement steps */
    public void finish(List<RunReport.Phase> phases, List<StepOutcome> steps) {
        new LinkedHashMap<>(copying).forEach(this::complete);
        ObjectNode note = BlockRecord.note(layers, fingerprints, phases, steps);
        behind.then(() -> finished.accept(new BlockRecord(writer.finish(note))));
    }

    /** Without finish() nothing remains on disk. */
    @Override
    public void close() {
        copying.values().forEach(this::free);
        copying.clear();
        behind.finallyDo(writer::close);
    }
}
