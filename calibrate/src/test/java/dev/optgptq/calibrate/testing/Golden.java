package dev.optgptq.calibrate.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorView;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/** What another implementation computed, beside what this one does. */
public final class Golden {

    /** The project's promise: differences relative to the largest entry of each tensor. */
    public static final double TOLERANCE = 1e-4;

    private Golden() {}

    /** The floats of a safetensors file. */
    public static Map<String, float[]> read(Path file) {
        Map<String, float[]> tensors = new TreeMap<>();
        try (SafetensorsFile opened = SafetensorsFile.open(file)) {
            for (Map.Entry<String, TensorView> entry : opened.tensors().entrySet()) {
                if (entry.getValue().dtype().isFloat()) {
                    tensors.put(entry.getKey(), Fixture.floats(entry.getValue()));
                }
            }
        }
        return tensors;
    }

    /** Every tensor, and no other. */
    public static void assertClose(Map<String, float[]> golden, Map<String, float[]> found) {
        assertEquals(golden.keySet(), found.keySet());
        golden.forEach((name, expected) -> assertClose(name, expected, found.getOrDefault(name, new float[0])));
    }

    public static void assertClose(String name, float[] golden, float[] found) {
        assertClose(name, golden, found, -1);
    }

    /** @param nothing a difference that is none however small the tensor's entries are; negative if there is no such */
    public static void assertClose(String name, float[] golden, float[] found, double nothing) {
        assertEquals(golden.length, found.length, name);
        double largest = 0;
        double worst = 0;
        for (int i = 0; i < golden.length; i++) {
            largest = Math.max(largest, Math.abs(golden[i]));
            // NaN stays NaN here, and is below nothing.
            worst = Math.max(worst, Math.abs(found[i] - golden[i]));
        }
        double relative = worst / largest;
        assertTrue(relative < TOLERANCE || worst <= nothing,
                () -> name + ": largest difference / largest entry = " + relative);
    }
}
