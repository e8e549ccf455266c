package dev.optgptq.cli.inspect;

import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Position;
import java.util.Locale;
import java.util.stream.Collectors;

/** How a model knows the order of its tokens, in words. */
final class PositionNames {

    private PositionNames() {}

    /** The forms of all layers, each once. */
    static String of(ModelSpec spec) {
        boolean learned = spec.embedding().positions() != null;
        return spec.blockSpecs().stream().map(block -> switch (block.mixer()) {
            case Mixer.Attention form -> name(form.position(), learned);
            case Mixer.LatentAttention form -> name(form.position(), learned);
            case Mixer.DeltaNet form -> "a recurrence";
        }).distinct().collect(Collectors.joining("; "));
    }

    private static String name(Position position, boolean learned) {
        return switch (position) {
            case Position.Rotary rotary -> String.format(Locale.ROOT, "rotary, theta %s, %d elements of a head",
                    rotary.theta() == Math.rint(rotary.theta())
                            ? String.valueOf((long) rotary.theta())
                            : String.valueOf(rotary.theta()),
                    rotary.rotaryDim());
            case Position.Alibi alibi -> alibi.stated().isEmpty()
                    ? String.format(Locale.ROOT, "ALiBi, bias at most %s", alibi.maxBias())
                    : "ALiBi, slopes stated";
            case Position.None none -> learned ? "learned" : "none";
        };
    }
}
