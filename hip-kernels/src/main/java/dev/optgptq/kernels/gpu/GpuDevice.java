package dev.optgptq.kernels.gpu;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Downloads;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.Uploads;
import dev.optgptq.kernels.ops.CacheOps;
import dev.optgptq.kernels.ops.CheckedCacheOps;
import dev.optgptq.kernels.ops.CheckedDeltaOps;
import dev.optgptq.kernels.ops.CheckedFloat64Ops;
import dev.optgptq.kernels.ops.CheckedFusedOps;
import dev.optgptq.kernels.ops.CheckedGradientOps;
import dev.optgptq.kernels.ops.CheckedMatrixOps;
import dev.optgptq.kernels.ops.CheckedMixtureOps;
import dev.optgptq.kernels.ops.CheckedNeuralOps;
import dev.optgptq.kernels.ops.CheckedQuantOps;
import dev.optgptq.kernels.ops.CheckedTuningOps;
import dev.optgptq.kernels.ops.DeltaOps;
import dev.optgptq.kernels.ops.Float64Ops;
import dev.optgptq.kernels.ops.FusedOps;
import dev.optgptq.kernels.ops.GradientOps;
import dev.optgptq.kernels.ops.MatrixOps;
import dev.optgptq.kernels.ops.MixtureOps;
import dev.optgptq.kernels.ops.NeuralOps;
import dev.optgptq.kernels.ops.QuantOps;
import dev.optgptq.kernels.ops.TuningOps;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.OptionalLong;

/** A GPU, HIP or CUDA: the ops on one context. All but uploads() and downloads() runs on one stream in the order of the calls. */
public final class GpuDevice implements Device {

    private final GpuContext context;
    private final String description;
    private final NeuralOps neural;
    private final MatrixOps matrix;
    private final QuantOps quant;
    private final GradientOps gradient;
    private final TuningOps tuning;
    private final MixtureOps mixture;
    private final DeltaOps delta;
    private final CacheOps cache;
    private final FusedOps fused;
    private final Float64Ops float64;
    private final GpuRecorder recorder;

    /** Takes ownership of the context: it is closed with the device. */
    public GpuDevice(GpuContext context, String description, NeuralOps neural, MatrixOps matrix, QuantOps quant,
            GradientOps gradient, TuningOps tuning, MixtureOps mixture, DeltaOps delta,
            CacheOps cache, FusedOps fused, Float64Ops float64) {
        this.context = context;
        this.recorder = new GpuRecorder(context);
        this.description = description;
        this.neural = new CheckedNeuralOps(neural);
        this.matrix = new CheckedMatrixOps(matrix);
        this.quant = new CheckedQuantOps(quant);
        this.tuning = new CheckedTuningOps(tuning);
        this.mixture = new CheckedMixtureOps(mixture);
        this.delta = new CheckedDeltaOps(delta);
        this.cache = new CheckedCacheOps(cache);
        this.fused = new CheckedFusedOps(fused);
        this.float64 = new CheckedFloat64Ops(float64);
        this.gradient = new CheckedGradientOps(gradient);
    }

    /** The context of the ops. */
    public GpuContext context() {
        return context;
    }

    @Override
    public String name() {
        return context.deviceName();
    }

    @Override
    public String description() {
        return description;
    }

    @Override
    public TensorArena arena() {
        return context.arena();
    }

    @Override
    public NeuralOps neural() {
        return neural;
    }

    @Override
    public MatrixOps matrix() {
        return matrix;
    }

    @Override
    public QuantOps quant() {
        return quant;
    }

    @Override
    public GradientOps gradient() {
        return gradient;
    }

    @Override
    public TuningOps tuning() {
        return tuning;
    }

    @Override
    public MixtureOps mixture() {
        return mixture;
    }

    @Override
    public DeltaOps delta() {
        return delta;
    }

    @Override
    public CacheOps cache() {
        return cache;
    }

    @Override
    public FusedOps fused() {
        return fused;
    }

    @Override
    public Float64Ops float64() {
        return float64;
    }

    @Override
    public boolean isAccelerator() {
        return true;
    }

    @Override
    public Halves halves(DType half) {
        return context.trustsProducts(half) ? Halves.FAST : Halves.PLAIN;
    }

    @Override
    public void upload(MemorySegment source, Tensor target) {
        context.upload(source, target);
    }

    @Override
    public Optional<Uploads> uploads() {
        return Optional.of(context.uploads());
    }

    @Override
    public Downloads downloads() {
        return context.downloads();
    }

    @Override
    public void download(Tensor source, MemorySegment target) {
        context.download(source, target);
    }

    @Override
    public void receive(Device from, Tensor source, Tensor target) {
        if (from instanceof GpuDevice gpu && context.reaches(gpu.context) && target.isDense()) {
            context.receive(gpu.context, source, target);
        } else {
            Device.super.receive(from, source, target);
        }
    }

    @Override
    public Recording record(Runnable work) {
        return recorder.record(work);
    }

    @Override
    public void synchronize() {
        context.synchronize();
    }

    @Override
    public OptionalLong freeMemory() {
        context.activate();
        return OptionalLong.of(context.memory().free());
    }

    @Override
    public long memoryInUse() {
        return context.memory().inUse();
    }

    @Override
    public long peakMemory() {
        return context.memory().peak();
    }

    @Override
    public void close() {
        context.close();
    }
}
