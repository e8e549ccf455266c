package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.calibrate.family.RowOrder;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/** The constants that the passes need on the device: of positions, and of the row order of fused linears. */
final class Tables {

    private final int sequenceLength;
    private final Map<Position.Rotary, Rotation> rotations = new HashMap<>();
    private final Map<Slopes, Tensor> slopes = new HashMap<>();
    private final Map<RowOrder, Order> orders = new HashMap<>();

    private final Map<Mixer.LatentAttention, LatentOrders> latents = new HashMap<>();
    private final Map<Integer, Tensor> units = new HashMap<>();

    /**
     * Of latent attention, I32 [1, columns] each.
     *
     * @param queries for every column of queries, with what turns first in each head, the one on disk
     * @param keysValues for every column of all keys, then of all values, the one of what they are made of: each head's plain
     *     elements and values, then the one key that turns
     * @param queriesBack the reverse of queries
     * @param madeBack for every column of each head's plain elements and values, the one among all keys and values
     */
    record LatentOrders(Tensor queries, Tensor keysValues, Tensor queriesBack, Tensor madeBack) {

        private static LatentOrders of(Mixer.LatentAttention form, Device device, TensorArena arena) {
            int width = form.headDim();
            int made = form.plainDim() + form.valueDim();
            int turning = form.rotaryDim();
            int[] queries = new int[form.heads() * width];
            int[] queriesBack = new int[queries.length];
            int[] keysValues = new int[form.heads() * (width + form.valueDim())];
            int[] madeBack = new int[form.heads() * made];
            for (int head = 0; head < form.heads(); head++) {
                for (int i = 0; i < width; i++) {
                    int onDisk = head * width + (i < turning ? form.plainDim() + i : i - turning);
                    queries[head * width + i] = onDisk;
                    queriesBack[onDisk] = head * width + i;
                    keysValues[head * width + i] = i < turning
                            ? form.heads() * made + i
                            : head * made + i - turning;
                    if (i >= turning) {
                        madeBack[head * made + i - turning] = head * width + i;
                    }
                }
                for (int i = 0; i < form.valueDim(); i++) {
                    int value = form.heads() * width + head * form.valueDim() + i;
                    keysValues[value] = head * made + form.plainDim() + i;
                    madeBack[head * made + form.plainDim() + i] = value;
                }
            }
            return new LatentOrders(upload(queries, device, arena), upload(keysValues, device, arena),
                    upload(queriesBack, device, arena), upload(madeBack, device, arena));
        }

        private static long columns(Mixer.LatentAttention form) {
            long heads = form.heads();
            return heads * (3L * form.headDim() + 2L * form.valueDim() + form.plainDim());
        }
    }

    /** cos and sin F32 [sequenceLength, rotaryDim / 2]. */
    record Rotation(Tensor cos, Tensor sin, Position.Rotary form) {}

    /** I32 [1, rows]: for each row of the parts its place on disk, and the reverse. */
    private record Order(Tensor onDisk, Tensor inParts) {}

    private record Slopes(Position.Alibi form, int heads) {}

    private Tables(int sequenceLength) {
        this.sequenceLength = sequenceLength;
    }

    static Tables of(ModelSpec spec, int sequenceLength, Device device, TensorArena arena) {
        Tables tables = new Tables(sequenceLength);
        rotaries(spec).forEach(form -> tables.rotations.put(form,
                PositionTables.rotation(form, sequenceLength, device, arena)));
        slopes(spec).forEach(form -> tables.slopes.put(form,
                PositionTables.slopes(form.form(), form.heads(), device, arena)));
        orders(spec).forEach(order -> tables.orders.put(order,
                new Order(upload(order.onDisk(), device, arena), upload(order.inParts(), device, arena))));
        for (BlockSpec block : spec.blockSpecs()) {
            switch (block.mixer()) {
                case Mixer.Attention attention -> {
                    // has none
                }
                case Mixer.LatentAttention latent ->
                    tables.latents.computeIfAbsent(latent, form -> LatentOrders.of(form, device, arena));
                case Mixer.DeltaNet delta -> tables.units.computeIfAbsent(delta.keyDim(), width -> {
                    Tensor unit = arena.vector(DType.F32, width);
                    device.matrix().fill(unit, (float) (1 / Math.sqrt(width)));
                    return unit;
                });
            }
        }
        return tables;
    }

