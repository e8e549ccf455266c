package dev.optgptq.calibrate.family;

import dev.optgptq.formats.dtype.DType;

/** How a block moves information between tokens. */
public sealed interface Mixer permits Mixer.Attention, Mixer.LatentAttention, Mixer.DeltaNet {

    /** Width of the output projection's input. */
    int outputWidth();

    Mixer withFrequencyType(DType type);

    /**
     * Attention over heads (Vaswani et al. 2017), with fewer key-value heads than query heads or as many (Ainslie et al.
     * 2023).
     *
     * @param scale multiplies q.k
     * @param window keys that a query sees, itself included; 0 for all before it
     * @param softcap scores = cap tanh(scores / cap); 0 for none
     * @param gated whether the output is multiplied by the sigmoid of a gate, projected together with the queries
     */
    record Attention(int heads, int kvHeads, int headDim, float scale, int window, float softcap, Position position,
            Clip clip, boolean gated) implements Mixer {

        /** The same with another window. */
        public Attention withWindow(int other) {
            return new Attention(heads, kvHeads, headDim, scale, other, softcap, position, clip, gated);
        }

        /** Width of all query heads, and of the attention's output. */
        public int queryWidth() {
            return heads * headDim;
        }

        /** Width of all key heads, and of all value heads. */
        public int kvWidth() {
            return kvHeads * headDim;
        }

        @Override
        public int outputWidth() {
            return queryWidth();
        }

        @Override
        public Attention withFrequencyType(DType type) {
            return new Attention(heads, kvHeads, headDim, scale, window, softcap, position.withFrequencyType(type),
                    clip,
                    gated);
        }
    }

    /**
     * Queries, keys and values are cut off at this size; after their norms (olmoe), or before (mpt).
     *
     * @param limit 0 for none
     */
    record Clip(float limit, boolean beforeNorm) {
        public static final Clip NONE = new Clip(0, false);
    }

    /**
     * Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values are made from a narrow latent, and one
     * rotary key is shared by all heads.
     *
     * @param queryRank width of the latent that queries are made from; 0 where they are made from the input
     * @param kvRank width of that of keys and values
     * @param plainDim elements of a query or key head that do not turn
     * @param rotaryDim those that do
     */
    record LatentAttention(int heads, int queryRank, int kvRank, int plainDim, int rotaryDim, int valueDim, float scale,
            Position.Rotary position) implements Mixer {

        public int headDim() {
            return plainDim + rotaryDim;
        }

        @Override
        public int outputWidth() {
            return heads * valueDim;
        }

        @Override
        public LatentAttention withFrequencyType(DType type) {
            return new LatentAttention(heads, queryRank, kvRank, plainDim, rotaryDim, valueDim, scale,
                    position.withFrequencyType(type));
        }
    }

    /**
     * Gated deltanet (Yang et al. 2024, arXiv 2412.06464): a linear recurrence over a state of one matrix a head.
     *
     * @param kernel taps of the convolution before it
     */
    record DeltaNet(int keyHeads, int valueHeads, int keyDim, int valueDim, int kernel) implements Mixer {

        public int keyWidth() {
            return keyHeads * keyDim;
        }

        public int valueWidth() {
            return valueHeads * valueDim;
        }

        @Override
        public int outputWidth() {
            return valueWidth();
        }

        @Override
        public DeltaNet withFrequencyType(DType type) {
            return this;
        }
    }
}
