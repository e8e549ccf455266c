package dev.optgptq.calibrate.eval;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.InputIds;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.calibrate.testing.TestDevices;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PerplexityTest {

    private static final short BFLOAT16_LARGEST = 0x7F7F;

    @Test
    void isTheExponentialOfTheMeanOverWindowsOfTheMeanOverPredictions() {
        TokenSequences ids = InputIds.read(Fixture.golden(Fixture.MPT), 320);
        Perplexity found = evaluate(Fixture.directory(Fixture.MPT), ids, Progress.SILENT);
        double[] expected = windowNll(Fixture.goldenLogits(Fixture.MPT), ids, 320);
        assertEquals(expected[0], found.windowNll()[0], 1e-4);
        assertEquals(expected[1], found.windowNll()[1], 1e-4);
        assertEquals((expected[0] + expected[1]) / 2, found.meanNll(), 1e-4);
        assertEquals(Math.exp(found.meanNll()), found.perplexity(), 1e-9);
        assertEquals(48, found.window());
    }

    /** More windows than fit one batch, and a last batch that is not full. */
    @Test
    void windowsDoNotDependOnTheirBatch() {
        TokenSequences golden = InputIds.read(Fixture.golden(Fixture.MPT), 320);
        int copies = 45;
        int[] ids = new int[copies * golden.ids().length];
        for (int copy = 0; copy < copies; copy++) {
            System.arraycopy(golden.ids(), 0, ids, copy * golden.ids().length, golden.ids().length);
        }
        Perplexity found = evaluate(Fixture.directory(Fixture.MPT), new TokenSequences(ids, 2 * copies, 48),
                Progress.SILENT);
        for (int window = 2; window < 2 * copies; window++) {
            assertEquals(found.windowNll()[window % 2], found.windowNll()[window], "window " + window);
        }
    }

    /** Windows 1, 2, 3: mean 2, standard error 1 / sqrt(3), and t of 2 degrees of freedom at 97.5 % is 4.30265. */
    @Test
    void theIntervalIsStudentsTOverWindows() {
        Perplexity found = Perplexity.of(new double[] {1, 2, 3}, 8, 0);
        assertEquals(Math.exp(2), found.perplexity(), 1e-12);
        assertEquals(Math.exp(2 - 4.302653 / Math.sqrt(3)), found.low(), 1e-5);
        assertEquals(Math.exp(2 + 4.302653 / Math.sqrt(3)), found.high(), 1e-3);
    }

    @Test
    void oneWindowHasNoInterval() {
        Perplexity found = Perplexity.of(new double[] {1.5}, 8, 0);
        assertEquals(found.perplexity(), found.low());
        assertEquals(found.perplexity(), found.high());
    }

    @Test
    void progressNeverFallsAndEndsComplete() {
        List<Long> heard = new ArrayList<>();
        List<Long> totals = new ArrayList<>();
        evaluate(Fixture.directory(Fixture.MPT), InputIds.read(Fixture.golden(Fixture.MPT), 320),
                (phase, done, total) -> {
                    heard.add(done);
                    totals.add(total);
                });
        assertEquals(heard.stream().sorted().toList(), heard);
        assertEquals(1, totals.stream().distinct().count());
        assertEquals(totals.getLast(), heard.getLast());
    }

    @Test
    void anOutputThatIsNotFiniteIsAnErrorThatNamesTheModel(@TempDir Path folder) {
        Path model = Fixture.copy(Fixture.MPT, folder.resolve("overflowing"), config -> {});
        // Finite on disk: only the arithmetic overflows.
        for (int input = 0; input < 64; input++) {
            Fixture.damage(model, "transformer.norm_f.weight", 2L * input, BFLOAT16_LARGEST);
        }
        TokenSequences ids = InputIds.read(Fixture.golden(Fixture.MPT), 320);
        assertUserError(Code.NUMERIC, () -> evaluate(model, ids, Progress.SILENT), model.toString(), "window 0");
    }

    @Test
    void windowsWithoutAPredictionAndForeignIdsAreRefused() {
        Path model = Fixture.directory(Fixture.MPT);
        assertUserError(Code.BAD_SETTING,
                () -> evaluate(model, new TokenSequences(new int[] {1, 2}, 2, 1), Progress.SILENT), "at least 2");
        assertUserError(Code.BAD_TOKENIZER,
                () -> evaluate(model, new TokenSequences(new int[] {1, 320}, 1, 2), Progress.SILENT), "320");
    }

    @Test
    void comparisonPairsTheWindows() {
        Perplexity baseline = Perplexity.of(new double[] {1, 2, 3}, 8, 0);
        // Differences 0.1, 0.2, 0.3: mean 0.2, standard error 0.1 / sqrt(3).
        PerplexityComparison found = PerplexityComparison.of(baseline,
                Perplexity.of(new double[] {1.1, 2.2, 3.3}, 8, 0));
        assertEquals(Math.exp(2.2) - Math.exp(2), found.difference(), 1e-9);
        assertEquals(Math.expm1(0.2), found.increase(), 1e-12);
        assertEquals(Math.expm1(0.2 - 4.302653 * 0.1 / Math.sqrt(3)), found.increaseLow(), 1e-6);
        assertEquals(Math.expm1(0.2 + 4.302653 * 0.1 / Math.sqrt(3)), found.increaseHigh(), 1e-6);
        // t = 2 sqrt(3) with 2 degrees of freedom: p = 1 - t / sqrt(t^2 + 2).
        assertEquals(1 - 2 * Math.sqrt(3) / Math.sqrt(14), Objects.requireNonNull(found.pValue()), 1e-9);
    }

    @Test
    void aModelDoesNotDifferFromItself() {
        Perplexity one = Perplexity.of(new double[] {1, 2, 3}, 8, 0);
        assertEquals(new PerplexityComparison(0, 0, 0, 0, 0, 0, 1.0), PerplexityComparison.of(one, one));
    }

    @Test
    void oneWindowIsNoTest() {
        Perplexity one = Perplexity.of(new double[] {1}, 8, 0);
        assertNull(PerplexityComparison.of(one, Perplexity.of(new double[] {2}, 8, 0)).pValue());
    }

    private static Perplexity evaluate(Path model, TokenSequences ids, Progress progress) {
        try (Device device = TestDevices.reference(); ModelDirectory directory = ModelDirectory.open(model)) {
            return Perplexity.evaluate(Transformer.open(directory, device), ids, progress);
        }
    }

    private static double[] windowNll(float[] logits, TokenSequences ids, int vocabulary) {
        double[] means = new double[ids.count()];
        for (int token = 0; token < ids.ids().length; token++) {
            if ((token + 1) % ids.length() != 0) {
                double sum = 0;
                for (int id = 0; id < vocabulary; id++) {
                    sum += Math.exp(logits[token * vocabulary + id]);
                }
                double nll = Math.log(sum) - logits[token * vocabulary + ids.ids()[token + 1]];
                means[token / ids.length()] += nll / (ids.length() - 1);
            }
        }
        return means;
    }
}