    /** Device memory of of(). */
    static long bytes(ModelSpec spec, int sequenceLength) {
        long elements = 0;
        for (Position.Rotary form : rotaries(spec)) {
            elements += (long) sequenceLength * form.rotaryDim();
        }
        for (Slopes form : slopes(spec)) {
            elements += form.heads();
        }
        for (RowOrder order : orders(spec)) {
            elements += 2L * order.rows();
        }
        elements += spec.blockSpecs().stream().map(BlockSpec::mixer).distinct().mapToLong(mixer -> switch (mixer) {
            case Mixer.Attention attention -> 0;
            case Mixer.LatentAttention latent -> LatentOrders.columns(latent);
            case Mixer.DeltaNet delta -> delta.keyDim();
        }).sum();
        return Float.BYTES * elements;
    }

    private static Set<Position.Rotary> rotaries(ModelSpec spec) {
        Set<Position.Rotary> found = new LinkedHashSet<>();
        for (BlockSpec block : spec.blockSpecs()) {
            switch (block.mixer()) {
                case Mixer.Attention attention -> {
                    if (attention.position() instanceof Position.Rotary rotary) {
                        found.add(rotary);
                    }
                }
                case Mixer.LatentAttention latent -> found.add(latent.position());
                case Mixer.DeltaNet delta -> {
                    // has no positions
                }
            }
        }
        return found;
    }

    private static Set<Slopes> slopes(ModelSpec spec) {
        Set<Slopes> found = new LinkedHashSet<>();
        for (BlockSpec block : spec.blockSpecs()) {
            if (block.mixer() instanceof Mixer.Attention attention
                    && attention.position() instanceof Position.Alibi alibi) {
                found.add(new Slopes(alibi, attention.heads()));
            }
        }
        return found;
    }

    private static Set<RowOrder> orders(ModelSpec spec) {
        Set<RowOrder> found = new LinkedHashSet<>();
        for (BlockSpec block : spec.blockSpecs()) {
            for (LinearSpec linear : block.linears()) {
                if (!linear.view().rows().isConcatenated()) {
                    found.add(linear.view().rows());
                }
            }
        }
        return found;
    }

    /** T: tokens per sequence. */
    int sequenceLength() {
        return sequenceLength;
    }

    LatentOrders orders(Mixer.LatentAttention form) {
        return Objects.requireNonNull(latents.get(form));
    }

    /** 1 / sqrt(width) in every column, F32 [1, width]: an RMS norm with it gives rows of length 1. */
    Tensor unit(int width) {
        return Objects.requireNonNull(units.get(width));
    }

    Rotation rotation(Position.Rotary form) {
        return Objects.requireNonNull(rotations.get(form));
    }

    /** F32 [1, heads]. */
    Tensor slopes(Position.Alibi form, int heads) {
        return Objects.requireNonNull(slopes.get(new Slopes(form, heads)));
    }

    /** For every column with the parts one after the other, the one that a linear computes there. */
    Tensor onDisk(RowOrder order) {
        return Objects.requireNonNull(orders.get(order)).onDisk();
    }

    /** For every column that a linear computes, its place with the parts one after the other. */
    Tensor inParts(RowOrder order) {
        return Objects.requireNonNull(orders.get(order)).inParts();
    }

    private static Tensor upload(int[] values, Device device, TensorArena arena) {
        Tensor target = arena.vector(DType.I32, values.length);
        try (Arena host = Arena.ofShared()) {
            device.upload(host.allocateFrom(ValueLayout.JAVA_INT, values), target);
            device.synchronize();
        }
        return target;
    }
}
