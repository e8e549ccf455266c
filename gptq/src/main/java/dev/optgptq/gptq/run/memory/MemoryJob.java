package dev.optgptq.gptq.run.memory;

import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.refine.SiteOwners;
import dev.optgptq.gptq.solve.SiteSolver;
import dev.optgptq.kernels.ranks.Crew;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * The properties of a run that decide its memory.
 *
 * @param matmulDtype of the linears while calibrating
 * @param grids of every linear
 * @param expertsAtOnce how many experts have Hessians at once; null for what has room
 * @param wholeBlocks whether experts are not streamed: parts of a block are inputs of the next, or ranks exchange them
 * @param refinement settings of gradient calibration; null for other calibrators
 * @param crew the ranks and devices that share it
 */
public record MemoryJob(ModelSpec model, DType matmulDtype, ModuleGrids grids, @Nullable Integer expertsAtOnce,
        boolean wholeBlocks, @Nullable Refinement refinement, Crew crew) {

    /** Whether tokens are weighed by the loss's gradient. */
    boolean weighs() {
        return refinement != null && refinement.weighTokens();
    }

    /** How many streams of all sequences are kept between blocks: the second is the original model's. */
    int streams() {
        return refinement != null && refinement.followsOriginal() ? 2 : 1;
    }

    /** How many sequences are kept between blocks; those of both models count twice. */
    long sequences(int calibration) {
        return refinement == null ? calibration : (long) streams() * calibration + heldOut(calibration);
    }

    /** Those of them that are held out, counted likewise. */
    long heldOut(int calibration) {
        if (refinement == null) {
            return 0;
        }
        int alone = refinement.followsOriginal() ? 1 : 2;
        return (long) alone * Refinement.heldOut(calibration);
    }

    /** Inputs per scale, in the finest groups; for -1 more than any linear has. */
    int inputsPerScale() {
        int groupSize = grids.smallestGroup();
        return groupSize == QuantizationConfig.ONE_GROUP ? Integer.MAX_VALUE : groupSize;
    }

    /** Bytes of the packed tensors of the block that has most, as laid out in the write queue. */
    long packedBlock() {
        return model.most(block -> grids.quantized(block.linears()).stream().mapToLong(this::packed).sum());
    }

    /** Bytes of the largest packed linear, a copy of which is on the device while it is unpacked. */
    long largestPacked() {
        return model.most(block -> grids.quantized(block.linears()).stream().mapToLong(this::packed).max().orElse(0));
    }

    /**
     * Bytes of the solved linears that a rank keeps of a block, codes and grids, until all its devices have solved theirs and it gives
     * them to the others: of the rank that has most. One device writes each at once.
     */
    long unshared() {
        return crew.devices() == 1 ? 0 : model.most(block -> {
            SiteOwners owners = new SiteOwners(block, crew.ranks().size());
            return block.linears().stream()
                    .collect(Collectors.groupingBy(linear -> owners.of(linear.site()),
                            Collectors.summingLong(this::solved)))
                    .values().stream().mapToLong(Long::longValue).max().orElse(0);
        });
    }

    private long solved(LinearSpec linear) {
        return (long) linear.inputs() * linear.outputs() + 8L * groups(linear) * linear.outputs()
                + 4L * linear.inputs();
    }

    /** Bytes to solve the largest linear, without its Hessian. */
    long largestCopies() {
        return model.most(block -> block.linears().stream().mapToLong(this::solving).max().orElse(0));
    }

    private long packed(LinearSpec linear) {
        PackedGrid grid = grids.of(linear);
        return new PackedLayout(linear.module(), grid.bits(), grid.groupSize(), linear.inputs(), linear.outputs())
                .tensors().stream().mapToLong(tensor -> WriteBehind.aligned(tensor.bytes())).sum();
    }

    /** Linears in fp16/bf16 are solved in a float32 copy. */
    private long solving(LinearSpec linear) {
        long widened = matmulDtype == DType.F32 ? 0 : 4L * linear.inputs() * linear.outputs();
        return widened + SiteSolver.peakBytes(linear.inputs(), linear.outputs(), groups(linear));
    }

    private int groups(LinearSpec linear) {
        int groupSize = grids.of(linear).groupSize();
        return groupSize == QuantizationConfig.ONE_GROUP ? 1 : Math.ceilDiv(linear.inputs(), groupSize);
    }
}
