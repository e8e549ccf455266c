package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Checks copies from one device to another: a pattern, sent once. */
final class PeerCheck {

    /** More than a page, and no multiple of one. */
    private static final int COUNT = 100_003;

    private PeerCheck() {}

    static boolean passes(GpuContext to, GpuContext from) {
        try (Arena host = Arena.ofShared(); TensorArena there = from.arena(); TensorArena here = to.arena()) {
            MemorySegment sent = host.allocate(ValueLayout.JAVA_INT, COUNT);
            for (int i = 0; i < COUNT; i++) {
                sent.setAtIndex(ValueLayout.JAVA_INT, i, i * 0x9E3779B9);
            }
            Tensor source = there.vector(DType.I32, COUNT);
            from.upload(sent, source);
            from.synchronize();
            Tensor target = here.vector(DType.I32, COUNT);
            to.activate();
            to.driver().connect(to.ordinal(), from.ordinal());
            to.receive(from, source, target);
            MemorySegment received = host.allocate(ValueLayout.JAVA_INT, COUNT);
            to.download(target, received);
            return sent.mismatch(received) == -1;
        } catch (UserError e) {
            if (e.code() == UserError.Code.DEVICE) {
                return false; // a call that the driver refuses; a device that is lost by it is another matter
            }
            throw e;
        }
    }
}
