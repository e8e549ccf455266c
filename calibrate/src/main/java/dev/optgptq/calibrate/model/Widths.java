package dev.optgptq.calibrate.model;

import java.util.Collections;
import java.util.EnumMap;
import java.util.Map;

/** The width of each scratch matrix, for the block that needs the widest. */
final class Widths {

    private final Map<Scratch, Integer> widths = new EnumMap<>(Scratch.class);

    void need(Scratch what, int width) {
        widths.merge(what, width, Math::max);
    }

    Map<Scratch, Integer> all() {
        return Collections.unmodifiableMap(widths);
    }

    /** Of all matrices together, F32. */
    long bytesPerRow() {
        return Float.BYTES * widths.values().stream().mapToLong(Integer::longValue).sum();
    }
}
