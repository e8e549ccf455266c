package dev.optgptq.calibrate.generate;

import static dev.optgptq.calibrate.generate.Generation.greedy;
import static dev.optgptq.calibrate.generate.Generation.joined;
import static dev.optgptq.calibrate.generate.Generation.run;
import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.family.FamilyFixtures;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.testing.SharedFiles;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.ops.CacheType;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** Every described family generates what its forward pass says, or is refused by the name of what has no cache yet. */
class FamilyGenerationTest {

    /** Latent attention and gated deltanet layers. */
    static final List<String> WITHOUT_CACHE = List.of("deepseek-v2", "deepseek-v2-lite", "deepseek-v3", "qwen3-5-text",
            "qwen3-next");
    static final List<String> FIXTURES = FamilyFixtures.all().filter(name -> !WITHOUT_CACHE.contains(name)).toList();

    /** More than a part of 16, and with the answer within the shortest context of all fixtures, 32. */
    private static final int PROMPT = 21;
    private static final int ANSWER = 8;

    @ParameterizedTest
    @FieldSource("FIXTURES")
    void greedyTokensAreTheLikeliestOfTheWholeForwardPass(String fixture) {
        Path path = SharedFiles.require("fixtures/" + fixture);
        try (Device device = Devices.open("cpu", 2); ModelDirectory directory = ModelDirectory.open(path)) {
            Transformer model = Transformer.open(directory, ModelSpec.resolve(directory), device);
            int[] prompt = new SplittableRandom(4).ints(PROMPT, 0, model.spec().vocabSize()).toArray();
            PageLimits limits = new PageLimits(CacheType.F32, 2, 1, 16, PROMPT + ANSWER, 1);
            int[] answer = run(model, limits, List.of(greedy(prompt, ANSWER))).answers().getFirst().tokens();
            assertEquals(ANSWER, answer.length);
            float[][] logits = Generation.logits(model, joined(prompt, answer));
            for (int i = 0; i < ANSWER; i++) {
                Likeliest.require(logits[PROMPT + i - 1], answer[i], "token " + i + " of the answer");
            }
        }
    }

    @ParameterizedTest
    @FieldSource("WITHOUT_CACHE")
    void whatHasNoCacheIsRefusedByName(String fixture) {
        Path path = SharedFiles.require("fixtures/" + fixture);
        try (Device device = Devices.open("cpu", 1); ModelDirectory directory = ModelDirectory.open(path)) {
            Transformer model = Transformer.open(directory, ModelSpec.resolve(directory), device);
            PageLimits limits = new PageLimits(CacheType.F32, 2, 1, 16, PROMPT + ANSWER, 1);
            assertUserError(Code.UNSUPPORTED_MODEL, () -> run(model, limits, List.of(greedy(new int[] {1}, 1))),
                    model.spec().family(), "block ");
        }
    }
}
