package dev.optgptq.gptq.convert;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.convert.layer.Grouping;
import dev.optgptq.gptq.testing.TinyModel;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Heads that belong together come to share keys and values. */
class GroupingRunTest {

    private static final int HEAD = 16 * TinyModel.HIDDEN / 2;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void heads_that_are_alike_change_places_and_merge_without_loss() {
        Path model = TinyConversion.llama(DType.F32).write(folder.resolve("model"), (name, values) -> {
            if (name.contains("k_proj") || name.contains("v_proj")) {
                // Heads 2 and 3 are 0 and 1 again.
                System.arraycopy(values, 0, values, 2 * HEAD, 2 * HEAD);
            }
        });

        ConvertReport report = best(model).run();

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
        assertUserError(Code.BAD_SETTING, best(model)::run, "--grouping best", "ALiBi's slopes",
                "--grouping contiguous");
    }

    private TinyConversion best(Path model) {
        TinyConversion conversion = new TinyConversion(model, folder);
        conversion.grouping = Grouping.BEST;
        conversion.evaluate = true;
        return conversion;
    }
}
