package dev.optgptq.gptq.convert.layout;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.layout.OptGqaLayout.Positions;
import dev.optgptq.gptq.testing.SharedFixtures;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A model with ALiBi under the names of mpt. */
class FusedGeluLayoutTest {

    private static final int LENGTH = 32;

    @Test
    void an_opt_model_with_alibi_computes_the_same_but_for_what_gelu_errs() {
        try (ModelDirectory source = SharedFixtures.open("opt");
                Device device = Devices.open("cpu", 1);
                OptGqaLayout alibi = new OptGqaLayout(source, ModelSpec.resolve(source), new Positions.Alibi(LENGTH));
                FusedGeluLayout mpt = new FusedGeluLayout(alibi.directory())) {
            ModelSpec spec = ModelSpec.resolve(mpt.directory());
            assertEquals("mpt", spec.family());
            assertTrue(spec.remarks().isEmpty(), spec.remarks().toString());
            int[] ids = IntStream.range(0, 2 * LENGTH).map(i -> (i * 37 + i * i) % spec.vocabSize()).toArray();

            ModelComparison found = ModelComparison.evaluate(Transformer.open(alibi.directory(), device),
                    Transformer.open(mpt.directory(), device), new TokenSequences(ids, 2, LENGTH), Progress.SILENT);

            assertTrue(found.divergence().kl() < 1e-4, "KL divergence " + found.divergence().kl());
        }
    }

    @Test
    void a_bloom_model_computes_the_same_but_for_the_rounding_of_its_normed_embeddings() {
        try (ModelDirectory source = SharedFixtures.open("bloom");
                Device device = Devices.open("cpu", 1);
                OptGqaLayout kept = new OptGqaLayout(source, ModelSpec.resolve(source),
                        Positions.kept(source, ModelSpec.resolve(source)));
                FusedGeluLayout mpt = new FusedGeluLayout(kept.directory())) {
            ModelSpec spec = ModelSpec.resolve(mpt.directory());
            assertTrue(spec.remarks().isEmpty(), spec.remarks().toString());
            int[] ids = IntStream.range(0, 2 * LENGTH).map(i -> (i * 37 + i * i) % spec.vocabSize()).toArray();

            ModelComparison found = ModelComparison.evaluate(Transformer.open(source, device),
                    Transformer.open(mpt.directory(), device), new TokenSequences(ids, 2, LENGTH), Progress.SILENT);

            assertTrue(found.divergence().kl() < 1e-4, "KL divergence " + found.divergence().kl());
        }
    }

    @Test
    void slopes_that_mpt_does_not_have_are_refused() {
        try (ModelDirectory source = SharedFixtures.open("falcon-rw");
                OptGqaLayout kept = new OptGqaLayout(source, ModelSpec.resolve(source),
                        Positions.kept(source, ModelSpec.resolve(source)))) {
            assertUserError(Code.UNSUPPORTED_MODEL, () -> new FusedGeluLayout(kept.directory()).close(), "--layout mpt",
                    "slopes other than those of the paper");
        }
    }

    @ParameterizedTest
    @CsvSource({"llama-mha, RMS norms", "qwen2, RMS norms"})
    void what_mpt_has_no_room_for_is_refused_by_name(String name, String what) {
        try (ModelDirectory source = SharedFixtures.open(name);
                OptGqaLayout alibi = new OptGqaLayout(source, ModelSpec.resolve(source),
                        new Positions.Alibi(LENGTH))) {
            assertUserError(Code.UNSUPPORTED_MODEL, () -> new FusedGeluLayout(alibi.directory()).close(),
                    "--layout mpt",
                    what);
        }
    }
}
