package dev.optgptq.gptq.testing;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Logits;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The logits of a model directory. */
public final class ModelLogits {

    private ModelLogits() {}

    /** [tokens, vocabulary], flattened. */
    public static float[] of(ModelDirectory model, TokenSequences ids, Device device) {
        Transformer transformer = Transformer.open(model, device);
        try (Arena arena = Arena.ofShared()) {
            MemorySegment logits = arena.allocate(Float.BYTES * ids.tokens() * transformer.spec().vocabSize(), 64);
            Logits.compute(transformer, ids, logits, Progress.SILENT);
            return logits.toArray(ValueLayout.JAVA_FLOAT);
        }
    }
}
