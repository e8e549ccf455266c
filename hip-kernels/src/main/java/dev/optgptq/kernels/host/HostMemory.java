package dev.optgptq.kernels.host;

import com.sun.management.HotSpotDiagnosticMXBean;
import java.lang.management.ManagementFactory;
import java.util.concurrent.atomic.AtomicLong;

/** Counts the bytes that a device's arenas hold. */
final class HostMemory {

    private final AtomicLong inUse = new AtomicLong();
    private final AtomicLong peak = new AtomicLong();

    void reserved(long bytes) {
        long now = inUse.addAndGet(bytes);
        peak.accumulateAndGet(now, Math::max);
    }

    void released(long bytes) {
        inUse.addAndGet(-bytes);
    }

    long inUse() {
        return inUse.get();
    }

    long peak() {
        return peak.get();
    }

    /** The most off-heap bytes this JVM hands out; all arenas of the process count against it. */
    static long limit() {
        HotSpotDiagnosticMXBean machine = ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
        long set = Long.parseLong(machine.getVMOption("MaxDirectMemorySize").getValue());
        return set > 0 ? set : Runtime.getRuntime().maxMemory();
    }
}
