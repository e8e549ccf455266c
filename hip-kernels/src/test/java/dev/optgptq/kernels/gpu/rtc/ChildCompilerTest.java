package dev.optgptq.kernels.gpu.rtc;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.kernels.emulator.Emulator;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ChildCompilerTest {

    private static final KernelSource GOOD = new KernelSource("good",
            "extern \"C\" __global__ void good(int* out) { out[0] = 1; }\n");
    private static final KernelSource BAD = new KernelSource("bad",
            "extern \"C\" __global__ void bad(int* out) { out[0] = missing; }\n");

    private Emulator emulator;

    @BeforeAll
    void open() {
        emulator = Emulator.open(64);
    }

    @AfterAll
    void close() {
        if (emulator != null) {
            emulator.close();
        }
    }

    @Test
    void one_process_compiles_one_source_after_another_also_after_a_bad_one() {
        Set<Long> ofOtherTests = children();
        ChildCompiler compiler = new ChildCompiler(Rtc.HIP);
        compiler.compile(GOOD, List.of());
        Set<Long> first = childrenBut(ofOtherTests);
        assertEquals(1, first.size());
        UserError rejected = assertThrows(UserError.class, () -> compiler.compile(BAD, List.of()));
        assertTrue(text(rejected).contains("kernel source bad") && text(rejected).contains("missing"),
                text(rejected));
        assertTrue(compiler.compile(GOOD, List.of()).length > 0);
        assertEquals(first, childrenBut(ofOtherTests));
    }

    @Test
    void a_crash_is_an_error_and_the_next_source_is_compiled_by_another_process() {
        ChildCompiler compiler = new ChildCompiler(Rtc.HIP);
        UserError crashed = assertThrows(UserError.class, () -> compiler.compile(GOOD, List.of("-DEMULATOR_CRASH")));
        assertTrue(text(crashed).contains("the compiler crashed (signal 6)"), text(crashed));
        assertTrue(compiler.compile(GOOD, List.of()).length > 0);
    }

    private static String text(UserError error) {
        return String.valueOf(error.getMessage());
    }

    private static Set<Long> childrenBut(Set<Long> others) {
        return children().stream().filter(child -> !others.contains(child)).collect(Collectors.toSet());
    }

    /** Processes that compile, of this JVM. */
    private static Set<Long> children() {
        return ProcessHandle.current().children().filter(ProcessHandle::isAlive).map(ProcessHandle::pid)
                .collect(Collectors.toSet());
    }
}
