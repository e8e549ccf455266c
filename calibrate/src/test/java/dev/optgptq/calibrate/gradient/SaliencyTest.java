package dev.optgptq.calibrate.gradient;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.model.Replicas;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class SaliencyTest {

    private static final int LENGTH = 48;
    private static final Labels NEXT = new NextToken();

    private static List<InputSite> sites() {
        return List.of(InputSite.ATTENTION_INPUT, InputSite.ATTENTION_OUTPUT, InputSite.MLP_INPUT,
                InputSite.MLP_OUTPUT);
    }

    @ParameterizedTest
    @MethodSource("sites")
    void everyTokenHasAWeightThatIsNotNegativeAndTheirMeanIsOne(InputSite site) {
        onCpu(Fixture.LLAMA_GQA, (model, text) -> {
            try (Saliency saliency = capture(model, text, NEXT, GradientStream.Limits.DEFAULT)) {
                float[] weights = saliency.weights(1, site);
                double sum = 0;
                for (float weight : weights) {
                    assertTrue(weight >= 0, () -> site + ": " + weight);
                    sum += weight;
                }
                assertEquals(2 * LENGTH, weights.length);
                assertEquals(1, sum / weights.length, 1e-5);
            }
        });
    }

    @Test
    void theLastTokenOfASequencePredictsNothingAndWeighsNothing() {
        onCpu(Fixture.MPT, (model, text) -> {
            try (Saliency saliency = capture(model, text, NEXT, GradientStream.Limits.DEFAULT)) {
                float[] weights = saliency.weights(0, InputSite.MLP_OUTPUT);
                assertEquals(0, weights[LENGTH - 1]);
                assertEquals(0, weights[2 * LENGTH - 1]);
                assertTrue(weights[LENGTH - 2] > 0, () -> Arrays.toString(weights));
            }
        });
    }

    @ParameterizedTest
    @ValueSource(strings = {Fixture.LLAMA_GQA, Fixture.MPT})
    void groupsAndBatchesOfOneSequenceGiveTheSameWeightsToTheBit(String fixture) {
        GradientStream.Limits single = new GradientStream.Limits(LENGTH, 1, 1 << 20, 0, 0);
        GradientStream.Limits several = new GradientStream.Limits(LENGTH, Long.MAX_VALUE, 1 << 20, Long.MAX_VALUE, 0);
        onCpu(fixture, (model, text) -> {
            try (Saliency apart = capture(model, text, NEXT, single);
                    Saliency together = capture(model, text, NEXT, several)) {
                for (InputSite site : sites()) {
                    assertArrayEquals(together.weights(1, site), apart.weights(1, site), site.label());
                }
            }
        });
    }

    /** Batches of one sequence, so that the traces of one are overwritten by the next. */
    @ParameterizedTest
    @ValueSource(strings = {Fixture.LLAMA_GQA, Fixture.MPT})
    void aModelThatLiesOnTheDeviceGivesTheSameWeightsToTheBit(String fixture) {
        GradientStream.Limits streamed = new GradientStream.Limits(LENGTH, 1, 1 << 14, Long.MAX_VALUE, 0);
        onCpu(fixture, (model, text) -> {
            try (Saliency apart = capture(model, text, NEXT, streamed);
                    Saliency resident = capture(model, text, NEXT, streamed.withResident(Long.MAX_VALUE))) {
                for (InputSite site : sites()) {
                    assertArrayEquals(apart.weights(0, site), resident.weights(0, site), site.label());
                    assertArrayEquals(apart.weights(1, site), resident.weights(1, site), site.label());
                }
            }
        });
    }

    @ParameterizedTest
    @ValueSource(longs = {0, Long.MAX_VALUE})
    void noMoreIsAllocatedThanIsPlanned(long residentBytes) {
        onCpu(Fixture.LLAMA_GQA, (model, text) -> {
            GradientStream.Limits limits = GradientStream.Limits.DEFAULT.withResident(residentBytes);
            capture(model, text, NEXT, limits).close();
            long planned = GradientStream.deviceBytes(model.spec(), text, limits);
            long peak = model.device().peakMemory();
            assertTrue(peak <= planned && planned <= 1.5 * peak, planned + " planned, " + peak + " taken");
        });
    }

    @Test
    void sampledLabelsGiveOtherWeightsAndTheSameOnesForTheSameSeed() {
        onCpu(Fixture.LLAMA, (model, text) -> {
            try (Saliency next = capture(model, text, NEXT, GradientStream.Limits.DEFAULT);
                    Saliency first = capture(model, text, new SampledLabels(1), GradientStream.Limits.DEFAULT);
                    Saliency again = capture(model, text, new SampledLabels(1), GradientStream.Limits.DEFAULT);
                    Saliency other = capture(model, text, new SampledLabels(2), GradientStream.Limits.DEFAULT)) {
                float[] weights = first.weights(0, InputSite.MLP_INPUT);
                assertArrayEquals(weights, again.weights(0, InputSite.MLP_INPUT));
                assertTrue(!Arrays.equals(weights, other.weights(0, InputSite.MLP_INPUT)), "seed 1 and seed 2");
                assertTrue(!Arrays.equals(weights, next.weights(0, InputSite.MLP_INPUT)), "sampled and next token");
            }
        });
    }

    @Test
    void rowFactorsAreTheRootsOfTheWeights() {
        onCpu(Fixture.LLAMA, (model, text) -> {
            try (Saliency saliency = capture(model, text, NEXT, GradientStream.Limits.DEFAULT);
                    TensorArena arena = model.device().arena()) {
                Tensor factors = Objects
                        .requireNonNull(saliency.rowFactors(0, InputSite.MLP_INPUT, model.device(), arena));
                float[] roots = TestDevices.download(model.device(), factors);
                assertEquals(Math.sqrt(saliency.weights(0, InputSite.MLP_INPUT)[5]), roots[5], 1e-6);
            }
        });
    }

    /** A final norm of zeros lets no gradient through: every token weighs 1, and the Hessian is plain GPTQ's. */
    @Test
    void whereAllTokensWeighTheSameThereIsNothingToScale(@TempDir Path folder) {
        Path silent = Fixture.copy(Fixture.LLAMA, folder.resolve("model"), config -> {});
        for (int i = 0; i < 64; i++) {
            Fixture.damage(silent, "model.norm.weight", 2L * i, (short) 0);
        }
        try (Device device = Devices.open("cpu", 1); ModelDirectory directory = ModelDirectory.open(silent)) {
            Transformer model = Transformer.open(directory, device);
            TokenSequences text = InputIds.read(Fixture.golden(Fixture.LLAMA), model.spec().vocabSize());
            try (Saliency saliency = capture(model, text, NEXT, GradientStream.Limits.DEFAULT);
                    TensorArena arena = device.arena()) {
                assertNull(saliency.rowFactors(0, InputSite.MLP_INPUT, device, arena));
            }
        }
    }

    @Test
    void aGradientThatIsNotFiniteNamesTheLayer(@TempDir Path folder) {
        Path broken = Fixture.copy(Fixture.LLAMA, folder.resolve("model"), config -> {});
        // The largest bfloat16: finite, but not its products.
        Fixture.damage(broken, "model.layers.1.mlp.up_proj.weight", 0, (short) 0x7F7F);
        Fixture.damage(broken, "model.layers.1.mlp.up_proj.weight", 2, (short) 0x7F7F);
        try (Device device = Devices.open("cpu", 1); ModelDirectory directory = ModelDirectory.open(broken)) {
            Transformer model = Transformer.open(directory, device);
            TokenSequences text = InputIds.read(Fixture.golden(Fixture.LLAMA), model.spec().vocabSize());
            assertUserError(UserError.Code.NUMERIC, () -> capture(model, text, NEXT, GradientStream.Limits.DEFAULT),
                    "model.layers.0.self_attn.q_proj", "not finite", "--calibrator gptq");
        }
    }

    @Test
    void aFewHugeWeightsAreCutToTheLargestOfTheOthers() {
        float[] weights = new float[2000];
        Arrays.fill(weights, 1);
        weights[7] = 1e9f;
        weights[8] = 1e8f;
        float[] normalised = TokenWeights.normalised(weights);
        assertEquals(1, normalised[7], "cut, and all are equal then");
        assertEquals(1, normalised[0]);
    }

    @Test
    void tokensWithoutAnyGradientWeighTheSame() {
        assertArrayEquals(new float[] {1, 1, 1}, TokenWeights.normalised(new float[3]));
    }

    private static Saliency capture(Transformer model, TokenSequences text, Labels labels,
            GradientStream.Limits limits) {
        return Saliency.capture(Replicas.of(model), text, labels, Progress.SILENT, limits);
    }

    private static void onCpu(String fixture, BiConsumer<Transformer, TokenSequences> action) {
        try (Device device = Devices.open("cpu", 2);
                ModelDirectory directory = ModelDirectory.open(Fixture.directory(fixture))) {
            Transformer model = Transformer.open(directory, device);
            action.accept(model, InputIds.read(Fixture.golden(fixture), model.spec().vocabSize()));
            assertEquals(0, device.memoryInUse(), "everything that was allocated is freed");
        }
    }
}
