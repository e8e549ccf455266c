package dev.optgptq.kernels.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/**
 * The C library's dlopen, called directly: SymbolLookup.libraryLookup says only that a library could not be opened,
 * dlerror tells which of the libraries it needs is missing, and dlinfo which file was loaded.
 */
final class DynamicLoader {

    private static final int RTLD_NOW = 2;
    private static final int RTLD_DI_LINKMAP = 2;
    /** Of l_name in struct link_map, after l_addr. */
    private static final long LINK_MAP_NAME = 8;
    private static final int TEXT_LIMIT = 4096;

    private final MethodHandle open;
    private final MethodHandle symbol;
    private final MethodHandle error;
    private final MethodHandle info;

    private DynamicLoader(SymbolLookup c) {
        open = bind(c, "dlopen", FunctionDescriptor.of(JAVA_LONG, ADDRESS, JAVA_INT));
        symbol = bind(c, "dlsym", FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, ADDRESS));
        error = bind(c, "dlerror", FunctionDescriptor.of(ADDRESS));
        info = bind(c, "dlinfo", FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_INT, ADDRESS));
    }

    /** Empty where the system has no dlopen: then there are no libraries that this program could use either. */
    static Optional<DynamicLoader> ofSystem() {
        SymbolLookup c = Linker.nativeLinker().defaultLookup();
        return c.find("dlopen").isPresent() && c.find("dlinfo").isPresent()
                ? Optional.of(new DynamicLoader(c))
                : Optional.empty();
    }

    private static MethodHandle bind(SymbolLookup c, String name, FunctionDescriptor descriptor) {
        return Linker.nativeLinker().downcallHandle(c.findOrThrow(name), descriptor);
    }

    /**
     * Loads a library, by path or by a name that the system searches for. It stays loaded: vendors' libraries run threads
     * of their own.
     *
     * @throws IllegalArgumentException with the system's reason
     */
    long open(String name) {
        try (Arena arena = Arena.ofConfined()) {
            long handle = (long) open.invokeExact(arena.allocateFrom(name), RTLD_NOW);
            if (handle == 0) {
                throw new IllegalArgumentException(text((MemorySegment) error.invokeExact()));
            }
            return handle;
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** The address of a function, 0 when the library has none of that name. Symbol versions are ignored. */
    long symbol(long handle, String name) {
        try (Arena arena = Arena.ofConfined()) {
            return (long) symbol.invokeExact(handle, arena.allocateFrom(name));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    /** The file that was loaded; the given name when the system does not say. */
    String file(long handle, String name) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ADDRESS);
            if ((int) info.invokeExact(handle, RTLD_DI_LINKMAP, out) != 0) {
                return name;
            }
            MemorySegment map = out.get(ADDRESS, 0).reinterpret(LINK_MAP_NAME + 8);
            return text(map.get(ADDRESS, LINK_MAP_NAME));
        } catch (Throwable e) {
            throw NativeLibrary.rethrown(e);
        }
    }

    static String text(MemorySegment pointer) {
        return pointer.address() == 0 ? "" : pointer.reinterpret(TEXT_LIMIT).getString(0);
    }

    static MethodHandle handle(long address, MemoryLayout result, MemoryLayout... arguments) {
        return Linker.nativeLinker().downcallHandle(MemorySegment.ofAddress(address),
                FunctionDescriptor.of(result, arguments));
    }
}
