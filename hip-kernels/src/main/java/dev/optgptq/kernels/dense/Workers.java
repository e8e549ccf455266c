package dev.optgptq.kernels.dense;

import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinTask;
import java.util.function.IntConsumer;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/** Threads that compute parts of a matrix beside each other; work within work runs on the same threads. */
final class Workers implements AutoCloseable {

    private final ForkJoinPool pool;

    Workers(int threads) {
        this.pool = new ForkJoinPool(threads);
    }

    /** Calls with 0, part, 2 part and so on below size; a single call on the caller's thread. */
    void inParts(int size, int part, IntConsumer call) {
        int parts = Math.ceilDiv(size, part);
        if (parts == 1) {
            call.accept(0);
            return;
        }
        each(parts, index -> {
            call.accept(index * part);
            return index;
        });
    }

    /** Of 0, 1 and so on below count, in that order. */
    <T> List<T> each(int count, IntFunction<T> of) {
        return run(() -> IntStream.range(0, count).parallel().mapToObj(of).toList());
    }

    /** A parallel stream uses the pool of the thread that it is started on. */
    private <T> T run(Supplier<T> work) {
        return pool.equals(ForkJoinTask.getPool()) ? work.get() : pool.submit((Callable<T>) work::get).join();
    }

    @Override
    public void close() {
        pool.close();
    }
}
