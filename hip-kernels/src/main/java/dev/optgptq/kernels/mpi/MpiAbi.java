package dev.optgptq.kernels.mpi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * How a family of MPI libraries passes handles and constants (mpi.h of Open MPI 4.1 and of MPICH 4.0; the MPI 5.0 standard, chapter 20).
 *
 * @param intHandles whether handles are C ints; else they are as wide as pointers
 * @param world MPI_COMM_WORLD
 * @param bytes MPI_BYTE
 * @param errorsReturn MPI_ERRORS_RETURN
 * @param noStatus MPI_STATUS_IGNORE, an address
 * @param serialized MPI_THREAD_SERIALIZED
 */
record MpiAbi(boolean intHandles, long world, long bytes, long errorsReturn, long noStatus,
        int serialized) {

    private static final String OPEN_MPI_WORLD = "ompi_mpi_comm_world";
    private static final String STANDARD_VERSION = "MPI_Abi_get_version";

    /** That of a library. */
    static MpiAbi of(NativeLibrary library) {
        if (library.has(STANDARD_VERSION) && standardVersion(library) >= 1) {
            return new MpiAbi(false, 0x101, 0x247, 0x143, 0, 2048);
        }
        if (library.has(OPEN_MPI_WORLD)) {
            return new MpiAbi(false, library.address(OPEN_MPI_WORLD), library.address("ompi_mpi_byte"),
                    library.address("ompi_mpi_errors_return"), 0, 2);
        }
        return new MpiAbi(true, 0x44000000, 0x4c00010d, 0x54000001, 1, 2);
    }

    /** Open MPI's own library has the function too, and answers -1. */
    private static int standardVersion(NativeLibrary library) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment major = arena.allocate(JAVA_INT);
            MemorySegment minor = arena.allocate(JAVA_INT);
            int status = (int) library.function(STANDARD_VERSION, JAVA_INT, ADDRESS, ADDRESS).invokeExact(major, minor);
            return status == 0 ? major.get(JAVA_INT, 0) : -1;
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }
}
