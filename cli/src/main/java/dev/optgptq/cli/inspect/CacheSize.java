package dev.optgptq.cli.inspect;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;

/**
 * The KV cache of a model, in 16 bits.
 *
 * @param bytesPerToken of all layers, as long as no window is full
 * @param context tokens
 * @param bytesAtContext of one sequence of so many; layers with a window keep no more than that
 */
public record CacheSize(long bytesPerToken, int context, long bytesAtContext) {

    static CacheSize of(ModelSpec spec, int context) {
        long perToken = 0;
        long bytes = 0;
        for (BlockSpec block : spec.blockSpecs()) {
            long each = perToken(block.mixer());
            perToken += each;
            bytes += each * kept(block.mixer(), context);
        }
        return new CacheSize(perToken, context, bytes);
    }

    private static long perToken(Mixer mixer) {
        return DType.F16.bytes() * switch (mixer) {
            case Mixer.Attention form -> 2L * form.kvHeads() * form.headDim();
            // What is kept is the latent, and the rotary key that all heads share.
            case Mixer.LatentAttention form -> form.kvRank() + form.rotaryDim();
            case Mixer.DeltaNet form -> 0L;
        };
    }

    private static long kept(Mixer mixer, int context) {
        return mixer instanceof Mixer.Attention form && form.window() > 0 ? Math.min(form.window(), context) : context;
    }
}
