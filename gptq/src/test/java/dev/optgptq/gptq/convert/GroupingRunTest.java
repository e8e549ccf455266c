package dev.optgptq.gptq.convert;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.Corpus;
import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences.Sampling;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Heads that belong together come to share keys and values. */
class GroupingRunTest {

    private static final int LENGTH = 16;
    private static final int HEAD = 16 * TinyModel.HIDDEN / 2;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void heads_that_are_alike_change_places_and_merge_without_loss() throws IOException {
        Path model = new TinyModel(TinyModel.Family.LLAMA, DType.F32, 4, false, false, Long.MAX_VALUE).narrow()
                .write(folder.resolve("model"), (name, values) -> {
                    if (name.contains("k_proj") || name.contains("v_proj")) {
                        // Heads 2 and 3 are 0 and 1 again.
                        System.arraycopy(values, 0, values, 2 * HEAD, 2 * HEAD);
                    }
                });

        ConvertReport report = convert(model, Grouping.BEST);

        report.layers().forEach(layer -> {
            assertEquals(List.of(0, 2, 1, 3), layer.order());
            assertTrue(layer.keyResidual() < 1e-6 && layer.valueResidual() < 1e-6, layer.toString());
        });
        double divergence = Objects.requireNonNull(report.quality()).divergence().kl();
        assertTrue(divergence < 1e-5, "KL divergence " + divergence);
    }

    @Test
    void where_slopes_go_by_the_place_of_a_head_it_is_refused() {
        Path model = TinyModel.MPT.narrow().write(folder.resolve("model"));
        assertUserError(Code.BAD_SETTING, () -> convert(model, Grouping.BEST), "--grouping best", "ALiBi's slopes",
                "--grouping contiguous");
    }

    private ConvertReport convert(Path model, Grouping grouping) throws IOException {
        Path text = folder.resolve("text.txt");
        Files.writeString(text, "many words of a text, and others of it again. ".repeat(20));
        ConvertSettings settings = new ConvertSettings(model, folder.resolve("out"), new Heads.Ratio(2), grouping,
                Positions.KEEP, ConvertSettings.Form.AUTO,
                new ConvertSettings.Calibration(Corpus.calibration(text), Sampling.SEQUENTIAL, 8, LENGTH, 0), null,
                new ConvertSettings.Evaluation(text, LENGTH), false, false, 1, false);
        try (Device device = Devices.open("cpu", 1)) {
            return ConvertRun.run(settings, device, "test 1", Progress.SILENT, line -> {});
        }
    }
}
