package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Closing;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Prefetches the blocks of a model: from disk, and onto devices with their own memory and room. Changes no result and
 * no error. Close it before the model's directory.
 */
public final class Prefetch implements AutoCloseable {

    private static final System.Logger LOG = System.getLogger(Prefetch.class.getName());

    private final DiskPrefetch reading;
    private final List<UploadPrefetch> uploading;

    private Prefetch(DiskPrefetch reading, List<UploadPrefetch> uploading) {
        this.reading = reading;
        this.uploading = uploading;
    }

    /**
     * For one model on some devices.
     *
     * @param loaders one per device
     * @param room limit of its memory on each of them; with less than {@link #deviceBytes} it takes none
     */
    public static Prefetch of(ModelSpec spec, List<WeightLoader> loaders, long room) {
        List<UploadPrefetch> uploading = new ArrayList<>();
        try {
            loaders.forEach(loader -> upload(spec, loader, room).ifPresent(uploading::add));
        } catch (RuntimeException e) {
            uploading.forEach(UploadPrefetch::close);
            throw e;
        }
        return new Prefetch(new DiskPrefetch(loaders.getFirst().directory(), spec), uploading);
    }

    private static Optional<UploadPrefetch> upload(ModelSpec spec, WeightLoader loader, long room) {
        if (room < deviceBytes(spec, loader)) {
            LOG.log(System.Logger.Level.DEBUG, "no room to prefetch blocks of " + loader.directory().path());
            return Optional.empty();
        }
        return loader.device().uploads().map(uploads -> new UploadPrefetch(loader.directory(), spec, loader.device(),
                uploads, loader.prefetched()));
    }

    /** Its device memory: two blocks as they are stored; nothing where weights need not go there. */
    public static long deviceBytes(ModelSpec spec, WeightLoader loader) {
        return loader.device().freeMemory().isPresent() ? UploadPrefetch.bytes(loader.directory(), spec) : 0;
    }

    /** The stored tensors of a block. */
    static List<TensorView> tensors(ModelDirectory directory, ModelSpec spec, int block) {
        String prefix = spec.block(block).prefix();
        return directory.tensors().values().stream().filter(view -> view.name().startsWith(prefix)).toList();
    }

    /** This block is loaded now, any number of times, and then the next, if there is one. */
    public void wants(int block) {
        reading.wants(block);
        uploading.forEach(upload -> upload.wants(block, block + 1));
    }

    /** The same with another one next, for example in a backward pass; a number without a block means none. */
    public void wants(int block, int next) {
        if (next == block + 1) {
            reading.wants(block);
        }
        uploading.forEach(upload -> upload.wants(block, next));
    }

    @Override
    public void close() {
        List<Runnable> steps = new ArrayList<>();
        uploading.forEach(upload -> steps.add(upload::close));
        steps.add(reading::close);
        Closing.all(steps);
    }
}
