package dev.optgptq.kernels.gpu;

import dev.optgptq.kernels.Closing;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.Uploads;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Uploads to a GPU, on a second stream and through buffers of their own: only events tie it to the first. */
final class GpuUploads implements Uploads, AutoCloseable {

    private final GpuContext context;
    private final Health health;
    private final GpuDriver driver;
    private final long stream;
    /** Happens on the context's stream. */
    private final long handedOver;
    /** Happens on the stream of the uploads. */
    private final long uploaded;
    private final GpuTransfer transfer;

    GpuUploads(GpuContext context, Health health) {
        this(context, health, GpuTransfer.BUFFER_BYTES);
    }

    /** @param bufferBytes size of the two buffers that bytes pass through */
    GpuUploads(GpuContext context, Health health, long bufferBytes) {
        this.context = context;
        this.health = health;
        this.driver = context.driver();
        this.stream = driver.createStream();
        this.handedOver = driver.createEvent(false);
        this.uploaded = driver.createEvent(false);
        this.transfer = new GpuTransfer(driver, stream, context.memory(), bufferBytes);
    }

    @Override
    public void begin() {
        context.activate();
        health.tell(() -> {
            driver.record(handedOver, context.stream());
            driver.await(stream, handedOver);
        });
    }

    @Override
    public void upload(MemorySegment source, Tensor target) {
        context.activate();
        health.tell(() -> transfer.upload(source, target));
    }

    @Override
    public void await() {
        context.activate();
        health.tell(() -> {
            driver.record(uploaded, stream);
            driver.await(context.stream(), uploaded);
        });
    }

    @Override
    public void drain() {
        if (!isLost()) {
            context.activate();
            health.tell(() -> driver.synchronize(stream));
        }
    }

    @Override
    public boolean isLost() {
        return health.isLost();
    }

    /** Frees everything; no copy may be running. */
    @Override
    public void close() {
        Closing.all(List.of(transfer::close, () -> driver.destroyEvent(handedOver),
                () -> driver.destroyEvent(uploaded), () -> driver.destroyStream(stream)));
    }
}
