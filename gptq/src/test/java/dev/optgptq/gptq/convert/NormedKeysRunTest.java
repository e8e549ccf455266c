package dev.optgptq.gptq.convert;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.testing.SharedFixtures;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A model that normalises queries and keys head by head. */
class NormedKeysRunTest {

    private static final int SAMPLES = 8;
    private static final int LENGTH = 16;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void its_heads_are_merged_and_the_report_says_what_stood_in_the_way() {
        try (ModelDirectory source = SharedFixtures.open("qwen3"); Device device = Devices.open("cpu", 1)) {
            int[] ids = new SplittableRandom(3).ints(SAMPLES * LENGTH, 0, 300).toArray();
            ConvertSettings settings = new ConvertSettings(source.path(), folder.resolve("out"), new Heads.Count(1),
                    Grouping.CONTIGUOUS,
                    Positions.KEEP,
                    ConvertSettings.Form.AUTO,
                    new ConvertSettings.Calibration(Corpus.calibration(null), Sampling.SEQUENTIAL, SAMPLES, LENGTH, 0),
                    null, null, false,
                    false, 1, false);

            ConvertReport report = ConvertRun.measure(settings, source, new TokenSequences(ids, SAMPLES, LENGTH), null,
                    device, "test 1", Progress.SILENT, line -> {});

            assertTrue(report.warnings().toString().contains("normalised after their projections"),
                    report.warnings().toString());
            report.layers().forEach(layer -> {
                assertEquals(0, layer.turns(), "no score fit");
                assertTrue(
                        layer.attentionDivergence() > 0 && layer.values().errorAfter() <= layer.values().errorBefore(),
                        layer.toString());
            });
        }
        try (ModelDirectory written = ModelDirectory.open(folder.resolve("out"))) {
            ModelSpec spec = ModelSpec.resolve(written);
            assertEquals("qwen3", spec.family());
            assertEquals(1, HeadPlan.attention(spec).kvHeads());
        }
    }
}
