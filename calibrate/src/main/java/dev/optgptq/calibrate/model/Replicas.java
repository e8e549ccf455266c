package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.calibrate.weights.Prefetch;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.Together;
import dev.optgptq.kernels.ranks.Crew;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.BiFunction;

/** One model on each of several devices of this process, which share the work, with those of other processes if there are any. */
public final class Replicas {

    private final List<Transformer> models;
    private final Crew crew;

    private Replicas(List<Transformer> models, Crew crew) {
        this.models = models;
        this.crew = crew;
    }

    /** On all devices of a job. */
    public static Replicas of(Transformer model, DeviceGroup devices) {
        return new Replicas(of(model, devices.devices()).models, devices.crew());
    }

    /** @param devices all of them, that of the model first */
    public static Replicas of(Transformer model, List<Device> devices) {
        if (!devices.getFirst().equals(model.device())) {
            throw new IllegalArgumentException("expected " + model.device().name() + " first, found "
                    + devices.getFirst().name());
        }
        return new Replicas(devices.stream().map(model::on).toList(), Crew.alone(devices.size()));
    }

    /** The model on its one device. */
    public static Replicas of(Transformer model) {
        return of(model, List.of(model.device()));
    }

    /** See {@link Transformer#withProducts}. */
    public Replicas withProducts(DType dtype) {
        return new Replicas(models.stream().map(model -> model.withProducts(dtype)).toList(), crew);
    }

    /** Another model on the same devices. */
    public Replicas with(Transformer other) {
        return new Replicas(of(other, devices()).models, crew);
    }

    /** Without other processes. */
    public Replicas alone() {
        return new Replicas(models, Crew.alone(size()));
    }

    /** The processes that share the work. */
    public Crew crew() {
        return crew;
    }

    /** The model of the first device, which does the work that is not shared. */
    public Transformer first() {
        return models.getFirst();
    }

    /** @param device its index */
    public Transformer on(int device) {
        return models.get(device);
    }

    public int size() {
        return models.size();
    }

    public List<Device> devices() {
        return models.stream().map(Transformer::device).toList();
    }

    /** Does the work of every device at the same time, and waits for all. */
    public void together(Together.Work work) {
        Together.run(models.size(), work);
    }

    /** See {@link Transformer#prefetch}, for every device. */
    public Prefetch prefetch(long room) {
        return Prefetch.of(first().spec(), models.stream().map(Transformer::loader).toList(), room);
    }

    /** Loads a block's weights on every device, with experts streamed unless several ranks exchange them. */
    public Block loadBlock(int index) {
        return crew().ranks().areSeveral()
                ? loadWholeBlock(index)
                : load((model, arena) -> model.streamBlock(index, arena));
    }

    /** The same with all experts, which keep what they are overwritten with. */
    public Block loadWholeBlock(int index) {
        return load((model, arena) -> model.loadBlock(index, arena));
    }

    private Block load(BiFunction<Transformer, TensorArena, BlockWeights> loading) {
        Block block = new Block();
        try {
            together(device -> block.weights[device] = loading.apply(on(device), block.arenas.get(device)));
            return block;
        } catch (RuntimeException e) {
            block.close();
            throw e;
        }
    }

    /**
     * Gives every device the weights that the first one has.
     *
     * @param first on the first device, whose arena keeps ownership
     */
    public Block spread(BlockWeights first) {
        Block block = new Block();
        try {
            together(device -> block.weights[device] = device == 0
                    ? first
                    : on(device).like(first, block.arenas.get(device)));
            block.share();
            return block;
        } catch (RuntimeException e) {
            block.close();
            throw e;
        }
    }

    /** The weights of one block on every device. */
    public final class Block implements AutoCloseable {
        private final List<TensorArena> arenas;
        private final BlockWeights[] weights = new BlockWeights[models.size()];

        private Block() {
            arenas = models.stream().map(model -> model.device().arena()).toList();
        }

        public BlockWeights first() {
            return on(0);
        }

        /** @param device its index */
        public BlockWeights on(int device) {
            return weights[device];
        }

        /**
         * Overwrites a linear on one device.
         *
         * @param device its index
         * @param write receives the device, and F32 [outputs, inputs] to be written
         */
        public void overwrite(int device, LinearSpec linear, BiConsumer<Device, Tensor> write) {
            Device here = models.get(device).device();
            on(device).rewrite(here, linear, weight -> {
                write.accept(here, weight);
                return weight;
            });
        }

        /** Gives the other devices the weights that the linears have on the first; streamed ones, what replaces them. */
        public void share() {
            if (models.size() == 1) {
                return;
            }
            Device source = models.getFirst().device();
            source.synchronize();
            for (int device = 1; device < models.size(); device++) {
                if (first().streamsExperts()) {
                    on(device).replaceLike(first());
                }
                for (LinearSpec linear : first().linears()) {
                    if (first().streams(linear)) {
                        continue;
                    }
                    models.get(device).device().receive(source, first().weight(linear), on(device).weight(linear));
                }
            }
        }

        @Override
        public void close() {
            arenas.forEach(TensorArena::close);
        }
    }
}
