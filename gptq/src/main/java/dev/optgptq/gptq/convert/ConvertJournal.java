package dev.optgptq.gptq.convert;

import dev.optgptq.formats.files.OutputDirectory;
import dev.optgptq.formats.model.CheckpointWriter;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.journal.Journal;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.journal.PartWriter;
import dev.optgptq.gptq.run.checkpoint.BlockRecord;
import dev.optgptq.gptq.run.resume.Predecessor;
import dev.optgptq.kernels.dense.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Consumer;
import tools.jackson.databind.node.ObjectNode;

/**
 * The converted blocks of a run, on disk as soon as they are finished, so that the same run can resume after the last
 * one.
 */
final class ConvertJournal implements AutoCloseable {

    private final OutputDirectory directory;
    private final Journal journal;
    private final Consumer<String> log;
    private final int blocks;
    private boolean complete;

    /**
     * Opens the output directory. Throws UserError OUTPUT when another process writes it, or when blocks of a run with
     * another result are there.
     */
    static ConvertJournal open(ConvertSettings settings, Identity identity, int blocks, Consumer<String> log) {
        OutputDirectory directory = CheckpointWriter.directory(settings.output(), settings.overwrite());
        try {
            Journal journal = new Journal(directory, log);
            new Predecessor(settings.output(), settings.fresh(), journal, blocks).prepare(identity, log);
            return new ConvertJournal(directory, journal, blocks, log);
        } catch (RuntimeException e) {
            directory.close();
            throw e;
        }
    }

    private ConvertJournal(OutputDirectory directory, Journal journal, int blocks, Consumer<String> log) {
        this.directory = directory;
        this.journal = journal;
        this.blocks = blocks;
        this.log = log;
        int found = blocks(journal);
        if (found > 0) {
            log.accept("resuming after block " + found + " of " + blocks + " (same settings, started "
                    + journal.starts().getFirst() + ")");
        }
        journal.begin(Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    }

    private static int blocks(Journal journal) {
        return (int) journal.names().stream().filter(BlockRecord::isName).count();
    }

    OutputDirectory directory() {
        return directory;
    }

    String started() {
        return journal.starts().getFirst();
    }

    /** A block that an earlier run finished. */
    Optional<Part> find(int block) {
        return journal.find(BlockRecord.name(block));
    }

    /** The matrices of a part by name; a tensor of one dimension is a row. */
    static SequencedMap<String, Matrix> read(Part part) {
        SequencedMap<String, Matrix> named = new LinkedHashMap<>();
        try (SafetensorsFile file = part.open()) {
            file.tensors().forEach((name, view) -> named.put(name, StoredMatrices.decode(view)));
        }
        return named;
    }

    /** A part of another kind. */
    Optional<Part> find(String name) {
        return journal.find(name);
    }

    /** Records a block. */
    Part write(int block, List<TensorSpec> specs, SequencedMap<String, Matrix> values, ObjectNode note) {
        return write(BlockRecord.name(block), specs, values, note);
    }

    /** Records matrices. */
    Part write(String name, List<TensorSpec> specs, SequencedMap<String, Matrix> values, ObjectNode note) {
        return write(name, specs, (spec, arena) -> StoredMatrices
                .encode(Objects.requireNonNull(values.get(spec.name()), spec.name()), spec.dtype(), arena), note);
    }

    /** Records what needs no tensors. */
    Part writeNote(String name, ObjectNode note) {
        return write(name, List.of(), (spec, arena) -> {
            throw new IllegalArgumentException(spec.name());
        }, note);
    }

    /** Gives the bytes of a tensor. */
    @FunctionalInterface
    interface Content {
        MemorySegment of(TensorSpec spec, Arena arena);
    }

    /** Records a part; an earlier one of that name is replaced. */
    Part write(String name, List<TensorSpec> specs, Content content, ObjectNode note) {
        try (PartWriter writer = journal.begin(name, specs)) {
            for (TensorSpec spec : specs) {
                try (Arena arena = Arena.ofShared()) {
                    writer.write(spec.name(), content.of(spec, arena));
                }
            }
            return writer.finish(note);
        }
    }

    /** The output is complete: the parts are no longer needed. */
    void complete() {
        complete = true;
    }

    @Override
    public void close() {
        int kept = blocks(journal);
        if (!complete && kept > 0) {
            log.accept(Predecessor.saved(kept + " of " + blocks + " blocks", journal));
        }
        directory.close();
    }
}
