package dev.optgptq.calibrate.gradient;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The token that follows in the text: squared gradients are then the empirical Fisher information. */
public record NextToken() implements Labels {

    @Override
    public void choose(Device device, TokenSequences text, long firstToken, Tensor logits, Tensor targets) {
        int[] ids = text.ids();
        try (Arena host = Arena.ofShared()) {
            MemorySegment next = host.allocate(ValueLayout.JAVA_INT, targets.columns());
            for (long i = 0; i < targets.columns(); i++) {
                int following = (int) Math.min(firstToken + i + 1, ids.length - 1);
                next.setAtIndex(ValueLayout.JAVA_INT, i, ids[following]);
            }
            device.upload(next, targets);
            device.synchronize();
        }
    }
}
