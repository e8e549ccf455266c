package dev.optgptq.gptq.convert;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.NormSlot;
import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.convert.merge.AttentionMatrices;
import dev.optgptq.gptq.testing.SharedFixtures;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.dense.Matrix;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import java.util.SplittableRandom;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Families whose blocks are not a llama's: where heads are equal, merging them loses nothing, whatever stands around them. All tensors are
 * float32 here.
 */
class FamilyMergesTest {

    private static final int SAMPLES = 4;
    private static final int LENGTH = 16;
    /** Nats per token: what float32 leaves of one. */
    private static final double NOTHING = 1e-7;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /** A fixture, and the family that the result is of. */
    @ParameterizedTest
    @CsvSource({"bloom, opt_gqa", "falcon-new-decoder, falcon", "phi, phi", "gemma2, gemma2", "exaone4, exaone4",
            "granite-moe, granitemoe", "olmo2, olmo2", "stablelm-parallel-qk-layernorm, stablelm"})
    void equal_heads_merge_without_loss(String name, String family) {
        try (ModelDirectory fixture = SharedFixtures.open(name);
                Arena arena = Arena.ofShared();
                ModelDirectory source = withEqualHeads(fixture, arena);
                Device device = Devices.open("cpu", 1)) {
            ModelSpec spec = ModelSpec.resolve(source);
            int kvHeads = HeadPlan.attention(spec).kvHeads();

            ConvertRun.measure(settings(source, new Heads.Ratio(2)), source, text(spec, 3), null, device, "test 1",
                    Progress.SILENT, line -> {});

            try (ModelDirectory written = ModelDirectory.open(folder.resolve("out"))) {
                ModelSpec found = ModelSpec.resolve(written);
                assertEquals(family, found.family());
                assertEquals(kvHeads / 2, HeadPlan.attention(found).kvHeads());
                assertTrue(found.remarks().isEmpty(), found.remarks().toString());
                double kl = ModelComparison.evaluate(Transformer.open(source, device),
                        Transformer.open(written, device), text(spec, 4), Progress.SILENT).divergence().kl();
                assertTrue(Math.abs(kl) < NOTHING, "KL divergence " + kl);
            }
        }
    }

    private ConvertSettings settings(ModelDirectory source, Heads heads) {
        return new ConvertSettings(source.path(), folder.resolve("out"), heads, Grouping.CONTIGUOUS, Positions.KEEP,
                ConvertSettings.Form.AUTO,
                new ConvertSettings.Calibration(Corpus.calibration(null), Sampling.SEQUENTIAL, SAMPLES, LENGTH, 0),
                null,
                null, false, false, 1, false);
    }

    private static TokenSequences text(ModelSpec spec, long seed) {
        return new TokenSequences(new SplittableRandom(seed).ints(SAMPLES * LENGTH, 0, spec.vocabSize()).toArray(),
                SAMPLES,
                LENGTH);
    }

    /** Every second key-value head has the keys and values of the one before it. */
    private static ModelDirectory withEqualHeads(ModelDirectory fixture, Arena arena) {
        ModelSpec spec = ModelSpec.resolve(fixture);
        SequencedMap<String, TensorView> tensors = new LinkedHashMap<>();
        fixture.tensors().forEach((name, view) -> tensors.put(name, single(view, StoredMatrices.decode(view), arena)));
        BlockTensors blocks = new BlockTensors(spec, fixture);
        int kvHeads = HeadPlan.attention(spec).kvHeads();
        for (int block = 0; block < spec.blocks(); block++) {
            SequencedMap<String, Matrix> stored = new LinkedHashMap<>();
            for (LinearSpec linear : spec.linears(block)) {
                if (!linear.site().ofMlp()) {
                    stored.put(linear.weightTensor(), StoredMatrices.decode(fixture.tensor(linear.weightTensor())));
                    if (linear.bias()) {
                        stored.put(linear.biasTensor(), StoredMatrices.decode(fixture.tensor(linear.biasTensor())));
                    }
                }
            }
            NormSpec norm = spec.block(block).norm(NormSlot.KEY);
            if (norm != null) {
                norm.stored().forEach(part -> stored.put(part.tensor(),
                        StoredMatrices.decode(fixture.tensor(part.tensor()))));
            }
            BlockTensors.Values values = blocks.read(block, kvHeads, stored);
            blocks.named(block, new BlockTensors.Values(equal(values.attention()), null, null)).forEach(
                    (name, matrix) -> tensors.put(name, single(fixture.tensor(name), matrix, arena)));
        }
        return ModelDirectory.inMemory(fixture.path(), fixture.config(), tensors);
    }

    private static AttentionMatrices equal(AttentionMatrices a) {
        int d = a.headDim();
        Matrix keyBias = a.keyBias();
        Matrix valueBias = a.valueBias();
        Matrix keyNorm = a.keyNorm();
        return new AttentionMatrices(d, a.query(), a.queryBias(), equalRows(a.key(), d),
                keyBias == null ? null : equalRows(keyBias.transposed(), d).transposed(), equalRows(a.value(), d),
                valueBias == null ? null : equalRows(valueBias.transposed(), d).transposed(), a.output(),
                a.outputBias(), keyNorm == null ? null : equalRows(keyNorm.transposed(), d).transposed());
    }

    private static Matrix equalRows(Matrix m, int d) {
        return Matrix.generate(m.rows(), m.columns(), (i, j) -> m.at(i / d / 2 * 2 * d + i % d, j));
    }

    private static TensorView single(TensorView like, Matrix matrix, Arena arena) {
        return new TensorView(like.name(), DType.F32, like.shape(), StoredMatrices.encode(matrix, DType.F32, arena),
                like.file());
    }
}
