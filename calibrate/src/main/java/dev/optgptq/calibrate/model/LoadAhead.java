package dev.optgptq.calibrate.model;

import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Closing;
import java.util.ArrayList;
import java.util.List;

/**
 * Brings the blocks of a model near before they are loaded: from the disk, and onto devices that have memory of their own
 * and room. Changes no result and no error. Close it before the model's directory.
 */
public final class LoadAhead implements AutoCloseable {

    private final ReadAhead reading;
    private final List<UploadAhead> uploading;

    private LoadAhead(ReadAhead reading, List<UploadAhead> uploading) {
        this.reading = reading;
        this.uploading = uploading;
    }

    /**
     * For one model on some devices.
     *
     * @param room what it may take on each of them
     */
    static LoadAhead of(List<Transformer> models, long room) {
        List<UploadAhead> uploading = new ArrayList<>();
        try {
            models.forEach(model -> model.uploadAhead(room).ifPresent(uploading::add));
        } catch (RuntimeException e) {
            uploading.forEach(UploadAhead::close);
            throw e;
        }
        return new LoadAhead(models.getFirst().readAhead(), uploading);
    }

    /** The stored tensors of a block. */
    static List<TensorView> tensors(ModelDirectory directory, ModelSpec spec, int block) {
        String prefix = spec.names().inBlock(block, "");
        return directory.tensors().values().stream().filter(view -> view.name().startsWith(prefix)).toList();
    }

    /** This block is loaded now, as often as need be, and then the next, if there is one. */
    public void wants(int block) {
        reading.wants(block);
        uploading.forEach(ahead -> ahead.wants(block, block + 1));
    }

    /** The same with another one next, on its way back for example; any number that no block has is none. */
    public void wants(int block, int next) {
        if (next == block + 1) {
            reading.wants(block);
        }
        uploading.forEach(ahead -> ahead.wants(block, next));
    }

    @Override
    public void close() {
        List<Runnable> steps = new ArrayList<>();
        uploading.forEach(ahead -> steps.add(ahead::close));
        steps.add(reading::close);
        Closing.all(steps);
    }
}
