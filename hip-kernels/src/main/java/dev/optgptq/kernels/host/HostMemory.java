package dev.optgptq.kernels.host;

import com.sun.management.HotSpotDiagnosticMXBean;
import dev.optgptq.kernels.TensorArena;
import java.lang.management.ManagementFactory;
import java.util.concurrent.atomic.AtomicLong;

/** The host memory of one device: its arenas and the bytes they hold. */
public final class HostMemory {

    private final AtomicLong inUse = new AtomicLong();
    private final AtomicLong peak = new AtomicLong();

    /** A new arena, counted here until it is closed. */
    public TensorArena arena() {
        return new HostArena(this);
    }

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

    /** The off-heap limit of this JVM; all arenas of the process count against it. */
    static long limit() {
        HotSpotDiagnosticMXBean machine = ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
        long set = Long.parseLong(machine.getVMOption("MaxDirectMemorySize").getValue());
        return set > 0 ? set : Runtime.getRuntime().maxMemory();
    }
}
