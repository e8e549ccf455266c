package dev.optgptq.calibrate.family;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.eval.Logits;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** config.json may say that the head is the embedding table while the checkpoint holds another: transformers keeps both. */
class TiedHeadTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void aHeadThatDiffersFromTheEmbeddingTableIsRunAndNamed() throws IOException {
        Path apart = Fixture.copy(Fixture.LLAMA, folder.resolve("apart"), config -> {});
        Path said = Fixture.copy(Fixture.LLAMA, folder.resolve("said"),
                config -> config.put("tie_word_embeddings", true));

        try (ModelDirectory directory = ModelDirectory.open(said)) {
            ModelSpec spec = ModelSpec.resolve(directory);
            assertFalse(spec.head().tied());
            assertEquals(1, spec.remarks().size(), spec.remarks().toString());
            String remark = spec.remarks().getFirst();
            assertTrue(remark.contains("lm_head.weight differs from model.embed_tokens.weight"), remark);
        }
        assertArrayEquals(logits(apart), logits(said));
    }

    private byte[] logits(Path model) throws IOException {
        Path file = folder.resolve(model.getFileName() + ".safetensors");
        try (Device device = Devices.open("cpu", 1); ModelDirectory directory = ModelDirectory.open(model)) {
            ModelSpec spec = ModelSpec.resolve(directory);
            Logits.write(Transformer.open(directory, spec, device),
                    InputIds.read(Fixture.golden(Fixture.LLAMA), spec.vocabSize()), file, Progress.SILENT);
        }
        return Files.readAllBytes(file);
    }
}
