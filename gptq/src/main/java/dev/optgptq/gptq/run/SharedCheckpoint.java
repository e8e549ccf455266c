package dev.optgptq.gptq.run;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.ranks.Ranks;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * The checkpoint that the first rank has written, read by the others for the evaluation. Where one of them does not see it, as without
 * a file system in common, the first evaluates alone.
 */
final class SharedCheckpoint {

    private SharedCheckpoint() {}

    /** Names it to the others, as the first rank; whether all of them can open it. */
    static boolean announce(Ranks ranks, Path checkpoint) {
        ranks.exchange(checkpoint.toAbsolutePath().toString());
        return ranks.exchange(1).stream().allMatch(opened -> opened[0] == 1);
    }

    /** Opens it on another rank; null where some rank cannot. */
    static @Nullable ModelDirectory await(Ranks ranks) {
        ModelDirectory found = open(Path.of(ranks.exchange("").getFirst()));
        boolean all = ranks.exchange(found == null ? 0 : 1).stream().allMatch(opened -> opened[0] == 1);
        if (!all && found != null) {
            found.close();
        }
        return all ? found : null;
    }

    private static @Nullable ModelDirectory open(Path checkpoint) {
        try {
            return Files.isDirectory(checkpoint) ? ModelDirectory.open(checkpoint) : null;
        } catch (UserError e) {
            // Half visible: a network file system shows what others write late. The first rank reads it alone.
            return null;
        }
    }
}
