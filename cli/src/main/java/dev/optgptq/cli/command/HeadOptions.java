package dev.optgptq.cli.command;

import dev.optgptq.gptq.convert.ConvertSettings.Form;
import dev.optgptq.gptq.convert.ConvertSettings.Heads;
import dev.optgptq.gptq.convert.ConvertSettings.Positions;
import dev.optgptq.gptq.convert.layer.Grouping;
import java.nio.file.Path;
import java.util.Locale;
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

    @Option(names = "--kv-bytes", paramLabel = "SIZE", converter = KvBytesConverter.class, description = "Give each layer its own "
            + "number of key-value heads, by what fewer cost there, so that the KV cache of a token shrinks to 50%% of what it "
            + "is, or to 8192 bytes in 16 bits. Written as opt_gqa")
    private @Nullable Heads kvBytes;

    @Option(names = "--grouping", paramLabel = "WHICH", description = "contiguous: neighbouring heads share. best: heads that lose "
            + "least together, where held-out text says so, and change places for it; not with ALiBi. Default: contiguous")
    Grouping grouping = Grouping.CONTIGUOUS;

    @Option(names = "--positions", paramLabel = "WHAT", description = "keep: as the model has them. alibi: ALiBi with standard "
            + "slopes, in the place of rotary or learned positions; wants --heal. Default: keep")
    Positions positions = Positions.KEEP;

    @Option(names = "--layout", paramLabel = "WHAT", description = "auto: the model's own family, or opt_gqa where that cannot hold "
            + "the result. mpt: for llama.cpp, if it has ALiBi, LayerNorm and a plain MLP; ReLU becomes GELU of 128 times its "
            + "input. Default: auto")
    Form form = Form.AUTO;

    @Option(names = "--force", description = "Write a model with --positions alibi that was not healed, and is much worse.")
    boolean force;

    void check() {
        Checks.require(kvHeads == null || ratio == null, "--ratio", ratio, "not to be given with --kv-heads");
        Checks.require(kvBytes == null || (kvHeads == null && ratio == null), "--kv-bytes", kvBytes == null
                ? ""
                : kvBytes.words(), "not to be given with --kv-heads or --ratio");
        if (kvHeads != null) {
            Checks.atLeast(1, "--kv-heads", kvHeads);
        }
        if (ratio != null) {
            Checks.atLeast(1, "--ratio", ratio);
        }
    }

    Heads heads() {
        if (kvBytes != null) {
            return kvBytes;
        }
        if (kvHeads != null) {
            return new Heads.Count(kvHeads);
        }
        return new Heads.Ratio(ratio == null ? RATIO : ratio);
    }

    private static String name(Heads heads) {
        return switch (heads) {
            case Heads.Count(int count) -> "kv" + count;
            case Heads.Ratio(int divisor) -> "r" + divisor;
            case Heads.Share(double share) -> "kv" + String.format(Locale.ROOT, "%.4g", 100 * share)
                    .replaceFirst("\\.?0*$", "") + "pct";
            case Heads.Bytes(long perToken) -> "kv" + perToken + "b";
        };
    }

    /** MODEL-gqa-kv4, MODEL-gqa-r2, MODEL-gqa-kv50pct or MODEL-gqa-r2-alibi, beside the model. */
    Path outputBeside(Path model) {
        Path source = model.toAbsolutePath().normalize();
        String suffix = "-gqa-" + name(heads());
        return source.resolveSibling(
                source.getFileName() + suffix + (positions == Positions.ALIBI ? "-alibi" : ""));
    }
}
