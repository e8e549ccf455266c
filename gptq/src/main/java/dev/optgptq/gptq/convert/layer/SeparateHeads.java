package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.family.RowOrder;
import dev.optgptq.calibrate.model.AttentionParts;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.LinearWeights;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import org.jspecify.annotations.Nullable;

/**
 * The separate matrices of a block's attention. They are views of its weights, or copies where its family fuses rows head by head
 * (bloom, gpt_neox) or group by group (falcon, internlm2).
 */
record SeparateHeads(Device device, BlockWeights block, AttentionParts parts) {

    /** The arena owns the copies. */
    static SeparateHeads of(Mixer.Attention form, BlockWeights block, Device device, TensorArena arena) {
        if (!interleaved(block)) {
            return new SeparateHeads(device, block, AttentionParts.of(form, block));
        }
        LinearWeights fused = block.of(Projection.QUERY_KEY_VALUE);
        Tensor weight = fused.weight();
        Tensor rows = arena.matrix(weight.dtype(), weight.rows(), weight.columns());
        Tensor fusedBias = fused.bias();
        Tensor bias = fusedBias == null ? null : arena.matrix(fusedBias.dtype(), 1, weight.rows());
        AttentionParts parts = AttentionParts.of(form, rows, bias, block.of(Projection.ATTENTION_OUTPUT));
        SeparateHeads heads = new SeparateHeads(device, block, parts);
        heads.eachRun((at, onDisk, count) -> {
            device.matrix().copy(weight.rows(onDisk, count), rows.rows(at, count));
            copyBias(device, fusedBias, onDisk, bias, at, count);
        });
        return heads;
    }

    private static boolean interleaved(BlockWeights block) {
        return block.spec().has(Projection.QUERY_KEY_VALUE) && !order(block).isConcatenated();
    }

    private static RowOrder order(BlockWeights block) {
        return block.spec().linear(Projection.QUERY_KEY_VALUE).view().rows();
    }

    /** Makes the block compute with these weights; shared heads are repeated for each head that they stand for. */
    void write(AttentionMatrices weights) {
        GroupedWeights copies = new GroupedWeights(new HostCopies(device));
        copies.expand(weights, parts);
        copies.expandKeyNorm(weights, block.norm(NormSlot.KEY));
        if (interleaved(block)) {
            LinearWeights fused = block.of(Projection.QUERY_KEY_VALUE);
            putBack(parts.query(), parts.queryBias(), 0, fused);
            long queries = parts.query().rows();
            putBack(parts.key(), parts.keyBias(), queries, fused);
            putBack(parts.value(), parts.valueBias(), queries + parts.key().rows(), fused);
            device.synchronize();
        }
    }

    /** @param first row of the part, with the parts one after the other */
    private void putBack(Tensor part, @Nullable Tensor bias, long first, LinearWeights fused) {
        eachRun((at, onDisk, count) -> {
            long row = at - first;
            if (row >= 0 && row < part.rows()) {
                device.matrix().copy(part.rows(row, count), fused.weight().rows(onDisk, count));
                copyBias(device, bias, row, fused.bias(), onDisk, count);
            }
        });
    }

    private static void copyBias(Device device, @Nullable Tensor from, long first, @Nullable Tensor to, long at,
            long count) {
        if (from != null && to != null) {
            device.matrix().copy(from.columns(first, count), to.columns(at, count));
        }
    }

    /** Rows that are neighbours on disk, too. */
    @FunctionalInterface
    private interface Run {
        /** @param at where they begin with the parts one after the other */
        void rows(long at, long onDisk, long count);
    }

    private void eachRun(Run run) {
        int[] onDisk = order(block).onDisk();
        int first = 0;
        for (int end = 1; end <= onDisk.length; end++) {
            if (end == onDisk.length || onDisk[end] != onDisk[end - 1] + 1) {
                run.rows(first, onDisk[first], end - (long) first);
                first = end;
            }
        }
    }
}
