package dev.optgptq.kernels.blas;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.ffm.NativeLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * The functions of oneDNN's C API (version 3) that are used. Most return a status and write a handle, a pointer to what
 * the library owns.
 */
final class OneDnnCalls {

    private static final String[] STATUSES = {"success", "out of memory", "invalid arguments", "unimplemented",
            "last implementation reached", "runtime error"};
    /** dnnl_version_t: three ints come first. */
    private static final long VERSION_BYTES = 12;

    private final String file;
    private final MethodHandle version;
    private final MethodHandle instructions;
    private final MethodHandle instructionsText;
    private final MethodHandle setThreads;
    final MethodHandle engineCreate;
    final MethodHandle streamCreate;
    final MethodHandle layoutCreate;
    final MethodHandle layoutDestroy;
    final MethodHandle layoutSize;
    final MethodHandle attributesCreate;
    final MethodHandle attributesDestroy;
    final MethodHandle attributesScratch;
    final MethodHandle attributesPostOps;
    final MethodHandle postOpsCreate;
    final MethodHandle postOpsDestroy;
    final MethodHandle postOpsSum;
    final MethodHandle matmulCreate;
    final MethodHandle planQuery;
    final MethodHandle planDestroy;
    final MethodHandle primitiveCreate;
    final MethodHandle primitiveDestroy;
    final MethodHandle memoryCreate;
    final MethodHandle memoryDestroy;
    final MethodHandle execute;

    /** UserError DEVICE where the library is another one. */
    OneDnnCalls(NativeLibrary library) {
        file = library.file();
        version = library.function("dnnl_version", ADDRESS);
        instructions = library.function("dnnl_get_effective_cpu_isa", JAVA_INT);
        instructionsText = library.function("dnnl_cpu_isa2str", ADDRESS, JAVA_INT);
        // Of the OpenMP that this library uses: another copy may be in the process.
        setThreads = Linker.nativeLinker().downcallHandle(
                MemorySegment.ofAddress(library.address("omp_set_num_threads")),
                FunctionDescriptor.ofVoid(JAVA_INT));
        requireThird();
        engineCreate = status(library, "dnnl_engine_create", ADDRESS, JAVA_INT, JAVA_LONG);
        streamCreate = status(library, "dnnl_stream_create", ADDRESS, ADDRESS, JAVA_INT);
        layoutCreate = status(library, "dnnl_memory_desc_create_with_strides", ADDRESS, JAVA_INT, ADDRESS, JAVA_INT,
                ADDRESS);
        layoutDestroy = status(library, "dnnl_memory_desc_destroy", ADDRESS);
        layoutSize = library.function("dnnl_memory_desc_get_size", JAVA_LONG, ADDRESS);
        attributesCreate = status(library, "dnnl_primitive_attr_create", ADDRESS);
        attributesDestroy = status(library, "dnnl_primitive_attr_destroy", ADDRESS);
        attributesScratch = status(library, "dnnl_primitive_attr_set_scratchpad_mode", ADDRESS, JAVA_INT);
        attributesPostOps = status(library, "dnnl_primitive_attr_set_post_ops", ADDRESS, ADDRESS);
        postOpsCreate = status(library, "dnnl_post_ops_create", ADDRESS);
        postOpsDestroy = status(library, "dnnl_post_ops_destroy", ADDRESS);
        postOpsSum = status(library, "dnnl_post_ops_append_sum", ADDRESS, JAVA_FLOAT, JAVA_INT, JAVA_INT);
        matmulCreate = status(library, "dnnl_matmul_primitive_desc_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS,
                ADDRESS, ADDRESS, ADDRESS);
        planQuery = library.function("dnnl_primitive_desc_query_md", ADDRESS, ADDRESS, JAVA_INT, JAVA_INT);
        planDestroy = status(library, "dnnl_primitive_desc_destroy", ADDRESS);
        primitiveCreate = status(library, "dnnl_primitive_create", ADDRESS, ADDRESS);
        primitiveDestroy = status(library, "dnnl_primitive_destroy", ADDRESS);
        memoryCreate = status(library, "dnnl_memory_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
        memoryDestroy = status(library, "dnnl_memory_destroy", ADDRESS);
        execute = status(library, "dnnl_primitive_execute", ADDRESS, ADDRESS, JAVA_INT, ADDRESS);
    }

    private static MethodHandle status(NativeLibrary library, String name, MemoryLayout... arguments) {
        return library.function(name, JAVA_INT, arguments);
    }

    private void requireThird() {
        if (!versionText().startsWith("3.")) {
            throw new UserError(UserError.Code.DEVICE, file + " is oneDNN " + versionText()
                    + ", and this program calls version 3; name one with " + OneDnnLibrary.SETTING.variable());
        }
    }

    /** Such as 3.8.1. */
    String versionText() {
        try {
            MemorySegment numbers = ((MemorySegment) version.invokeExact()).reinterpret(VERSION_BYTES);
            return numbers.getAtIndex(JAVA_INT, 0) + "." + numbers.getAtIndex(JAVA_INT, 1) + "."
                    + numbers.getAtIndex(JAVA_INT, 2);
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** The most that its kernels use of this CPU, as bits: dnnl_cpu_isa_t. */
    int instructionBits() {
        try {
            return (int) instructions.invokeExact();
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    String instructionText(int bits) {
        try {
            return NativeLibrary.text((MemorySegment) instructionsText.invokeExact(bits));
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** What this thread asks of the library from here on runs on it alone. */
    void onThisThreadAlone() {
        try {
            setThreads.invokeExact(1);
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    /** Calls a function whose first argument receives a handle. */
    MemorySegment handle(Arena scratch, String what, Creation creation) {
        MemorySegment out = scratch.allocate(ADDRESS);
        try {
            check(creation.into(out), what);
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
        return out.get(ADDRESS, 0);
    }

    /** A call that writes a handle. */
    @FunctionalInterface
    interface Creation {
        int into(MemorySegment out) throws Throwable;
    }

    void check(int status, String what) {
        if (status != 0) {
            throw new UserError(UserError.Code.DEVICE, "oneDNN (" + file + ") could not " + what + ": "
                    + (status < STATUSES.length ? STATUSES[status] : "status " + status));
        }
    }
}
