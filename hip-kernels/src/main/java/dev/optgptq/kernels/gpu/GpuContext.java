package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Closing;
import dev.optgptq.kernels.Downloads;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.Uploads;
import dev.optgptq.kernels.gpu.driver.GpuDriver;
import dev.optgptq.kernels.gpu.driver.Recordings;
import dev.optgptq.kernels.gpu.rtc.KernelCompiler;
import dev.optgptq.kernels.gpu.rtc.KernelSource;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * One GPU in use: its driver, one stream on which everything but {@link #uploads} and {@link #downloads} happens in the order it was issued, its
 * memory, its kernels and its matrix library. The basis of a GPU's ops. Not safe for concurrent use; threads
 * may take turns.
 */
public final class GpuContext implements AutoCloseable {

    private final GpuDriver driver;
    private final int ordinal;
    private final GpuDriver.DeviceInfo info;
    private final KernelCompiler compiler;
    private final long stream;
    private final Health health;
    private final GpuMemory memory;
    private final GpuTransfer transfer;
    private final LaunchArguments launchArguments = new LaunchArguments();
    private final Map<String, KernelModule> modules = new HashMap<>();
    private final @Nullable GpuBlas blas;
    /** Created on first use. */
    private @Nullable GpuUploads uploads;
    private @Nullable GpuDownloads downloads;
    private final Trials trials = new Trials(this);

    /** Opens a device as its driver describes it. */
    public GpuContext(GpuDriver driver, int ordinal, KernelCompiler compiler,
            Function<GpuContext, @Nullable GpuBlas> blas) {
        this(driver, ordinal, driver.info(ordinal), compiler, blas);
    }

    /**
     * Opens a device.
     *
     * @param info the driver's description, possibly corrected
     * @param blas finds the matrix library for this context, or null where there is none
     */
    public GpuContext(GpuDriver driver, int ordinal, GpuDriver.DeviceInfo info, KernelCompiler compiler,
            Function<GpuContext, @Nullable GpuBlas> blas) {
        this.driver = driver;
        this.ordinal = ordinal;
        this.compiler = compiler;
        this.info = info;
        this.health = new Health(deviceName(), driver.api());
        Deque<Runnable> giveBack = new ArrayDeque<>();
        driver.acquire(ordinal);
        giveBack.push(() -> driver.release(ordinal));
        try {
            driver.makeCurrent(ordinal);
            long created = driver.createStream();
            giveBack.push(() -> driver.destroyStream(created));
            this.stream = created;
            GpuMemory made = new GpuMemory(driver, deviceName());
            giveBack.push(made::close);
            this.memory = made;
            GpuTransfer opened = new GpuTransfer(driver, created, made, GpuTransfer.BUFFER_BYTES);
            giveBack.push(opened::close);
            this.transfer = opened;
            this.blas = blas.apply(this);
        } catch (RuntimeException | Error e) {
            Closing.after(e, List.copyOf(giveBack));
            throw e;
        }
    }

    /** What the device is called: hip:0. */
    public String deviceName() {
        return driver.api() + ":" + ordinal;
    }

    public GpuDriver driver() {
        return driver;
    }

    public int ordinal() {
        return ordinal;
    }

    /** Name, architecture, memory and limits. */
    public GpuDriver.DeviceInfo info() {
        return info;
    }

    /** What kernels are compiled for: gfx90a, sm_90. */
    public String architecture() {
        return info.architecture();
    }

    /** Threads that run in step, 64 or 32; GPU_WAVE in the kernel sources. */
    public int waveWidth() {
        return info.waveWidth();
    }

    /** Compute units: how many blocks it takes to fill the device once. */
    public int multiprocessors() {
        return info.multiprocessors();
    }

    /** The stream that everything of this context runs on, but for uploads() and downloads(). */
    public long stream() {
        return stream;
    }

    /** The vendor's matmuls; null when there is no library, and the ops use their own kernel. */
    public @Nullable GpuBlas blas() {
        return blas;
    }

    /**
     * Whether the matrix library's matmuls of this dtype are right on this GPU, determined by one matmul on first use.
     * False when there is no library. Where it is false, the ops use their own kernel.
     */
    public boolean trustsProducts(DType dtype) {
        return trials.trustsProducts(dtype);
    }

    /** Whether the GPU has matrix units that matrix_units.h supports, determined on first use. */
    public boolean hasMatrixUnits() {
        return trials.hasMatrixUnits();
    }

    /**
     * A kernel by the name of its source and its own: {@code kernel("norms", "rms_norm")} is rms_norm in norms.hip. The
     * source is compiled on first use. UserError DEVICE when it does not compile, with the compiler's log.
     */
    public Kernel kernel(String source, String function) {
        return health.ask(() -> module(source).kernel(function));
    }

    /** All kernels of a source file of src/main/gpu, named without its ending. */
    public KernelModule module(String source) {
        return module(source, () -> KernelSource.bundled(source));
    }

    KernelModule module(String name, Supplier<KernelSource> source) {
        KernelModule loaded = modules.get(name);
        if (loaded == null) {
            activate();
            byte[] image = compiler.compile(source.get(), info);
            loaded = health.ask(() -> KernelModule.load(this, name, image));
            modules.put(name, loaded);
        }
        return loaded;
    }

    /** Memory of this device, for results and for the scratch of ops. */
    public TensorArena arena() {
        activate();
        return new GpuArena(this);
    }

    /** Copies dense host bytes into a tensor, in the order of the stream. The bytes may change when this returns. */
    public void upload(MemorySegment source, Tensor target) {
        activate();
        health.tell(() -> transfer.upload(source, target));
    }

    /** Copies beside the work of the stream. */
    public Uploads uploads() {
        GpuUploads made = uploads;
        if (made == null) {
            activate();
            made = health.ask(() -> new GpuUploads(this, health));
            uploads = made;
        }
        return made;
    }

    /** Copies from it beside the work of the stream. */
    public Downloads downloads() {
        GpuDownloads made = downloads;
        if (made == null) {
            activate();
            made = health.ask(() -> new GpuDownloads(this, health));
            downloads = made;
        }
        return made;
    }

    /** Copies a tensor into dense host bytes, after what was issued before; the bytes are there when this returns. */
    public void download(Tensor source, MemorySegment target) {
        activate();
        health.tell(() -> transfer.download(source, target));
        if (source.elements() > 0) {
            health.answered();
        }
    }

    /**
     * Whether copies from another device's memory arrive, directly if possible. Determined by one copy on first use: on
     * some machines devices claim peer access that does not work.
     */
    boolean reaches(GpuContext other) {
        return trials.reaches(other);
    }

    /** Copies a dense tensor of another device into one of this; the other must be done with it. */
    void receive(GpuContext other, Tensor source, Tensor target) {
        activate();
        long bytes = source.bytes();
        health.tell(() -> driver.copyBetween(new GpuDriver.PeerCopy(address(target), ordinal, other.address(source),
                other.ordinal, bytes), stream));
        synchronize();
    }

    /** Waits for all that was issued. A kernel that failed is reported here, or by any call after it. */
    public void synchronize() {
        activate();
        health.tell(() -> driver.synchronize(stream));
        health.answered();
    }

    GpuMemory memory() {
        return memory;
    }

    /** A block of device memory, see {@link GpuMemory#allocate}. */
    long allocate(long bytes, String what) {
        activate();
        return health.ask(() -> memory.allocate(bytes, what));
    }

    /** Notes that a library has issued work to the stream, for the message when it fails. */
    public void issued(String what) {
        health.issued(what);
    }

    void launch(String name, long function, GpuDriver.Grid grid, int sharedBytes,
            @Nullable Object[] arguments) {
        activate();
        health.issued(name);
        health.tell(() -> driver.launch(function, grid, sharedBytes, stream,
                launchArguments.pack(name, memory, arguments)));
    }

    /** Issues recorded work. */
    void replay(Recordings recordings, long recording) {
        activate();
        health.issued("a recorded step");
        health.tell(() -> recordings.replay(recording, stream));
    }

    /** The device address of a tensor's element (0, 0), checked to lie in this device's memory. */
    public long address(Tensor tensor) {
        return memory.address(tensor);
    }

    /**
     * Makes the calling thread's driver calls go to this device. Devices share threads, so every entry point does this.
     */
    public void activate() {
        health.tell(() -> driver.makeCurrent(ordinal));
    }

    /**
     * Waits for the device and frees everything; then throws the first failure, if any. A lost device is not called any
     * more, since the call may not return: its driver frees everything when the process ends.
     */
    @Override
    public void close() {
        if (!health.isLost()) {
            Closing.all(List.of(this::synchronize, this::drain, this::giveBack));
        }
    }

    private void drain() {
        if (downloads != null) {
            downloads.drain();
        }
        if (uploads != null) {
            uploads.drain();
        }
    }

    private void giveBack() {
        List<Runnable> steps = new ArrayList<>();
        if (blas != null) {
            steps.add(blas::close);
        }
        modules.values().forEach(module -> steps.add(() -> module.unload(driver)));
        if (uploads != null) {
            steps.add(uploads::close);
        }
        if (downloads != null) {
            steps.add(downloads::close);
        }
        steps.add(transfer::close);
        steps.add(memory::close);
        steps.add(() -> driver.destroyStream(stream));
        steps.add(() -> driver.release(ordinal));
        Closing.all(steps.stream().<Runnable>map(step -> () -> unlessLost(step)).toList());
    }

    private void unlessLost(Runnable step) {
        if (!health.isLost()) {
            health.tell(step);
        }
    }
}
