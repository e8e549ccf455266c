package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;

/** The residual stream of a text. */
final class Streams {

    private Streams() {}

    /** On the host. */
    static ActivationStore embedded(Transformer model, TokenSequences text, int batchTokens) {
        return embedded(model, text, batchTokens, false);
    }

    /**
     * Before the first block; embedded in batches of tokens.
     *
     * @param onDevice keeps it there, else on the host
     */
    static ActivationStore embedded(Transformer model, TokenSequences text, int batchTokens, boolean onDevice) {
        int hidden = model.spec().hiddenSize();
        Device device = model.device();
        ActivationStore store = onDevice
                ? ActivationStore.onDevice(device, text.tokens(), hidden)
                : new ActivationStore(text.tokens(), hidden, Long.MAX_VALUE);
        try (TensorArena scratch = device.arena()) {
            int together = Math.clamp(batchTokens / text.length(), 1, text.count());
            Tensor buffer = scratch.matrix(DType.F32, (long) together * text.length(), hidden);
            Tensor ids = scratch.vector(DType.I32, buffer.rows());
            model.withEmbedding(text.length(), embedding -> {
                for (int first = 0; first < text.count(); first += together) {
                    long n = (long) Math.min(together, text.count() - first) * text.length();
                    text.upload(device, first, ids.columns(0, n));
                    embedding.embed(ids.columns(0, n), buffer.rows(0, n));
                    store.write(device, (long) first * text.length(), buffer.rows(0, n));
                }
            });
            return store;
        } catch (RuntimeException e) {
            store.close();
            throw e;
        }
    }
}
