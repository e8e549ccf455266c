package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.console.Shutdown;
import dev.optgptq.gptq.settings.SettingChecks;
import dev.optgptq.kernels.mpi.MpiRanks;
import dev.optgptq.kernels.ranks.Alone;
import dev.optgptq.kernels.ranks.Ranks;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** A command as one of the ranks of a job that mpirun or srun started: the first talks, and an error of one ends all. */
final class RankOptions {

    private static final int TIMEOUT_SECONDS = 1800;

    @Option(names = "--rank-timeout", paramLabel = "SECONDS", description = "Under mpirun or srun: how long a rank waits for another "
            + "before the job ends with an error that names it. Default: " + TIMEOUT_SECONDS)
    private int timeout = TIMEOUT_SECONDS;

    @Option(names = "--log", paramLabel = "PREFIX", description = "Write messages and progress to PREFIX.rankN.log, each rank to its "
            + "own; rank 0 alone writes to the terminal.")
    private @Nullable String log;

    /** What a rank does; the console is silent on others than the first. */
    interface Work {
        int run(Console console, JobProgress progress, Ranks ranks);
    }

    /** Joins the ranks that a launcher started, or works alone; returns the exit code. */
    int run(Console console, Work work) {
        SettingChecks.atLeast(1, "--rank-timeout", timeout);
        if (!MpiRanks.launched(System.getenv())) {
            return run(console, new Alone(), List.of(), work);
        }
        List<String> lines = new ArrayList<>();
        Ranks ranks = MpiRanks.open(System.getenv(), Duration.ofSeconds(timeout), lines::add);
        try {
            int exitCode = run(ranks.isFirst() ? console : Console.silent(), ranks, lines, work);
            ranks.close();
            return exitCode;
        } catch (RuntimeException | Error e) {
            try {
                ranks.fail(String.valueOf(e.getMessage()));
            } catch (RuntimeException late) {
                e.addSuppressed(late);
            }
            closeAfterTheMessage(ranks);
            throw e;
        }
    }

    private int run(Console console, Ranks ranks, List<String> lines, Work work) {
        try (JobProgress progress = log == null
                ? console.progress()
                : console.progress(log + ".rank" + ranks.rank() + ".log")) {
            lines.forEach(progress::log);
            return work.run(console, progress, ranks);
        }
    }

    /** Ends the other processes, and MPI this one, once the error is printed. */
    private static void closeAfterTheMessage(Ranks ranks) {
        if (!Shutdown.hasBegun()) {
            Runtime.getRuntime().addShutdownHook(Thread.ofPlatform().name("end of all ranks").unstarted(ranks::close));
        }
    }
}
