package dev.optgptq.calibrate.family;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Logits;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.testing.SharedFiles;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** Baichuan 2 divides the rows of its head by their lengths: logits are cosines times the length of the hidden state. */
class NormalisedHeadTest {

    @Test
    void logitsAreThoseOfThePlainHeadDividedByTheLengthOfTheirRow() {
        Path folder = SharedFiles.require("fixtures/baichuan-13b");
        try (Device device = Devices.open("cpu", 1); ModelDirectory model = ModelDirectory.open(folder)) {
            ModelSpec plain = ModelSpec.resolve(model);
            HeadSpec head = plain.head();
            ModelSpec normalised = plain
                    .withHead(new HeadSpec(head.norm(), head.projection(), head.width(), head.module(),
                            head.tied(), head.bias(), true, head.scale(), head.softcap()), "normalised");
            MemorySegment rows = model.tensor("lm_head.weight").data();
            float[] before = logits(model, plain, device);
            float[] after = logits(model, normalised, device);
            int vocabulary = plain.vocabSize();
            for (int i = 0; i < before.length; i++) {
                double expected = before[i] / length(rows, i % vocabulary, plain.hiddenSize());
                assertEquals(expected, after[i], 1e-5 * Math.max(1, Math.abs(expected)), "logit " + i);
            }
        }
    }

    /** @param rows BF16 [rows, width] */
    private static double length(MemorySegment rows, int row, int width) {
        double sum = 0;
        for (int i = row * width; i < (row + 1) * width; i++) {
            double value = Float.intBitsToFloat(rows.get(ValueLayout.JAVA_SHORT_UNALIGNED, 2L * i) << 16);
            sum += value * value;
        }
        return Math.sqrt(sum);
    }

    private static float[] logits(ModelDirectory model, ModelSpec spec, Device device) {
        TokenSequences ids = InputIds.read(model.path().resolve("golden.safetensors"), spec.vocabSize());
        try (Arena arena = Arena.ofShared()) {
            MemorySegment logits = arena.allocate(Float.BYTES * ids.tokens() * spec.vocabSize(), 64);
            Logits.compute(Transformer.open(model, spec, device), ids, logits, Progress.SILENT);
            return logits.toArray(ValueLayout.JAVA_FLOAT);
        }
    }
}
