package dev.optgptq.gptq.run;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.model.SourceFiles;
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

    /** Names it to the others, as the first rank; whether all of them see its files. */
    static boolean announce(Ranks ranks, ModelDirectory written) {
        return !ranks.areSeveral() || announce(ranks, written.path(), sample(written));
    }

    /** @param sample of its files: a rank's own disk may hold another checkpoint of that name */
    static boolean announce(Ranks ranks, Path checkpoint, String sample) {
        ranks.awaitFirst();
        ranks.exchange(checkpoint.toAbsolutePath().toString());
        ranks.exchange(sample);
        return allSee(ranks, true);
    }

    /** Opens it on another rank, once the first has written and verified it; null where some rank cannot. */
    static @Nullable ModelDirectory await(Ranks ranks) {
        ranks.awaitFirst();
        Path checkpoint = Path.of(ranks.exchange("").getFirst());
        ModelDirectory found = open(checkpoint, ranks.exchange("").getFirst());
        boolean all = allSee(ranks, found != null);
        if (!all && found != null) {
            found.close();
        }
        return all ? found : null;
    }

    private static boolean allSee(Ranks ranks, boolean sees) {
        return ranks.exchange(sees ? 1 : 0).stream().allMatch(seen -> seen[0] == 1);
    }

    private static @Nullable ModelDirectory open(Path checkpoint, String sample) {
        if (!Files.isDirectory(checkpoint)) {
            return null;
        }
        try {
            ModelDirectory found = ModelDirectory.open(checkpoint);
            if (sample(found).equals(sample)) {
                return found;
            }
            found.close();
            return null;
        } catch (UserError e) {
            // Half visible: a network file system shows what others write late. The first rank reads it alone.
            return null;
        }
    }

    private static String sample(ModelDirectory checkpoint) {
        return SourceFiles.sample(checkpoint).toString();
    }
}
