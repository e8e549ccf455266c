package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * The linears of a block's experts, of which the device holds one expert's: each is decoded into the same memory when it is
 * asked for, and stays until that of another expert is. Ops run in order, so that those before have read what is overwritten.
 */
public final class ExpertWeights {

    private final WeightLoader loader;
    private final Map<Projection, LinearWeights.Dense> rooms = new EnumMap<>(Projection.class);
    /** Whose linear is there. */
    private final Map<Projection, LinearSpec> present = new EnumMap<>(Projection.class);
    private final Map<String, Refill> refills = new HashMap<>();
    private final Set<String> checked = new HashSet<>();

    /** What a linear has in place of its stored weight. */
    @FunctionalInterface
    public interface Refill {
        /** @param weight F32 [outputs, inputs], written */
        void fill(Device device, Tensor weight);
    }

    /** @param arena owns the memory of one expert */
    ExpertWeights(BlockSpec spec, WeightLoader loader, TensorArena arena) {
        this.loader = loader;
        spec.linears().stream().filter(linear -> linear.expert() == 0)
                .forEach(linear -> rooms.put(linear.projection(), loader.room(linear, arena)));
    }

    /** Loads it, if another's is there; the next call for another expert overwrites it. */
    LinearWeights of(LinearSpec linear) {
        LinearWeights.Dense room = Objects.requireNonNull(rooms.get(linear.projection()), linear::role);
        if (!linear.equals(present.get(linear.projection()))) {
            present.remove(linear.projection());
            WeightLoader mine = checked.contains(linear.role()) ? loader.unchecked() : loader;
            Refill refill = refills.get(linear.role());
            if (refill == null) {
                mine.load(linear, room);
            } else {
                mine.loadBias(linear, room.bias());
                refill(refill, room.weight());
            }
            checked.add(linear.role());
            present.put(linear.projection(), linear);
        }
        return room;
    }

    private void refill(Refill refill, Tensor weight) {
        Device device = loader.device();
        if (weight.dtype() == DType.F32) {
            refill.fill(device, weight);
            return;
        }
        try (TensorArena scratch = device.arena()) {
            Tensor wide = scratch.matrix(DType.F32, weight.rows(), weight.columns());
            refill.fill(device, wide);
            device.neural().convert(wide, weight);
            device.synchronize();
        }
    }

    void replace(LinearSpec linear, Refill refill) {
        refills.put(linear.role(), refill);
        forget(linear);
    }

    void replaceLike(ExpertWeights other) {
        refills.putAll(other.refills);
        present.clear();
    }

    /** Its memory was overwritten: it is loaded again. */
    void forget(LinearSpec linear) {
        present.remove(linear.projection());
    }
}
