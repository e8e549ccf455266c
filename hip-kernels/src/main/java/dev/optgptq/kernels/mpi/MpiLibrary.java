package dev.optgptq.kernels.mpi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.util.ArrayList;
import java.util.List;

/** The few functions of MPI that are used. Handles are longs here, whatever the library makes of them. */
final class MpiLibrary {

    private static final int TEXT_BYTES = 8192;

    private final NativeLibrary functions;
    private final MpiAbi abi;
    private final MethodHandle errorString;
    private final MethodHandle isend;
    private final MethodHandle irecv;
    private final MethodHandle test;
    private final MethodHandle probe;
    private final Arena arena = Arena.ofAuto();
    private final MemorySegment flag = arena.allocate(JAVA_INT);
    private final MemorySegment noStatus;

    /** Initializes MPI: seconds. UserError DEVICE when the library is none. */
    MpiLibrary(NativeLibrary functions) {
        this.functions = functions;
        this.abi = MpiAbi.of(functions);
        this.noStatus = MemorySegment.ofAddress(abi.noStatus());
        ValueLayout handle = handle();
        this.errorString = function("MPI_Error_string", JAVA_INT, ADDRESS, ADDRESS);
        this.isend = function("MPI_Isend", ADDRESS, JAVA_INT, handle, JAVA_INT, JAVA_INT, handle, ADDRESS);
        this.irecv = function("MPI_Irecv", ADDRESS, JAVA_INT, handle, JAVA_INT, JAVA_INT, handle, ADDRESS);
        this.test = function("MPI_Test", ADDRESS, ADDRESS, ADDRESS);
        this.probe = function("MPI_Iprobe", JAVA_INT, JAVA_INT, handle, ADDRESS, ADDRESS);
        initialize();
    }

    private void initialize() {
        try {
            check("MPI_Init_thread", (int) function("MPI_Init_thread", ADDRESS, ADDRESS, JAVA_INT, ADDRESS)
                    .invokeExact(MemorySegment.NULL, MemorySegment.NULL, abi.serialized(), flag));
            requireThreads(flag.get(JAVA_INT, 0));
            // Else an error ends the process, and what it has finished goes unsaid.
            check("MPI_Comm_set_errhandler",
                    (int) function("MPI_Comm_set_errhandler", handle(), handle()).invokeExact(abi.world(),
                            abi.errorsReturn()));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** Calls come one at a time, but from several threads: the one that ends a failed job is another. */
    private void requireThreads(int granted) {
        if (granted < abi.serialized()) {
            throw new UserError(UserError.Code.DEVICE,
                    functions.file() + ": expected thread level MPI_THREAD_SERIALIZED ("
                            + abi.serialized() + "), found " + granted + "; name a build of it with threads with "
                            + MpiRanks.LIBRARY.variable());
        }
    }

    private ValueLayout handle() {
        return abi.intHandles() ? JAVA_INT : JAVA_LONG;
    }

    /** Takes longs where the library takes ints for handles. */
    private MethodHandle function(String name, MemoryLayout... arguments) {
        MethodHandle found = functions.function(name, JAVA_INT, arguments);
        if (!abi.intHandles()) {
            return found;
        }
        // MPICH's handles are the only ints that we pass as longs.
        List<Class<?>> types = new ArrayList<>(found.type().parameterList());
        switch (name) {
            case "MPI_Isend", "MPI_Irecv" -> {
                types.set(2, long.class);
                types.set(5, long.class);
            }
            case "MPI_Iprobe" -> types.set(2, long.class);
            case "MPI_Comm_set_errhandler" -> {
                types.set(0, long.class);
                types.set(1, long.class);
            }
            case "MPI_Comm_rank", "MPI_Comm_size", "MPI_Abort" -> types.set(0, long.class);
            default -> {
                // takes no handle
            }
        }
        return MethodHandles.explicitCastArguments(found, found.type().changeReturnType(int.class)
                .dropParameterTypes(0, types.size()).appendParameterTypes(types));
    }

    /** The library and its version, in one line. */
    String description() {
        String version = text("MPI_Get_library_version").lines().findFirst().orElse("");
        int details = version.indexOf(',');
        return version.substring(0, details < 0 ? version.length() : details).replace("\t", " ") + ", "
                + functions.file();
    }

    /** The host that this process runs on. */
    String host() {
        return text("MPI_Get_processor_name");
    }

    private String text(String name) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment text = scratch.allocate(TEXT_BYTES);
            check(name, (int) function(name, ADDRESS, ADDRESS).invokeExact(text, flag));
            return text.getString(0).strip();
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    int rank() {
        return number("MPI_Comm_rank");
    }

    int size() {
        return number("MPI_Comm_size");
    }

    private int number(String name) {
        try {
            check(name, (int) function(name, handle(), ADDRESS).invokeExact(abi.world(), flag));
            return flag.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /**
     * Starts to send.
     *
     * @param bytes native memory, which must stay as it is until the request is done
     * @param request of 8 bytes, set
     */
    void send(int to, int tag, MemorySegment bytes, MemorySegment request) {
        try {
            check("MPI_Isend", (int) isend.invokeExact(bytes, Math.toIntExact(bytes.byteSize()), abi.bytes(), to, tag,
                    abi.world(), request));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** Starts to receive; the arguments are those of send. */
    void receive(int from, int tag, MemorySegment bytes, MemorySegment request) {
        try {
            check("MPI_Irecv", (int) irecv.invokeExact(bytes, Math.toIntExact(bytes.byteSize()), abi.bytes(), from, tag,
                    abi.world(), request));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** Whether a request is done; it must not be asked about after that. */
    boolean done(MemorySegment request) {
        try {
            check("MPI_Test", (int) test.invokeExact(request, flag, noStatus));
            return flag.get(JAVA_INT, 0) != 0;
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** Whether a message is waiting. */
    boolean waits(int from, int tag) {
        try {
            check("MPI_Iprobe", (int) probe.invokeExact(from, tag, abi.world(), flag, noStatus));
            return flag.get(JAVA_INT, 0) != 0;
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** Ends all processes of the job, this one too, without shutdown hooks. */
    void abort() {
        try {
            check("MPI_Abort", (int) function("MPI_Abort", handle(), JAVA_INT).invokeExact(abi.world(), 1));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    void finish() {
        try {
            check("MPI_Finalize", (int) function("MPI_Finalize").invokeExact());
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    private void check(String function, int status) {
        if (status != 0) {
            throw new UserError(UserError.Code.DEVICE, function + " of " + functions.file() + " failed: "
                    + errorText(status) + "; see the launcher's messages, and run the same command to resume");
        }
    }

    private String errorText(int status) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment text = scratch.allocate(TEXT_BYTES);
            int ignored = (int) errorString.invokeExact(status, text, scratch.allocate(JAVA_INT));
            return ignored == 0 ? text.getString(0) : "error " + status;
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
