package dev.optgptq.kernels.cpu;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;

/**
 * Loads the Vector API into the running JVM. As an option of the start, --add-modules, it would print a warning on every run and
 * keep the JVM from using the archived module graph of its startup cache. The JDK does the same for java.instrument when an
 * agent comes late, through a class that is not exported: hence the reflection, and the launcher's --add-exports. The versions
 * of Java that the program runs on are all of one release (pom.xml), and have it.
 */
final class VectorModule {

    private static final String NAME = "jdk.incubator.vector";
    private static final String LOADER = "jdk.internal.module.Modules";

    private VectorModule() {}

    /** Before any class that names a vector is initialised. Does nothing the second time. UserError DEVICE. */
    static void load() {
        if (ModuleLayer.boot().findModule(NAME).isPresent()) {
            return;
        }
        try {
            Class.forName(LOADER).getMethod("loadModule", String.class).invoke(null, NAME);
        } catch (ReflectiveOperationException e) {
            throw new UserError(Code.DEVICE, "the cpu device needs Java's module " + NAME + ", which did not load (" + e
                    + "): start the program by its launcher opt-gptq, or give Java --add-modules=" + NAME, e);
        }
    }
}
