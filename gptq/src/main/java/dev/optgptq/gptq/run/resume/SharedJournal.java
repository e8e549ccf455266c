package dev.optgptq.gptq.run.resume;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.packed.PackedLinear;
import dev.optgptq.formats.packed.PackedPart;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.run.checkpoint.LinearPacker;
import dev.optgptq.kernels.ranks.Ranks;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The journal as every rank uses it: the first rank's, which sends the others what they need of its finished blocks. */
public final class SharedJournal {

    private final Ranks ranks;
    private final ModuleGrids grids;
    private final @Nullable RunJournal journal;
    private final int finished;

    /**
     * @param grids of the run
     * @param journal the first rank's; null on the others, which wait for it here
     */
    public SharedJournal(Ranks ranks, ModuleGrids grids, @Nullable RunJournal journal) {
        this.ranks = ranks;
        this.grids = grids;
        this.journal = journal;
        this.finished = Math.toIntExact(ranks.broadcast(0, journal == null ? 0 : journal.finished().size())[0]);
    }

    /** Blocks that an earlier run has finished. */
    public int finished() {
        return finished;
    }

    /** The journal itself; empty on other ranks than the first. */
    public Optional<RunJournal> own() {
        return Optional.ofNullable(journal);
    }

    /**
     * Gives the loaded block of the source its quantized weights.
     *
     * @param use runs with them
     */
    public void restored(int block, BlockWeights weights, LinearPacker packer, Runnable use) {
        if (journal != null) {
            journal.finished().get(block).restored(weights, packer, this::send, use);
        } else {
            for (LinearSpec linear : grids.quantized(weights.linears())) {
                try (Arena host = Arena.ofShared()) {
                    packer.overwrite(weights, linear, receive(linear, host));
                }
            }
            use.run();
        }
    }

    private void send(PackedLinear packed) {
        if (ranks.areSeveral()) {
            ranks.broadcast(0, packed.bits(), packed.groups(), packed.zeroOffset(), packed.qweight().byteSize(),
                    packed.qzeros().byteSize(), packed.scales().byteSize(), packed.gIdx().byteSize());
            for (PackedPart part : PackedPart.values()) {
                ranks.broadcast(0, packed.part(part));
            }
        }
    }

    private PackedLinear receive(LinearSpec linear, Arena host) {
        long[] sizes = ranks.broadcast(0, new long[7]);
        List<MemorySegment> parts = new ArrayList<>();
        for (int part = 3; part < sizes.length; part++) {
            MemorySegment bytes = host.allocate(sizes[part], Long.BYTES);
            ranks.broadcast(0, bytes);
            parts.add(bytes);
        }
        return new PackedLinear(Math.toIntExact(sizes[0]), linear.inputs(), linear.outputs(),
                Math.toIntExact(sizes[1]), Math.toIntExact(sizes[2]), parts.get(0), parts.get(1), parts.get(2),
                parts.get(3));
    }
}
