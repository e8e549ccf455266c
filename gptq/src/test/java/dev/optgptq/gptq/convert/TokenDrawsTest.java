package dev.optgptq.gptq.convert;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.Head;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.HostVectors;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Draws of a tiny model that puts out the same for all tokens. */
class TokenDrawsTest {

    private static final int LENGTH = 64;
    private static final int WINDOWS = 64;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void draws_fall_as_the_softmax_of_the_logits_says() {
        try (Device device = Devices.open("cpu", 1);
                ModelDirectory directory = ModelDirectory.open(TinyModel.LLAMA.write(folder.resolve("model")));
                TensorArena arena = device.arena();
                Arena host = Arena.ofShared()) {
            Transformer model = Transformer.open(directory, device);
            int hidden = model.spec().hiddenSize();
            MemorySegment values = host.allocate((long) hidden * Float.BYTES, Float.BYTES);
            for (int i = 0; i < hidden; i++) {
                values.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) Math.sin(i + 1.0));
            }
            Tensor row = arena.matrix(DType.F32, 1, hidden);
            device.upload(values, row);
            TokenSequences text = new TokenSequences(new int[WINDOWS * LENGTH], WINDOWS, LENGTH);
            TokenDraws draws = TokenDraws.of(text);
            try (ActivationStore outputs = new ActivationStore(text.tokens(), hidden, Long.MAX_VALUE)) {
                for (int token = 0; token < text.tokens(); token++) {
                    outputs.write(device, token, row);
                }
                draws.draw(model, 0, outputs, LENGTH, 7);
            }
            double[] expected = softmax(model, row, arena);
            double[] found = new double[expected.length];
            int count = 0;
            for (int[] ids : draws.ids()) {
                for (int token = 0; token < ids.length; token++) {
                    if (token % LENGTH != 0) {
                        found[ids[token]]++;
                        count++;
                    }
                }
                assertEquals(0, ids[LENGTH], "the first token of a window has no prediction");
            }
            for (int id = 0; id < expected.length; id++) {
                // About 1,000 rows of noise: a standard error of 0.016 at most.
                assertEquals(expected[id], found[id] / count, 0.06, "token " + id);
            }
        }
    }

    private static double[] softmax(Transformer model, Tensor row, TensorArena arena) {
        Head head = model.loadHead(arena);
        Tensor logits = arena.matrix(DType.F32, 1, model.spec().vocabSize());
        model.logits(head, row, arena.matrix(DType.F32, 1, row.columns()), logits);
        float[] values = HostVectors.floats(model.device(), logits);
        double[] powers = new double[values.length];
        Arrays.setAll(powers, i -> Math.exp(values[i]));
        double sum = Arrays.stream(powers).sum();
        return Arrays.stream(powers).map(power -> power / sum).toArray();
    }
}
