package dev.optgptq.gptq.convert.layout;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.layout.OptGqaLayout.Positions;
import dev.optgptq.gptq.testing.SharedFixtures;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The same model under the names of opt_gqa. */
class OptGqaLayoutTest {

    private static final int LENGTH = 32;

    private final Device device = Devices.open("cpu", 1);

    @AfterEach
    void close() {
        device.close();
    }

    /** Learned positions, turned matrices, fused rows, parallel blocks, a norm of the embeddings, a head's bias, scaled frequencies. */
    @ParameterizedTest
    @ValueSource(strings = {"opt", "gpt2", "bloom", "gpt-neox", "falcon-rw", "phi", "ernie4_5",
            "llama-gqa-rope-llama3"})
    void with_its_own_positions_it_computes_what_the_source_does(String name) {
        try (ModelDirectory source = SharedFixtures.open(name);
                OptGqaLayout layout = new OptGqaLayout(source, ModelSpec.resolve(source), Positions.kept(source,
                        ModelSpec.resolve(source)))) {
            ModelSpec spec = ModelSpec.resolve(layout.directory());
            assertEquals("opt_gqa", spec.family());
            assertTrue(spec.remarks().isEmpty(), spec.remarks().toString());
            ModelComparison found = ModelComparison.evaluate(Transformer.open(source, device),
                    Transformer.open(layout.directory(), device), text(source), Progress.SILENT);
            // bloom's normed embeddings are rounded to the dtype of its table.
            boolean rounded = name.equals("bloom");
            assertEquals(0, found.divergence().kl(), rounded ? 1e-4 : 1e-9);
            assertEquals(1, found.baseline().perplexity() / found.candidate().perplexity(), rounded ? 1e-3 : 1e-6);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama-mha", "qwen2", "opt"})
    void with_alibi_every_layer_gets_the_slopes_of_the_paper(String name) {
        try (ModelDirectory source = SharedFixtures.open(name)) {
            ModelSpec spec = ModelSpec.resolve(source);
            try (OptGqaLayout layout = new OptGqaLayout(source, spec, new Positions.Alibi(LENGTH))) {
                ModelSpec written = ModelSpec.resolve(layout.directory());
                Transformer.open(layout.directory(), device);
                assertTrue(written.remarks().isEmpty(), written.remarks().toString());
                assertEquals(null, written.embedding().positions());
                written.blockSpecs().forEach(block -> {
                    Mixer.Attention form = (Mixer.Attention) block.mixer();
                    assertEquals(form.heads(), ((Position.Alibi) form.position()).stated().size());
                });
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"starcoder2, a window of attention", "smollm3, without positions", "gemma2, a head with scale",
            "qwen3, norms of queries and keys"})
    void what_the_form_has_no_room_for_is_refused_by_name(String name, String what) {
        try (ModelDirectory source = SharedFixtures.open(name)) {
            ModelSpec spec = ModelSpec.resolve(source);
            assertUserError(UserError.Code.UNSUPPORTED_MODEL,
                    () -> new OptGqaLayout(source, spec, new Positions.Alibi(LENGTH)).close(), what);
        }
    }

    @Test
    void the_code_that_transformers_runs_it_with_is_there() {
        for (String name : RemoteCode.FILES) {
            assertTrue(RemoteCode.bytes(name).length > 1000, name);
        }
    }

    private static TokenSequences text(ModelDirectory source) {
        int vocabulary = ModelSpec.resolve(source).vocabSize();
        return new TokenSequences(IntStream.range(0, 2 * LENGTH).map(i -> (i * 37 + i * i) % vocabulary).toArray(), 2,
                LENGTH);
    }
}
