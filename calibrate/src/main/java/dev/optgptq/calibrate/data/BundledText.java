package dev.optgptq.calibrate.data;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Objects;

/**
 * Text that comes with the program, so that a command works without any: from WikiText-2 (Merity et al. 2016), CC BY-SA
 * 3.0. The two do not overlap.
 */
public enum BundledText {
    /** The head of the training split, about 420 kB. */
    CALIBRATION("calibration.txt", "the bundled calibration text (WikiText-2)"),
    /** The head of the test split, about 118 kB. */
    EVALUATION("evaluation.txt", "the bundled evaluation text (WikiText-2)");

    private final String file;
    private final String label;

    BundledText(String file, String label) {
        this.file = file;
        this.label = label;
    }

    /** For people. */
    public String label() {
        return label;
    }

    public String text() {
        return read(file);
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
