package dev.optgptq.calibrate.data;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Objects;

/**
 * Text bundled with the program, so that commands work without a text: from WikiText-2 (Merity et al. 2016), CC BY-SA
 * 3.0.
 */
public final class BundledText {

    private BundledText() {}

    /** The head of the training split, about 420 kB. */
    public static String calibration() {
        return read("calibration.txt");
    }

    /** The head of the test split, about 118 kB. */
    public static String evaluation() {
        return read("evaluation.txt");
    }

    /** Where the texts come from and under which licence. */
    public static String licence() {
        return read("LICENSE");
    }

    private static String read(String name) {
        try (InputStream in = BundledText.class.getResourceAsStream("/dev/optgptq/calibrate/texts/" + name)) {
            return new String(Objects.requireNonNull(in, name).readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
