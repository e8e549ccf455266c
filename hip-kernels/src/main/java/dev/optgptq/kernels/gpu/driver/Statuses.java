package dev.optgptq.kernels.gpu.driver;

import dev.optgptq.formats.UserError;
import java.util.Set;

/** Turns the statuses of a library into exceptions. */
record Statuses(Api api) {

    // The same in both libraries.
    private static final int OUT_OF_MEMORY = 2;
    private static final int BAD_IMAGE = 200;
    private static final int NO_BINARY = 209;
    private static final int INVALID_SOURCE = 218;
    private static final int NOT_FOUND = 500;
    /**
     * After these a context cannot be used any more: uncorrectable errors of memory (214) and links (220), a kernel's illegal
     * address (700), time-out (702), destroyed context (709), assertion (710), broken stack (714), illegal instruction (715),
     * misaligned address (716), invalid address space (717) and program counter (718), and any other failure of it (719).
     */
    private static final Set<Integer> LOST = Set.of(214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719);

    void check(Call call, int status) {
        if (status != 0) {
            throw failure(api.symbol(call), status);
        }
    }

    void check(String what, int status) {
        if (status != 0) {
            throw failure(what, status);
        }
    }

    private UserError failure(String what, int status) {
        return new UserError(code(status), api.name() + ": " + what + " failed with code " + status + ", "
                + api.meaning(status) + advice(status));
    }

    private static UserError.Code code(int status) {
        if (status == OUT_OF_MEMORY) {
            return UserError.Code.MEMORY;
        }
        return LOST.contains(status) ? UserError.Code.DEVICE_LOST : UserError.Code.DEVICE;
    }

    private static String advice(int status) {
        return switch (status) {
            case BAD_IMAGE, NO_BINARY, INVALID_SOURCE -> "; the kernel was compiled for another architecture";
            case NOT_FOUND -> "; the kernel has no function of that name";
            default -> "";
        };
    }
}
