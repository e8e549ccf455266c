package dev.optgptq.kernels.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;

import dev.optgptq.formats.UserError;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** A shared library that was found and loaded, and its functions. */
public final class NativeLibrary {

    private final DynamicLoader loader;
    private final long handle;
    private final String file;

    private NativeLibrary(DynamicLoader loader, long handle, String file) {
        this.loader = loader;
        this.handle = handle;
        this.file = file;
    }

    /**
     * Where a library is looked for.
     *
     * @param what what people call it
     * @param setting names a library to use instead, without a fallback; "none" for no library
     * @param names in order of preference; a name without a folder is searched for as the system does
     */
    public record Search(String what, EnvironmentSetting setting, List<String> names) {}

    /** Loads the first that loads. UserError DEVICE says what was tried, and why each did not load. */
    public static NativeLibrary load(Search search) {
        DynamicLoader loader = DynamicLoader.ofSystem().orElseThrow(() -> new UserError(UserError.Code.DEVICE,
                search.what + ": is used on Linux only; this is " + System.getProperty("os.name")));
        Optional<String> chosen = search.setting.value();
        if (chosen.isPresent() && chosen.get().equals("none")) {
            throw new UserError(UserError.Code.DEVICE,
                    search.what + ": switched off, " + search.setting.variable() + " is none");
        }
        List<String> reasons = new ArrayList<>();
        for (String name : chosen.map(List::of).orElse(search.names)) {
            try {
                long handle = loader.open(name);
                return new NativeLibrary(loader, handle, loader.file(handle, name));
            } catch (IllegalArgumentException e) {
                reasons.add(reason(name, String.valueOf(e.getMessage())));
            }
        }
        throw new UserError(UserError.Code.DEVICE,
                search.what + ": " + (chosen.isPresent() ? search.setting.variable() + " names a library that" : "")
                        + (chosen.isPresent() ? " cannot be loaded (" : "no library found (")
                        + String.join("; ", reasons) + ")"
                        + (chosen.isPresent()
                                ? ""
                                : "; if it is elsewhere, name it with " + search.setting.variable()));
    }

    /** The system's message begins with the name when it is that file which is missing. */
    private static String reason(String name, String message) {
        if (message.startsWith(name + ": cannot open shared object file: No such file")) {
            return name;
        }
        return message.startsWith(name) ? message : name + ": " + message;
    }

    /** The file that was loaded, for people. */
    public String file() {
        return file;
    }

    /** The file behind links, whose name often tells the build. */
    public Path realFile() {
        try {
            return Path.of(file).toRealPath();
        } catch (java.io.IOException e) {
            // Replaced or deleted since it was loaded; the name it had will do.
            return Path.of(file);
        }
    }

    public boolean has(String function) {
        return loader.symbol(handle, function) != 0;
    }

    /** Where a variable of the library lies. UserError DEVICE when it has none of that name. */
    public long address(String variable) {
        long address = loader.symbol(handle, variable);
        if (address == 0) {
            throw new UserError(UserError.Code.DEVICE,
                    file + " has no " + variable + "; it is another library, or too old");
        }
        return address;
    }

    /** The first of the functions that the library has. UserError DEVICE when it has none. */
    public MethodHandle function(List<String> names, MemoryLayout result, MemoryLayout... arguments) {
        for (String name : names) {
            long address = loader.symbol(handle, name);
            if (address != 0) {
                return DynamicLoader.handle(address, result, arguments);
            }
        }
        throw new UserError(UserError.Code.DEVICE,
                file + " has no function " + String.join(" or ", names) + "; it is another library, or too old");
    }

    public MethodHandle function(String name, MemoryLayout result, MemoryLayout... arguments) {
        return function(List.of(name), result, arguments);
    }

    /** The C string at a pointer that native code gave; "" for a null pointer. */
    public static String text(MemorySegment pointer) {
        return DynamicLoader.text(pointer);
    }

    /** A function's char* as text. */
    public static String textAt(MemorySegment pointerToPointer) {
        return text(pointerToPointer.get(ADDRESS, 0));
    }

    /** What a native call may throw, without its being declared. */
    public static RuntimeException rethrown(Throwable problem) {
        if (problem instanceof RuntimeException e) {
            return e;
        }
        if (problem instanceof Error e) {
            throw e;
        }
        return new IllegalStateException(problem);
    }
}
