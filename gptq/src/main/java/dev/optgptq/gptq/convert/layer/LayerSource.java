package dev.optgptq.gptq.convert.layer;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.model.AttentionParts;
import dev.optgptq.calibrate.model.AttentionParts.Positions;
import dev.optgptq.calibrate.model.HeadNorms;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;

/**
 * One block as it is being converted.
 *
 * @param original the block as it was
 * @param converted to be overwritten: shared heads are repeated for each head of the original, so that it computes the
 *     same as the converted block
 * @param attention the original's
 */
record LayerSource(Side original, Side converted, LayerAttention attention, Sequences sequences) {

    /**
     * A block that can run.
     *
     * @param model whose it is
     * @param workspace for batches of the sequences
     * @param heads its attention's matrices
     */
    record Side(Transformer model, BlockWeights block, Transformer.Workspace workspace, SeparateHeads heads) {

        /** With weights of its own; the arena owns all. */
        static Side load(Transformer model, int block, Sequences sequences, TensorArena arena) {
            return of(model, model.loadBlock(block, arena),
                    model.workspace(arena, sequences.batchRows(), sequences.length()), arena);
        }

        private static Side of(Transformer model, BlockWeights block, Transformer.Workspace workspace,
                TensorArena arena) {
            return new Side(model, block, workspace,
                    SeparateHeads.of(attentionOf(block.spec()), block, model.device(), arena));
        }

        /** With weights of its own, in the same workspace. */
        Side again(TensorArena arena) {
            return of(model, model.loadBlock(block.spec().index(), arena), workspace, arena);
        }

        /** Runs in place: x F32 [N, hidden]. */
        void forward(Tensor x, InputTap tap) {
            model.forward(block, x, workspace, tap);
        }

        /**
         * What enters the attention's linears for the tokens x, which are left as they are.
         *
         * @param into F32, as x; written
         */
        void normed(Tensor x, Tensor into) {
            forward(x, (site, input, tokens) -> {
                if (site.equals(InputSite.ATTENTION_INPUT)) {
                    model.device().matrix().copy(input, into);
                }
                return false;
            });
        }

        AttentionParts parts() {
            return heads.parts();
        }

        /** Its attention alone, for sequences of that length; the arena owns the tables of its positions. */
        LayerAttention attention(int length, TensorArena arena) {
            Mixer.Attention form = attentionOf(block.spec());
            AttentionShape shape = new AttentionShape(length, form.heads(), form.kvHeads(), form.headDim(),
                    form.headDim(), form.scale(), form.softcap(), form.window());
            return new LayerAttention(model.device(), shape, Positions.of(form, length, model.device(), arena),
                    parts(), HeadNorms.of(block));
        }
    }

    /** A block of a model, twice. */
    static LayerSource load(Transformer model, int block, Sequences sequences, TensorArena arena) {
        Side original = Side.load(model, block, sequences, arena);
        return new LayerSource(original, original.again(arena), original.attention(sequences.length(), arena),
                sequences);
    }

    Device device() {
        return original.model().device();
    }

    /** Advances both streams through the block. */
    void advance(Tensor buffer) {
        advanceOriginal(buffer);
        advanceConverted(buffer);
    }

    void advanceOriginal(Tensor buffer) {
        advance(original, sequences.original(), buffer);
    }

    void advanceConverted(Tensor buffer) {
        advance(converted, sequences.converted(), buffer);
    }

    private void advance(Side side, ActivationStore store, Tensor buffer) {
        sequences.update(side.model().device(), store, buffer, x -> side.forward(x, InputTap.NONE));
    }

    /** The attention of a block that passed ConvertCheck. */
    static Mixer.Attention attentionOf(BlockSpec block) {
        return switch (block.mixer()) {
            case Mixer.Attention form -> form;
            case Mixer.LatentAttention form -> throw new IllegalArgumentException(form.toString());
            case Mixer.DeltaNet form -> throw new IllegalArgumentException(form.toString());
        };
    }

    int hidden() {
        return original.model().spec().hiddenSize();
    }
}
