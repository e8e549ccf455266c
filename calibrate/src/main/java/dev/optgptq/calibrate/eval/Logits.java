package dev.optgptq.calibrate.eval;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.HostBuffer;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** What a model predicts, in full, for comparing with other implementations. */
public final class Logits {

    private static final long MEMORY_LIMIT = 512L << 20;

    private Logits() {}

    /** Writes a safetensors file with "logits" float32 [batch, length, vocabulary]. */
    public static void write(Transformer model, TokenSequences ids, Path output, Progress progress) {
        TensorSpec spec = new TensorSpec("logits", DType.F32,
                Shape.of(ids.count(), ids.length(), model.spec().vocabSize()));
        try (HostBuffer logits = new HostBuffer(spec.bytes(), MEMORY_LIMIT);
                SafetensorsWriter writer = new SafetensorsWriter(output, List.of(spec), Map.of())) {
            compute(model, ids, logits.memory(), progress);
            writer.write(spec.name(), logits.memory());
            writer.finish();
        }
    }

    /** @param logits float32 [batch, length, vocabulary], written */
    public static void compute(Transformer model, TokenSequences ids, MemorySegment logits, Progress progress) {
        long rowBytes = (long) model.spec().vocabSize() * Float.BYTES;
        new LogitsStream(List.of(new LogitsStream.Source(model, "logits")), ids, progress, LogitsStream.Limits.DEFAULT)
                .run((first, chunks) -> {
                    Tensor chunk = chunks.getFirst();
                    model.device().download(chunk, logits.asSlice(first * rowBytes, chunk.rows() * rowBytes));
                });
    }
}
