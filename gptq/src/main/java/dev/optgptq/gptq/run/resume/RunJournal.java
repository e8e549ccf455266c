package dev.optgptq.gptq.run.resume;

import dev.optgptq.formats.files.OutputDirectory;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.journal.Journal;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.report.LayerReports;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.checkpoint.BlockRecord;
import dev.optgptq.gptq.run.checkpoint.BlockRecorder;
import dev.optgptq.gptq.run.checkpoint.CheckpointPlan;
import dev.optgptq.gptq.run.checkpoint.LinearPacker;
import dev.optgptq.gptq.run.checkpoint.Notes;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Downloads;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The finished parts of a run, on disk as soon as they are finished, so that the same run can resume whatever ended the
 * first one. Owns the output directory.
 */
public final class RunJournal implements AutoCloseable {

    private final OutputDirectory directory;
    private final Journal journal;
    private final int blocks;
    private final Consumer<String> log;
    /** Added to by the thread that writes. */
    private final List<BlockRecord> finished;
    private final int found;
    /** Whether the message about saved work has been printed. */
    private final AtomicBoolean ended = new AtomicBoolean();
    private final Thread hook;
    private int begun;
    private @Nullable WriteBehind behind;
    private @Nullable Consumer<BlockRecord> checkpoint;

    /**
     * Opens the output directory and what an interrupted run left there. Throws UserError OUTPUT when another process
     * writes it, or when blocks of a run with another result are there.
     *
     * @param identity what decides the result
     * @param blocks of the model
     * @param log receives what is resumed, and what is saved at the end
     */
    public static RunJournal open(QuantizeSettings settings, Identity identity, int blocks, Consumer<String> log) {
        OutputDirectory directory = CheckpointWriter.directory(settings.output().directory(),
                settings.output().overwrite());
        try {
            Journal journal = new Journal(directory, log);
            new Predecessor(settings.output().directory(), settings.output().fresh(), journal, blocks).prepare(identity,
                    log);
            return new RunJournal(directory, journal, blocks, log);
        } catch (RuntimeException e) {
            directory.close();
            throw e;
        }
    }

    private RunJournal(OutputDirectory directory, Journal journal, int blocks, Consumer<String> log) {
        this.directory = directory;
        this.journal = journal;
        this.blocks = blocks;
        this.log = log;
        this.finished = new CopyOnWriteArrayList<>(BlockRecord.sound(journal, blocks));
        this.found = finished.size();
        this.begun = found;
        boolean continues = !journal.starts().isEmpty();
        if (continues) {
            log.accept(found == 0
                    ? "resuming a run that had finished no block (same settings, started " + journal.starts().getFirst()
                            + ")"
                    : "resuming after block " + found + " of " + blocks + " (same settings, started "
                            + journal.starts().getFirst() + ")");
        }
        journal.begin(Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        this.hook = Thread.ofPlatform().name("what is kept").unstarted(this::sayWhatIsKept);
        Runtime.getRuntime().addShutdownHook(hook);
    }

    /** Where the checkpoint is to be written. */
    public OutputDirectory directory() {
        return directory;
    }

    /** Throws UserError OUTPUT when the disk cannot hold the remaining blocks and the checkpoint. */
    public void requireSpace(CheckpointPlan plan) {
        long packed = plan.bytes() - plan.keptBytes();
        directory.requireSpace(plan.bytes() + Math.max(0, packed - journal.bytes()));
    }

    public Journal parts() {
        return journal;
    }

    /**
     * Starts writing blocks on another thread.
     *
     * @param thread that writes them
     * @param output receives every finished block, those of earlier runs first, on that thread
     */
    public void writeBehind(WriteBehind thread, Consumer<BlockRecord> output) {
        behind = thread;
        checkpoint = output;
        for (BlockRecord block : List.copyOf(finished)) {
            thread.then(() -> output.accept(block));
        }
    }

    /** The finished blocks, the first ones of the model: not those that are still being written. */
    public List<BlockRecord> finished() {
        return List.copyOf(finished);
    }

    /** Waits until all blocks that were recorded are finished. */
    public void await() {
        writer().await();
    }

    /** Times of the earlier runs, as far as they led to finished parts; from the latest part. */
    public List<RunReport.Phase> phases() {
        Stream<Part> others = journal.names().stream().filter(name -> !BlockRecord.isName(name)).map(journal::find)
                .flatMap(Optional::stream);
        Stream<Part> lastBlock = finished.isEmpty() ? Stream.empty() : Stream.of(finished.getLast().part());
        return Stream.concat(others, lastBlock).map(part -> Notes.phases(part.note()))
                .max(Comparator.comparingDouble(RunJournal::seconds)).orElse(List.of());
    }

    private static double seconds(List<RunReport.Phase> phases) {
        return phases.stream().mapToDouble(RunReport.Phase::seconds).sum();
    }

    /** When the first run began; ISO 8601, UTC. */
    public String started() {
        return journal.starts().getFirst();
    }

    /** For the report. */
    public RunReport.Resumed resumed() {
        List<String> starts = journal.starts();
        return new RunReport.Resumed(starts.subList(1, starts.size()), found);
    }

    /**
     * Begins the record of the first block that has none; it counts once it is on disk.
     *
     * @param tensors of a block, by its index
     * @param downloads how a device's tensors are copied
     */
    public BlockRecorder record(IntFunction<List<TensorSpec>> tensors, LinearPacker packer,
            Function<Device, Downloads> downloads, LayerReports reports) {
        int block = begun++;
        return new BlockRecorder(block, journal.begin(BlockRecord.name(block), tensors.apply(block)), packer, downloads,
                reports, writer(), this::add);
    }

    private WriteBehind writer() {
        return Objects.requireNonNull(behind, "nothing can be written before writeBehind()");
    }

    private void add(BlockRecord block) {
        finished.add(block);
        Objects.requireNonNull(checkpoint).accept(block);
    }

    /** The output is complete: the parts are no longer needed. */
    public void complete() {
        ended.set(true);
    }

    @Override
    public void close() {
        try {
            sayWhatIsKept();
        } finally {
            removeHook();
            directory.close();
        }
    }

    private void sayWhatIsKept() {
        if (ended.getAndSet(true)) {
            return;
        }
        List<String> parts = journal.names();
        if (parts.isEmpty()) {
            return;
        }
        // Counted on the disk, where the next run will look.
        long kept = parts.stream().filter(BlockRecord::isName).count();
        String what = kept == 0 ? "the work before the first block" : kept + " of " + blocks + " blocks";
        log.accept(Predecessor.saved(what, journal));
    }

    @SuppressWarnings("EmptyCatch") // see the comment in it
    private void removeHook() {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException stopping) {
            // The JVM is stopping: the hook runs already.
        }
    }
}
