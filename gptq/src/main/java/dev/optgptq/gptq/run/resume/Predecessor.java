package dev.optgptq.gptq.run.resume;

import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.journal.Identity;
import dev.optgptq.gptq.journal.Journal;
import dev.optgptq.gptq.run.checkpoint.BlockRecord;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;

/**
 * The remains of an interrupted run, and whether a new one may resume it. Hours of work are deleted only on request.
 *
 * @param output the directory that is written
 * @param fresh whether to delete them
 * @param blocks of the model
 */
public record Predecessor(Path output, boolean fresh, Journal journal, int blocks) {

    /** Prepares the journal for the new run, or throws UserError OUTPUT with the settings that differ. */
    public void prepare(Identity identity, Consumer<String> log) {
        List<String> parts = journal.names();
        List<String> changes = journal.identity().map(identity::changesSince).orElse(List.of());
        long found = parts.stream().filter(BlockRecord::isName).count();
        boolean wanted = !fresh;
        if (wanted && journal.problem().isPresent()) {
            throw journal.problem().get();
        }
        if (wanted && !parts.isEmpty() && journal.identity().isPresent() && changes.isEmpty()) {
            return;
        }
        if (wanted && found > 0) {
            throw new UserError(UserError.Code.OUTPUT, output + ": an interrupted run left " + found + " of "
                    + blocks + " blocks (" + megabytes(journal.bytes()) + ") in " + journal.path()
                    + ", and this one would give another result: " + String.join("; ", changes)
                    + ". Run the earlier command to resume, add --fresh to delete them, or choose another output");
        }
        if (journal.problem().isPresent()) {
            log.accept(
                    "starting over: deleted " + megabytes(journal.bytes()) + " of an interrupted run, of which nothing"
                            + " can be used");
        } else if (found > 0) {
            log.accept("starting over: deleted " + found + " of " + blocks + " blocks of an interrupted run");
        }
        journal.startOver(identity);
    }

    /** What a run says when it ends before it is done: what the next one will find. */
    public static String saved(String what, Journal journal) {
        return "saved " + what + ", " + megabytes(journal.bytes()) + " in " + journal.path()
                + "; run the same command to resume, or add --fresh to start over";
    }

    private static String megabytes(long bytes) {
        return String.format(Locale.ROOT, "%,.1f MB", bytes / 1e6);
    }
}
