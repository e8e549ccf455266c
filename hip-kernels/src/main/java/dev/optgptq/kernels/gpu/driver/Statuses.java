package dev.optgptq.kernels.gpu.driver;

import dev.optgptq.formats.UserError;

/** Turns the statuses of a library into exceptions. */
record Statuses(Api api) {

    // The same in both libraries.
    private static final int OUT_OF_MEMORY = 2;
    private static final int ILLEGAL_ADDRESS = 700;
    private static final int LAUNCH_TIMEOUT = 702;
    private static final int LAUNCH_FAILURE = 719;
    private static final int BAD_IMAGE = 200;
    private static final int NO_BINARY = 209;
    private static final int INVALID_SOURCE = 218;
    private static final int NOT_FOUND = 500;

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
        return new UserError(status == OUT_OF_MEMORY ? UserError.Code.MEMORY : UserError.Code.DEVICE,
                api.name() + ": " + what + " failed with code " + status + ", " + api.meaning(status) + advice(status));
    }

    private static String advice(int status) {
        return switch (status) {
            case ILLEGAL_ADDRESS, LAUNCH_FAILURE, LAUNCH_TIMEOUT ->
                "; a kernel failed on the device and this process cannot use it any more: start again";
            case BAD_IMAGE, NO_BINARY, INVALID_SOURCE -> "; the kernel was compiled for another architecture";
            case NOT_FOUND -> "; the kernel has no function of that name";
            default -> "";
        };
    }
}
