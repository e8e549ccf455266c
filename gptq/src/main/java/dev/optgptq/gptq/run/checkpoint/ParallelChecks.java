package dev.optgptq.gptq.run.checkpoint;

import dev.optgptq.formats.files.OutputFiles;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Runs independent checks on several threads.
 *
 * @param where the place that they read, for messages
 */
record ParallelChecks(Path where, int threads) {

    /**
     * The failure of the first check, in their order, that fails; no more are begun then. Interrupted, UserError
     * OUTPUT.
     */
    void run(List<Runnable> checks) {
        // Daemons, so that they do not keep the process alive.
        try (ExecutorService workers = Executors.newFixedThreadPool(threads,
                Thread.ofPlatform().daemon().name("opt-gptq-check-", 1).factory())) {
            List<? extends Future<?>> running = checks.stream().map(workers::submit).toList();
            try {
                for (Future<?> check : running) {
                    check.get();
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw OutputFiles.failure(where, new ClosedByInterruptException());
            } catch (ExecutionException e) {
                switch (e.getCause()) {
                    case RuntimeException cause -> throw cause;
                    case Error cause -> throw cause;
                    case null, default -> throw new IllegalStateException("a check threw a checked exception", e);
                }
            } finally {
                running.forEach(check -> check.cancel(false));
            }
        }
    }
}
