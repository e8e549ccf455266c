package dev.optgptq.gptq.convert;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.tune.WeightStudent;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** What a report says of the command that made it. */
class ConvertCommandTest {

    @Test
    void every_option_that_decides_the_outcome_is_named() {
        TinyConversion conversion = new TinyConversion(Path.of("model"), Path.of("folder"));
        conversion.positions = Positions.ALIBI;
        conversion.heal = new ConvertSettings.Heal(4, Path.of("own.txt"), WeightStudent.Scope.ATTENTION, 0.5, 0.25, 2,
                16, 0, Precision.FLOAT32);
        conversion.evaluate = true;
        conversion.force = true;

        assertEquals("--ratio 2 --grouping contiguous --positions alibi --layout auto --force true "
                + "--heal 4 --text own.txt --heal-scope attention --heal-rate 0.5 --weight-decay 0.25 --heal-batch 2 "
                + "--heal-length 16 --heal-precision float32 --calibration text.txt --field text --bos auto --sampling sequential --samples 8 "
                + "--sequence-length 16 --seed 0 --eval text.txt --window 16", line(conversion, Path.of("text.txt")));
    }

    @Test
    void what_is_not_wanted_is_not_named() {
        TinyConversion conversion = new TinyConversion(Path.of("model"), Path.of("folder"));
        assertEquals(
                "--ratio 2 --grouping contiguous --positions keep --layout auto --calibration bundled --field text "
                        + "--bos auto --sampling sequential --samples 8 --sequence-length 16 --seed 0 --eval none",
                line(conversion, null));
    }

    @Test
    void the_number_of_heads_is_said_as_it_was_given() {
        assertEquals(List.of("--kv-heads 4", "--ratio 2", "--kv-bytes 63%", "--kv-bytes 12.5%", "--kv-bytes 8192"),
                List.of(new Heads.Count(4), new Heads.Ratio(2), new Heads.Share(0.63), new Heads.Share(0.125),
                        new Heads.Bytes(8192)).stream().map(heads -> heads.option() + " " + heads.words()).toList());
    }

    private static String line(TinyConversion conversion, @Nullable Path text) {
        return ConvertCommand.of(conversion.settings("out", text)).entrySet().stream()
                .map(each -> each.getKey() + " " + each.getValue()).collect(Collectors.joining(" "));
    }
}
