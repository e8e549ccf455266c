package dev.optgptq.kernels.reference;

import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.CacheOps;
import dev.optgptq.kernels.ops.CachePages;
import dev.optgptq.kernels.ops.CacheRows;
import dev.optgptq.kernels.ops.CacheShape;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.jspecify.annotations.Nullable;

/** The definition of CacheOps: scalar loops, float64 sums; the codes of pages in float32, so that all devices make the same. */
public final class ReferenceCacheOps implements CacheOps {

    @Override
    public void append(Tensor k, Tensor v, Tensor slots, CachePages pages) {
        ReferencePages keys = ReferencePages.keys(pages);
        ReferencePages values = ReferencePages.values(pages);
        for (long r = 0; r < k.rows(); r++) {
            int slot = Elements.getInt(slots, 0, r);
            for (int head = 0; slot >= 0 && head < pages.kvHeads(); head++) {
                keys.store(k, r, head, slot);
                values.store(v, r, head, slot);
            }
        }
    }

    @Override
    public void attend(Tensor q, CachePages pages, CacheRows rows, @Nullable Tensor slopes, @Nullable Tensor sinks,
            CacheShape shape, Tensor out) {
        ReferencePagedAttention attention = new ReferencePagedAttention(q, pages, rows, slopes, sinks, shape, out);
        for (int sequence = 0; sequence < rows.sequences(); sequence++) {
            attention.sequence(sequence);
        }
    }

    @Override
    public void rotaryAt(Tensor x, int headDim, Tensor cos, Tensor sin, Tensor positions, RotaryLayout layout) {
        ReferenceNeuralOps neural = new ReferenceNeuralOps();
        for (long r = 0; r < x.rows(); r++) {
            int position = Elements.getInt(positions, 0, r);
            neural.rotary(x.rows(r, 1), headDim, cos.rows(position, 1), sin.rows(position, 1), layout);
        }
    }

    @Override
    public void argmax(Tensor logits, Tensor ids) {
        for (long r = 0; r < logits.rows(); r++) {
            int best = 0;
            for (int c = 0; best >= 0 && c < logits.columns(); c++) {
                double logit = Elements.get(logits, r, c);
                if (!Double.isFinite(logit)) {
                    best = -1;
                } else if (logit > Elements.get(logits, r, best)) {
                    best = c;
                }
            }
            Elements.setInt(ids, 0, r, best);
        }
    }
}
