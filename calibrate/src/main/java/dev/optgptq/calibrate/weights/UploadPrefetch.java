package dev.optgptq.calibrate.weights;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.Uploads;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.jspecify.annotations.Nullable;

/**
 * Copies the weights of a block and of the next wanted one to a device, in their stored dtype, while it computes.
 * Loading then decodes them; missing ones it uploads itself, so this changes neither results nor errors. For the thread
 * that drives the device.
 */
public final class UploadPrefetch implements AutoCloseable {

    private static final System.Logger LOG = System.getLogger(UploadPrefetch.class.getName());

    private final ModelDirectory directory;
    private final ModelSpec spec;
    private final Device device;
    private final Uploads uploads;
    private final PrefetchedTensors uploaded;
    private final ExecutorService worker = Executors
            .newSingleThreadExecutor(Thread.ofPlatform().daemon().name("opt-gptq-upload-prefetch").factory());
    private final Map<Integer, Stored> blocks = new TreeMap<>();

    public UploadPrefetch(ModelDirectory directory, ModelSpec spec, Device device, Uploads uploads,
            PrefetchedTensors uploaded) {
        this.directory = directory;
        this.spec = spec;
        this.device = device;
        this.uploads = uploads;
        this.uploaded = uploaded;
        uploaded.begin(this);
    }

    /** Maximum device memory of two blocks. */
    public static long bytes(ModelDirectory directory, ModelSpec spec) {
        long most = 0;
        for (int block = 0; block < spec.blocks(); block++) {
            most = Math.max(most, tensors(directory, spec, block).stream().mapToLong(view -> view.data().byteSize())
                    .sum());
        }
        return 2 * most;
    }

    /** Those that devices decode: small floats with scales come decoded. */
    private static List<TensorView> tensors(ModelDirectory directory, ModelSpec spec, int block) {
        return Prefetch.tensors(directory, spec, block).stream()
                .filter(view -> view.dtype() != DType.U8 && view.dtype() != DType.F8_E4M3).toList();
    }

    /** A block's tensors, being copied or complete. */
    private final class Stored {
        private final TensorArena arena = device.arena();
        private final Map<String, Tensor> tensors = new HashMap<>();
        private CompletableFuture<Void> copying = CompletableFuture.completedFuture(null);
        private volatile boolean cancelled;
        private boolean awaited;

        private void begin(List<TensorView> views) {
            for (TensorView view : views) {
                tensors.put(view.name(), arena.vector(DType.U8, view.data().byteSize()));
            }
            uploads.begin();
            copying = CompletableFuture.runAsync(() -> copy(views), worker);
        }

        private void copy(List<TensorView> views) {
            for (TensorView view : views) {
                Tensor target = tensors.get(view.name());
                if (target != null && !cancelled) {
                    uploads.upload(view.data(), target);
                }
            }
        }

        /** Null when it could not be copied. */
        private @Nullable Tensor find(String name) {
            Tensor tensor = tensors.get(name);
            if (tensor == null || !ended()) {
                return null;
            }
            await();
            return tensor;
        }

        /** Waits for the copying. Whether it succeeded. */
        private boolean ended() {
            Throwable failure = copying.handle((nothing, thrown) -> thrown).join();
            if (failure != null && !cancelled) {
                cancelled = true;
                // Loading the block meets any other failure too.
                boolean full = failure.getCause() instanceof UserError e && e.code() == UserError.Code.MEMORY;
                LOG.log(full ? System.Logger.Level.WARNING : System.Logger.Level.DEBUG, "a block is not prefetched",
                        failure);
            }
            return failure == null;
        }

        private void await() {
            if (!awaited) {
                uploads.await();
                awaited = true;
            }
        }

        private void drop() {
            cancelled = true;
            ended();
            await();
            arena.close();
        }
    }

    /** This block is loaded now, any number of times, and then that one, if there is one. Others are dropped. */
    void wants(int block, int next) {
        List<Integer> left = new ArrayList<>(blocks.keySet());
        left.removeAll(List.of(block, next));
        left.forEach(gone -> {
            Stored stored = blocks.remove(gone);
            if (stored != null) {
                stored.drop();
            }
        });
        begin(block);
        begin(next);
    }

    private void begin(int block) {
        if (block < 0 || block >= spec.blocks() || blocks.containsKey(block)) {
            return;
        }
        Stored stored = new Stored();
        try {
            stored.begin(tensors(directory, spec, block));
            blocks.put(block, stored);
        } catch (UserError e) {
            stored.arena.close();
            if (e.code() != UserError.Code.MEMORY) {
                throw e;
            }
            LOG.log(System.Logger.Level.WARNING, "block " + block + " is not prefetched: " + e.getMessage());
        }
    }

    @Nullable
    Tensor find(String name) {
        for (Stored stored : blocks.values()) {
            if (stored.tensors.containsKey(name)) {
                return stored.find(name);
            }
        }
        return null;
    }

    /** Waits for running copies, except on a lost device, whose calls may not return. */
    @Override
    public void close() {
        uploaded.end(this);
        blocks.values().forEach(stored -> stored.cancelled = true);
        worker.shutdown();
        if (!uploads.isLost()) {
            blocks.values().forEach(Stored::ended);
            uploads.drain();
        }
        blocks.values().forEach(stored -> stored.arena.close());
        blocks.clear();
    }
}
