package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.model.SourceFiles;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.testing.ThreadRanks;
import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the other ranks make of the checkpoint that the first has written. */
class SharedCheckpointTest {

    @TempDir
    private Path folder = Path.of("");

    @Test
    void a_rank_that_sees_the_files_opens_them() {
        Path written = TinyModel.LLAMA.narrow().write(folder.resolve("written"));

        ThreadRanks.run(2, rank -> {
            if (rank.isFirst()) {
                try (ModelDirectory own = ModelDirectory.open(written)) {
                    assertTrue(SharedCheckpoint.announce(rank, own));
                }
            } else {
                try (ModelDirectory seen = Objects.requireNonNull(SharedCheckpoint.await(rank))) {
                    assertEquals(written.toAbsolutePath(), seen.path().toAbsolutePath());
                }
            }
        });
    }

    /** As of an earlier run, on its own disk. */
    @Test
    void a_rank_that_sees_other_files_of_that_name_does_not_open_them() {
        Path stale = TinyModel.LLAMA.narrow().write(folder.resolve("stale"));
        String sample;
        try (ModelDirectory written = ModelDirectory.open(TinyModel.LLAMA.write(folder.resolve("written")))) {
            sample = SourceFiles.sample(written).toString();
        }

        ThreadRanks.run(2, rank -> {
            if (rank.isFirst()) {
                assertFalse(SharedCheckpoint.announce(rank, stale, sample));
            } else {
                assertNull(SharedCheckpoint.await(rank));
            }
        });
    }

    @Test
    void a_rank_that_sees_no_such_folder_opens_nothing() {
        ThreadRanks.run(2, rank -> {
            if (rank.isFirst()) {
                assertFalse(SharedCheckpoint.announce(rank, folder.resolve("elsewhere"), "{}"));
            } else {
                assertNull(SharedCheckpoint.await(rank));
            }
        });
    }
}
