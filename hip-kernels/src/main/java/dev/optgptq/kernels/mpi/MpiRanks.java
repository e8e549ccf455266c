package dev.optgptq.kernels.mpi;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ffm.EnvironmentSetting;
import dev.optgptq.kernels.ffm.NativeLibrary;
import dev.optgptq.kernels.ffm.ProcessEnvironment;
import dev.optgptq.kernels.ffm.Signals;
import dev.optgptq.kernels.ranks.Alone;
import dev.optgptq.kernels.ranks.Ranks;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/** The ranks of an MPI job. MPI carries bytes only: its reductions order sums by the number of ranks and by the library. */
public final class MpiRanks implements Ranks {

    /** Names an MPI library to use instead of the launcher's usual one. */
    static final EnvironmentSetting LIBRARY = new EnvironmentSetting("mpi.lib");

    private static final int DATA = 1;
    private static final int FAILURE = 2;
    private static final int END = 3;
    /** Counts are C ints, and libraries keep pinned buffers of the size of a message. */
    private static final long PIECE = 16L << 20;
    private static final int REASON_BYTES = 4096;
    /** Until a failed job is ended by the first rank, which says why; then the others do it. */
    private static final Duration GRACE = Duration.ofSeconds(20);
    private static final Duration NOTICE = Duration.ofSeconds(2);
    private static final Duration FOREVER = Duration.ofDays(365);
    /** A blocking wait would spin, and take the core that the sender may need. */
    private static final long SHORTEST_NAP = 20_000;
    private static final long LONGEST_NAP = 1_000_000;

    private final MpiLibrary mpi;
    private final Duration timeout;
    private final int rank;
    private final List<String> names = new ArrayList<>();
    private final Arena arena = Arena.ofShared();
    private final MemorySegment request = arena.allocate(ValueLayout.JAVA_LONG);
    /** Messages pass through it: what a failed wait leaves behind may still be written to, when the caller's memory is gone. */
    private final MemorySegment staging = arena.allocate(PIECE);
    private int onThisHost = 1;
    private boolean failed;

    private MpiRanks(MpiLibrary mpi, int size, Duration timeout) {
        this.mpi = mpi;
        this.timeout = timeout;
        this.rank = mpi.rank();
        for (int i = 0; i < size; i++) {
            names.add("rank " + i);
        }
    }

    /** Whether a launcher started this process as one of several. */
    public static boolean launched(Map<String, String> environment) {
        return MpiLaunch.of(environment).isPresent();
    }

    /**
     * Joins the job that a launcher started, or works alone where there is none: then no library is loaded. UserError DEVICE when
     * no MPI library loads, or one that is not the launcher's.
     *
     * @param environment the process's
     * @param timeout after which a rank that gives no sign counts as lost
     * @param log receives which library it is
     */
    public static Ranks open(Map<String, String> environment, Duration timeout, Consumer<String> log) {
        Optional<MpiLaunch> launch = MpiLaunch.of(environment);
        return launch.isPresent() ? open(launch.get(), timeout, log) : new Alone();
    }

    private static Ranks open(MpiLaunch launch, Duration timeout, Consumer<String> log) {
        Signals signals = Signals.keep();
        // UCX would put its crash reporter in the place of the JVM's handlers, which run at every null check that fails.
        ProcessEnvironment.set("UCX_ERROR_SIGNALS", "");
        ProcessEnvironment.set("UCX_DEBUG_SIGNO", "0");
        MpiLibrary mpi = new MpiLibrary(NativeLibrary.load(
                new NativeLibrary.Search("MPI, as " + launch.variable() + " says that there are " + launch.size()
                        + " processes", LIBRARY, launch.libraries())));
        Set<String> replaced = signals.restore();
        if (mpi.size() != launch.size()) {
            throw new UserError(UserError.Code.DEVICE, launch.launcher() + " started " + launch.size() + " processes ("
                    + launch.variable() + "), but " + mpi.description() + " sees " + mpi.size()
                    + ": it is not the library of this launcher, and each process would do the whole job. Name the right one with "
                    + LIBRARY.variable()
                    + ", or start with the launcher of this one (with Slurm: srun --mpi=pmix for Open MPI, "
                    + "--mpi=pmi2 for MPICH)");
        }
        MpiRanks ranks = new MpiRanks(mpi, launch.size(), timeout);
        List<String> hosts = ranks.exchange(mpi.host());
        for (int i = 0; i < launch.size(); i++) {
            ranks.names.set(i, "rank " + i + " (" + hosts.get(i) + ")");
        }
        ranks.onThisHost = Collections.frequency(hosts, hosts.get(ranks.rank));
        int count = Set.copyOf(hosts).size();
        log.accept(launch.size() + " ranks on " + (count == 1 ? "one host, " : count + " hosts, ") + mpi.description()
                + (replaced.isEmpty() ? "" : "; gave the JVM back its handlers of " + String.join(", ", replaced)));
        return ranks;
    }

