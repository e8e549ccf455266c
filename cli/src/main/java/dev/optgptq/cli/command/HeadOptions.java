package dev.optgptq.cli.command;

import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** How many key-value heads are wanted. */
final class HeadOptions {

    private static final int RATIO = 2;

    @Option(names = "--kv-heads", paramLabel = "N", description = "Key-value heads of each layer")
    @Nullable
    Integer kvHeads;

    @Option(names = "--ratio", paramLabel = "R", description = "So many times fewer than the model has. Default: 2")
    @Nullable
    Integer ratio;

    void check() {
        Checks.require(kvHeads == null || ratio == null, "--ratio", ratio, "not to be given with --kv-heads");
        if (kvHeads != null) {
            Checks.atLeast(1, "--kv-heads", kvHeads);
        }
        if (ratio != null) {
            Checks.atLeast(1, "--ratio", ratio);
        }
    }

    Heads heads() {
        if (kvHeads != null) {
            return new Heads.Count(kvHeads);
        }
        return new Heads.Ratio(ratio == null ? RATIO : ratio);
    }

    /** MODEL-gqa-kv4 or MODEL-gqa-r2, beside the model. */
    Path outputBeside(Path model) {
        Path source = model.toAbsolutePath().normalize();
        String suffix = kvHeads != null ? "-gqa-kv" + kvHeads : "-gqa-r" + (ratio == null ? RATIO : ratio);
        return source.resolveSibling(source.getFileName() + suffix);
    }
}
