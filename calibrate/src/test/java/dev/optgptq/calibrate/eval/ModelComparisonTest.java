package dev.optgptq.calibrate.eval;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.SafetensorsWriter;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.kernels.Device;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Two random models of other families and widths, which share their vocabulary of 320. */
class ModelComparisonTest {

    private static final int VOCABULARY = 320;
    private static final int LENGTH = 8;
    private static final Path BASELINE = Fixture.directory(Fixture.MPT);
    private static final Path CANDIDATE = Fixture.directory(Fixture.LLAMA);

    @Test
    void perplexitiesAreThoseOfEachModelAlone() {
        ModelComparison found = compare(BASELINE, CANDIDATE, Progress.SILENT);
        assertArrayEquals(alone(BASELINE).windowNll(), found.baseline().windowNll());
        assertArrayEquals(alone(CANDIDATE).windowNll(), found.candidate().windowNll());
        assertEquals(PerplexityComparison.of(alone(BASELINE), alone(CANDIDATE)), found.change());
    }

    @Test
    void divergenceIsOfTheBaselinesDistributionFromTheModels() {
        double[][] p = probabilities(BASELINE);
        double[][] q = probabilities(CANDIDATE);
        double kl = 0;
        double agree = 0;
        int predictions = 0;
        for (int token = 0; token < p.length; token++) {
            if ((token + 1) % LENGTH != 0) {
                predictions++;
                agree += largest(p[token]) == largest(q[token]) ? 1 : 0;
                for (int id = 0; id < VOCABULARY; id++) {
                    kl += p[token][id] * Math.log(p[token][id] / q[token][id]);
                }
            }
        }
        Divergence found = compare(BASELINE, CANDIDATE, Progress.SILENT).divergence();
        assertEquals(kl / predictions, found.kl(), 1e-5 * found.kl());
        assertEquals(agree / predictions, found.top1(), 1e-12);
    }

    @Test
    void aModelDoesNotDifferFromItself() {
        ModelComparison found = compare(BASELINE, BASELINE, Progress.SILENT);
        assertEquals(new Divergence(0, 0, 0, 0, 0, 1, 1, 1), found.divergence());
        assertEquals(new PairedTest(text().count(), 0, 0, 0, 1.0, 1.0), found.test());
    }

    @Test
    void progressCountsBothModels() {
        List<Long> heard = new ArrayList<>();
        List<Long> totals = new ArrayList<>();
        compare(BASELINE, CANDIDATE, (phase, done, total) -> {
            heard.add(done);
            totals.add(total);
        });
        assertEquals(heard.stream().sorted().toList(), heard);
        assertEquals(1, totals.stream().distinct().count());
        assertEquals(totals.getLast(), heard.getLast());
    }

    @Test
    void thePlanCoversWhatBothModelsTake() {
        with(BASELINE, CANDIDATE, (baseline, candidate) -> {
            ModelComparison.evaluate(baseline, candidate, text(), Progress.SILENT);
            long planned = ModelComparison.peakBytes(baseline.spec(), candidate.spec(), text().count(), LENGTH);
            long peak = baseline.device().peakMemory();
            assertTrue(peak <= planned && planned <= 1.5 * peak, planned + " planned, " + peak + " taken");
            return planned;
        });
    }

    @Test
    void anotherVocabularyIsRefusedWithBothModelsNamed(@TempDir Path folder) {
        Path smaller = withVocabulary(300, folder.resolve("smaller"));
        assertUserError(Code.BAD_SETTING, () -> compare(smaller, CANDIDATE, Progress.SILENT), "--baseline", "320",
                CANDIDATE.toString(), "300", smaller.toString());
    }

    /** The mpt fixture without its last tokens. */
    private static Path withVocabulary(int size, Path folder) {
        Fixture.copy(Fixture.MPT, folder, config -> config.put("vocab_size", size));
        Path whole = BASELINE.resolve("model.safetensors");
        try (SafetensorsFile file = SafetensorsFile.open(whole)) {
            List<TensorSpec> specs = file.tensors().values().stream()
                    .map(view -> new TensorSpec(view.name(), view.dtype(),
                            view.shape().dimension(0) == VOCABULARY
                                    ? Shape.of(size, view.shape().dimension(1))
                                    : view.shape()))
                    .toList();
            try (SafetensorsWriter writer = new SafetensorsWriter(folder.resolve("model.safetensors"), specs,
                    Map.of())) {
                specs.forEach(spec -> writer.write(spec.name(),
                        Objects.requireNonNull(file.tensors().get(spec.name())).data().asSlice(0, spec.bytes())));
                writer.finish();
            }
        }
        return folder;
    }

    private static TokenSequences text() {
        TokenSequences golden = InputIds.read(Fixture.golden(Fixture.MPT), VOCABULARY);
        return new TokenSequences(golden.ids(), golden.ids().length / LENGTH, LENGTH);
    }

    private static ModelComparison compare(Path baseline, Path candidate, Progress progress) {
        return with(baseline, candidate, (one, other) -> ModelComparison.evaluate(one, other, text(), progress));
    }

    private static <T> T with(Path baseline, Path candidate, BiFunction<Transformer, Transformer, T> use) {
        try (Device device = TestDevices.reference();
                ModelDirectory one = ModelDirectory.open(baseline);
                ModelDirectory other = ModelDirectory.open(candidate)) {
            return use.apply(Transformer.open(one, device), Transformer.open(other, device));
        }
    }

    private static Perplexity alone(Path model) {
        return with(model, model, (one, other) -> Perplexity.evaluate(one, text(), Progress.SILENT));
    }

    private static double[][] probabilities(Path model) {
        return with(model, model, (one, other) -> {
            try (Arena arena = Arena.ofShared()) {
                MemorySegment logits = arena.allocate(ValueLayout.JAVA_FLOAT, text().tokens() * VOCABULARY);
                Logits.compute(one, text(), logits, Progress.SILENT);
                double[][] rows = new double[(int) text().tokens()][VOCABULARY];
                for (int token = 0; token < rows.length; token++) {
                    double sum = 0;
                    for (int id = 0; id < VOCABULARY; id++) {
                        rows[token][id] = Math
                                .exp(logits.getAtIndex(ValueLayout.JAVA_FLOAT, (long) token * VOCABULARY + id));
                        sum += rows[token][id];
                    }
                    for (int id = 0; id < VOCABULARY; id++) {
                        rows[token][id] /= sum;
                    }
                }
                return rows;
            }
        });
    }

    private static int largest(double[] row) {
        int first = 0;
        for (int id = 1; id < row.length; id++) {
            first = row[id] > row[first] ? id : first;
        }
        return first;
    }
}