    @Override
    public int rank() {
        return rank;
    }

    @Override
    public int size() {
        return names.size();
    }

    @Override
    public String name(int of) {
        return names.get(of);
    }

    @Override
    public int onThisHost() {
        return onThisHost;
    }

    @Override
    public void send(int to, MemorySegment bytes) {
        eachPiece(bytes, piece -> {
            MemorySegment staged = staging.asSlice(0, piece.byteSize()).copyFrom(piece);
            mpi.send(to, DATA, staged, request);
            await(to, timeout);
        });
    }

    @Override
    public void receive(int from, MemorySegment bytes) {
        receive(from, bytes, timeout);
    }

    @Override
    public void receiveLate(int from, MemorySegment bytes) {
        receive(from, bytes, FOREVER);
    }

    private void receive(int from, MemorySegment bytes, Duration most) {
        eachPiece(bytes, piece -> {
            MemorySegment staged = staging.asSlice(0, piece.byteSize());
            mpi.receive(from, DATA, staged, request);
            await(from, most);
            piece.copyFrom(staged);
        });
    }

    private static void eachPiece(MemorySegment bytes, Consumer<MemorySegment> action) {
        for (long at = 0; at < bytes.byteSize(); at += PIECE) {
            action.accept(bytes.asSlice(at, Math.min(PIECE, bytes.byteSize() - at)));
        }
    }

    /** Waits for the request, while nobody fails. */
    private void await(int other, Duration most) {
        if (!poll(most, this::isDone)) {
            throw new UserError(UserError.Code.DEVICE, "waiting for " + name(other) + ": no sign of it for "
                    + most.toSeconds()
                    + " s; it hangs, was stopped, or cannot be reached. See to it there, then run the same "
                    + "command to resume; --rank-timeout allows for longer waits");
        }
    }

    private boolean isDone() {
        if (mpi.done(request)) {
            return true;
        }
        hearFailures();
        return false;
    }

    private void hearFailures() {
        for (int other = 0; other < size() && !failed; other++) {
            if (other != rank && mpi.waits(other, FAILURE)) {
                failed = true;
                MemorySegment reason = arena.allocate(REASON_BYTES);
                MemorySegment receiving = arena.allocate(ValueLayout.JAVA_LONG);
                mpi.receive(other, FAILURE, reason, receiving);
                poll(NOTICE, () -> mpi.done(receiving));
                throw new UserError(UserError.Code.DEVICE, name(other) + ": " + reason.getString(0));
            }
        }
    }

    /** Naps until the condition holds; false when it does not in time. */
    private static boolean poll(Duration most, BooleanSupplier condition) {
        long start = System.nanoTime();
        long nap = SHORTEST_NAP;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() - start > most.toNanos()) {
                return false;
            }
            LockSupport.parkNanos(nap);
            nap = Math.min(LONGEST_NAP, nap + nap / 8);
        }
        return true;
    }

    /** On another than the first rank this returns only when the first has not ended the job in time. */
    @Override
    public void fail(String reason) {
        if (!failed) {
            failed = true;
            notifyOthers(reason);
        }
        if (!isFirst()) {
            poll(GRACE, () -> false);
        }
    }

    private void notifyOthers(String reason) {
        byte[] text = reason.getBytes(StandardCharsets.UTF_8);
        MemorySegment bytes = arena.allocate(REASON_BYTES);
        MemorySegment.copy(text, 0, bytes, ValueLayout.JAVA_BYTE, 0, Math.min(text.length, REASON_BYTES - 1));
        List<MemorySegment> requests = new ArrayList<>();
        for (int other = 0; other < size(); other++) {
            if (other != rank) {
                MemorySegment sending = arena.allocate(ValueLayout.JAVA_LONG);
                mpi.send(other, FAILURE, bytes, sending);
                requests.add(sending);
            }
        }
        poll(NOTICE, () -> {
            requests.removeIf(mpi::done);
            return requests.isEmpty();
        });
    }

    @Override
    public void close() {
        if (failed) {
            mpi.abort();
            return;
        }
        end();
        mpi.finish();
    }

    /** All wait for the first, which writes and verifies before it ends; then it waits for all. */
    private void end() {
        MemorySegment word = arena.allocate(1);
        if (isFirst()) {
            for (int other = 1; other < size(); other++) {
                mpi.receive(other, END, word, request);
                await(other, timeout);
            }
        } else {
            mpi.send(0, END, word, request);
            await(0, timeout);
        }
        awaitFirst();
    }
}
