package dev.optgptq.kernels.gpu;

import dev.optgptq.kernels.Closing;
import dev.optgptq.kernels.Downloads;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Downloads from a GPU, by a thread of their own, on a stream and through buffers of their own: only an event ties them to the
 * context's stream.
 */
final class GpuDownloads implements Downloads, AutoCloseable {

    /** How often a wait looks whether the device is lost. */
    private static final long LOOK_MILLIS = 200;

    private final GpuContext context;
    private final Health health;
    private final GpuDriver driver;
    private final long stream;
    /** Happens on the context's stream: what was issued before a download began. */
    private final long computed;
    private final GpuTransfer transfer;
    private final ExecutorService worker;

    GpuDownloads(GpuContext context, Health health) {
        this(context, health, GpuTransfer.BUFFER_BYTES);
    }

    /** @param bufferBytes size of the two buffers that bytes pass through */
    GpuDownloads(GpuContext context, Health health, long bufferBytes) {
        this.context = context;
        this.health = health;
        this.driver = context.driver();
        this.stream = driver.createStream();
        this.computed = driver.createEvent(false);
        this.transfer = new GpuTransfer(driver, stream, context.memory(), bufferBytes);
        this.worker = Executors.newSingleThreadExecutor(
                Thread.ofPlatform().daemon().name("opt-gptq-download-" + context.deviceName()).factory());
    }

    @Override
    public Download begin(Tensor source, MemorySegment target) {
        context.activate();
        health.tell(() -> {
            driver.record(computed, context.stream());
            driver.await(stream, computed);
        });
        return new Running(worker.submit(() -> {
            context.activate();
            health.tell(() -> transfer.download(source, target));
        }));
    }

    /** A copy that the worker does, or will do. */
    private final class Running implements Download {

        private final Future<?> copy;

        private Running(Future<?> copy) {
            this.copy = copy;
        }

        @Override
        public boolean hasEnded() {
            return copy.isDone();
        }

        @Override
        public void await() {
            boolean interrupted = false;
            try {
                while (true) {
                    try {
                        copy.get(LOOK_MILLIS, TimeUnit.MILLISECONDS);
                        return;
                    } catch (InterruptedException e) {
                        interrupted = true;
                    } catch (TimeoutException e) {
                        health.requireAlive();
                    } catch (ExecutionException e) {
                        throw thrown(e);
                    }
                }
            } finally {
                if (interrupted) {
                    Thread.currentThread().interrupt();
                }
            }
        }

        private static RuntimeException thrown(ExecutionException e) {
            return switch (e.getCause()) {
                case RuntimeException failure -> failure;
                case Error error -> throw error;
                case null, default -> new IllegalStateException(e);
            };
        }
    }

    /** Waits for the copies that were begun, except on a lost device. */
    void drain() {
        worker.shutdown();
        boolean interrupted = false;
        while (!worker.isTerminated() && !health.isLost()) {
            try {
                worker.awaitTermination(LOOK_MILLIS, TimeUnit.MILLISECONDS);
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Frees everything, after {@link #drain}. */
    @Override
    public void close() {
        Closing.all(
                List.of(transfer::close, () -> driver.destroyEvent(computed), () -> driver.destroyStream(stream)));
    }
}
