package dev.optgptq.kernels.gpu;

import dev.optgptq.kernels.gpu.driver.GpuDriver;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Map;
import java.util.TreeMap;

/** Counts calls, and what is held of a driver: for each way to get something, how much of it was not given back. */
final class CountingDriver {

    private static final Map<String, String> GIVEN_BACK_BY = Map.of("acquire", "release", "allocate", "free",
            "allocatePinned", "freePinned", "createStream", "destroyStream", "createEvent", "destroyEvent",
            "loadModule",
            "unloadModule");

    private final Map<String, Integer> taken = new TreeMap<>();
    private final Map<String, Integer> held = new TreeMap<>();
    private int calls;

    /** The driver, with every call counted and passed on. */
    GpuDriver around(GpuDriver driver) {
        return (GpuDriver) Proxy.newProxyInstance(GpuDriver.class.getClassLoader(), new Class<?>[] {GpuDriver.class},
                (proxy, method, arguments) -> {
                    calls++;
                    try {
                        Object result = method.invoke(driver, arguments);
                        count(method.getName());
                        return result;
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }

    private void count(String call) {
        if (GIVEN_BACK_BY.containsKey(call)) {
            taken.merge(call, 1, Integer::sum);
            held.merge(call, 1, Integer::sum);
        }
        GIVEN_BACK_BY.forEach((take, giveBack) -> {
            if (giveBack.equals(call)) {
                held.merge(take, -1, Integer::sum);
            }
        });
    }

    /** All calls, those that failed included. */
    int calls() {
        return calls;
    }

    /** What was got at all. */
    Map<String, Integer> taken() {
        return taken;
    }

    /** What was not given back. */
    Map<String, Integer> held() {
        Map<String, Integer> left = new TreeMap<>(held);
        left.values().removeIf(count -> count == 0);
        return left;
    }

    static int ways() {
        return GIVEN_BACK_BY.size();
    }
}
