package dev.optgptq.cli.command;

import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The number of key-value heads to convert to, and the positions. */
final class HeadOptions {

    private static final int RATIO = 2;

    @Option(names = "--kv-heads", paramLabel = "N", description = "Key-value heads of each layer")
    @Nullable
    Integer kvHeads;

    @Option(names = "--ratio", paramLabel = "R", description = "Divides the number of key-value heads by R. Default: 2")
    @Nullable
    Integer ratio;

    @Option(names = "--positions", paramLabel = "WHAT", description = "keep: as the model has them. alibi: ALiBi with standard "
            + "slopes, in the place of rotary or learned positions; wants --heal. Default: keep")
    Positions positions = Positions.KEEP;

    @Option(names = "--force", description = "Write a model with --positions alibi that was not healed, and is much worse.")
    boolean force;

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

    /** MODEL-gqa-kv4, MODEL-gqa-r2 or MODEL-gqa-r2-alibi, beside the model. */
    Path outputBeside(Path model) {
        Path source = model.toAbsolutePath().normalize();
        String suffix = kvHeads != null ? "-gqa-kv" + kvHeads : "-gqa-r" + (ratio == null ? RATIO : ratio);
        return source.resolveSibling(
                source.getFileName() + suffix + (positions == Positions.ALIBI ? "-alibi" : ""));
    }
}
