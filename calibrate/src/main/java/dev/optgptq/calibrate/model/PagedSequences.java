package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.CacheOps;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import dev.optgptq.kernels.ops.CacheShape;
import dev.optgptq.kernels.ops.FusedOps;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Rows that are new tokens of sequences whose earlier tokens are in pages.
 *
 * @param pages of each block
 * @param positions I32 [1, N]
 * @param slots I32 [1, N]: where each row's keys and values go
 */
record PagedSequences(CacheOps cache, FusedOps fused, Tables tables, List<CachePages> pages, CacheRows rows,
        Tensor positions,
        Tensor slots) implements TokenContext {

    @Override
    public boolean turns() {
        return true;
    }

    @Override
    public void attend(AttentionInputs in, Tensor out, @Nullable Tensor rounded) {
        Mixer.Attention form = in.form();
        CachePages own = pages.get(in.block().index());
        if (form.position() instanceof Position.Rotary rotary) {
            Tables.Rotation rotation = tables.rotation(rotary);
            fused.turnAndAppend(in.queries(), in.keys(), in.values(),
                    new FusedOps.Rotation(rotation.cos(), rotation.sin(), positions, rotary.layout()), slots, own);
        } else {
            cache.append(in.keys(), in.values(), slots, own);
        }
        Tensor slopes = form.position() instanceof Position.Alibi alibi ? tables.slopes(alibi, form.heads()) : null;
        CacheShape shape = new CacheShape(form.heads(), form.kvHeads(), form.headDim(), form.scale(), form.softcap(),
                form.window());
        if (rounded == null) {
            cache.attend(in.queries(), own, rows, slopes, in.sinks(), shape, out);
        } else {
            fused.attend(in.queries(), own, rows, slopes, in.sinks(), shape, out, rounded);
        }
    }
}
