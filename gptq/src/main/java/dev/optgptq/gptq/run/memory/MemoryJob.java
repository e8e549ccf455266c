package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.PackedLayout;
import dev.optgptq.formats.packed.QuantizationConfig;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.solve.SiteSolver;
import org.jspecify.annotations.Nullable;

/**
 * What of a run decides its memory.
 *
 * @param matmulDtype of the linears while calibrating
 * @param bits of a packed weight
 * @param groupSize inputs per scale, -1 for all
 * @param refinement what gradient calibration does; null for other calibrators
 * @param devices that share it
 */
public record MemoryJob(ModelSpec model, DType matmulDtype, int bits, int groupSize, @Nullable Refinement refinement,
        int devices) {

    /** Whether tokens are weighed by the loss's gradient. */
    boolean weighs() {
        return refinement != null && refinement.weighTokens();
    }

    /** How many streams of all sequences lie between blocks: that of the original model may be the second. */
    int streams() {
        return refinement != null && refinement.followsOriginal() ? 2 : 1;
    }

    /** How many sequences lie between blocks, those counted twice that lie there as two models have them. */
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

    /** Inputs per scale; more than there are for all. */
    int inputsPerScale() {
        return groupSize == QuantizationConfig.ONE_GROUP ? Integer.MAX_VALUE : groupSize;
    }

    /** Bytes of the packed tensors of the block that has most, as they lie in the memory where they wait. */
    long packedBlock() {
        return model.most(block -> block.linears().stream().mapToLong(this::packed).sum());
    }

    /** Bytes of the largest packed linear, which lies on the device as it is stored while it is unpacked. */
    long largestPacked() {
        return model.most(block -> block.linears().stream().mapToLong(this::packed).max().orElse(0));
    }

    /** Bytes of what solving the largest linear takes, beside its Hessian's. */
    long largestCopies() {
        return model.most(block -> block.linears().stream().mapToLong(this::solving).max().orElse(0));
    }

    private long packed(LinearSpec linear) {
        return new PackedLayout(linear.module(), bits, groupSize, linear.inputs(), linear.outputs()).tensors().stream()
                .mapToLong(tensor -> WriteBehind.aligned(tensor.bytes())).sum();
    }

    /** Where linears are of fp16 or bf16, they are solved in a float32 copy. */
    private long solving(LinearSpec linear) {
        int groups = groupSize == QuantizationConfig.ONE_GROUP ? 1 : Math.ceilDiv(linear.inputs(), groupSize);
        long widened = matmulDtype == DType.F32 ? 0 : 4L * linear.inputs() * linear.outputs();
        return widened + SiteSolver.peakBytes(linear.inputs(), linear.outputs(), groups);
    }
}
