package dev.optgptq.kernels.ops;

/**
 * The sizes of attention over pages.
 *
 * @param scale multiplies q.k
 * @param softcap scaled scores s become softcap tanh(s / softcap); 0 for none
 * @param window keys visible to a query, itself included; 0 for all before it
 */
public record CacheShape(int heads, int kvHeads, int headDim, float scale, float softcap, int window) {

    public CacheShape {
        if (heads < 1 || kvHeads < 1 || headDim < 1 || !(softcap >= 0) || window < 0 || heads % kvHeads != 0) {
            throw new IllegalArgumentException("bad attention shape: heads " + heads + ", kvHeads " + kvHeads
                    + ", headDim " + headDim + ", window " + window);
        }
    }

    /** Query heads that share a KV head. */
    public int group() {
        return heads / kvHeads;
    }
}
