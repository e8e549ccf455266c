package dev.optgptq.kernels.host;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.CacheOps;
import dev.optgptq.kernels.ops.CheckedCacheOps;
import dev.optgptq.kernels.ops.CheckedDeltaOps;
import dev.optgptq.kernels.ops.CheckedFloat64Ops;
import dev.optgptq.kernels.ops.CheckedGradientOps;
import dev.optgptq.kernels.ops.CheckedMatrixOps;
import dev.optgptq.kernels.ops.CheckedMixtureOps;
import dev.optgptq.kernels.ops.CheckedNeuralOps;
import dev.optgptq.kernels.ops.CheckedQuantOps;
import dev.optgptq.kernels.ops.CheckedTuningOps;
import dev.optgptq.kernels.ops.DeltaOps;
import dev.optgptq.kernels.ops.Float64Ops;
import dev.optgptq.kernels.ops.GradientOps;
import dev.optgptq.kernels.ops.MatrixOps;
import dev.optgptq.kernels.ops.MixtureOps;
import dev.optgptq.kernels.ops.NeuralOps;
import dev.optgptq.kernels.ops.QuantOps;
import dev.optgptq.kernels.ops.TuningOps;
import java.lang.foreign.MemorySegment;

/** A device that computes in host memory with the given op objects. Its ops are done when they return. */
public final class HostDevice implements Device {

    private final String name;
    private final String description;
    private final String arithmetic;
    private final HalfMatmuls halfMatmuls;
    private final NeuralOps neural;
    private final MatrixOps matrix;
    private final QuantOps quant;
    private final GradientOps gradient;
    private final TuningOps tuning;
    private final MixtureOps mixture;
    private final DeltaOps delta;
    private final CacheOps cache;
    private final Float64Ops float64;
    private final Runnable onClose;
    private final HostMemory memory;

    /**
     * @param description one line for people
     * @param arithmetic the part that decides results, as in {@link Device#arithmetic}
     * @param halfMatmuls what it gains from fp16/bf16
     * @param memory the source of its arenas and those of its ops
     * @param onClose closes what the ops share, such as worker threads
     */
    public HostDevice(String name, String description, String arithmetic, HalfMatmuls halfMatmuls,
            HostMemory memory, NeuralOps neural, MatrixOps matrix, QuantOps quant, GradientOps gradient,
            TuningOps tuning, MixtureOps mixture,
            DeltaOps delta,
            CacheOps cache, Float64Ops float64,
            Runnable onClose) {
        this.memory = memory;
        this.name = name;
        this.description = description;
        this.arithmetic = arithmetic;
        this.halfMatmuls = halfMatmuls;
        this.neural = new CheckedNeuralOps(neural);
        this.matrix = new CheckedMatrixOps(matrix);
        this.quant = new CheckedQuantOps(quant);
        this.gradient = new CheckedGradientOps(gradient);
        this.tuning = new CheckedTuningOps(tuning);
        this.mixture = new CheckedMixtureOps(mixture);
        this.delta = new CheckedDeltaOps(delta);
        this.cache = new CheckedCacheOps(cache);
        this.float64 = new CheckedFloat64Ops(float64);
        this.onClose = onClose;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public String description() {
        return description;
    }

    @Override
    public String arithmetic() {
        return arithmetic;
    }

    @Override
    public Halves halves(DType half) {
        return halfMatmuls.halves(half);
    }

    @Override
    public String halvesRemark(DType half) {
        return halfMatmuls.remark(half);
    }

    /** What a host device gains from fp16/bf16, and by what: see {@link Device#halves} and {@link Device#halvesRemark}. */
    public interface HalfMatmuls {

        /** Nothing. */
        HalfMatmuls NONE = new HalfMatmuls() {
            @Override
            public Halves halves(DType half) {
                return Halves.WIDENED;
            }

            @Override
            public String remark(DType half) {
                return "";
            }
        };

        Halves halves(DType half);

        String remark(DType half);
    }

    @Override
    public TensorArena arena() {
        return memory.arena();
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
    public Float64Ops float64() {
        return float64;
    }

    @Override
    public void upload(MemorySegment source, Tensor target) {
        long rowBytes = target.columns() * target.dtype().bytes();
        requireBytes(source, target);
        for (long row = 0; row < target.rows(); row++) {
            MemorySegment.copy(source, row * rowBytes, target.memory(), rowStart(target, row), rowBytes);
        }
    }

    @Override
    public void download(Tensor source, MemorySegment target) {
        long rowBytes = source.columns() * source.dtype().bytes();
        requireBytes(target, source);
        for (long row = 0; row < source.rows(); row++) {
            MemorySegment.copy(source.memory(), rowStart(source, row), target, row * rowBytes, rowBytes);
        }
    }

    private static long rowStart(Tensor tensor, long row) {
        return tensor.columns() == 0 ? 0 : row * tensor.stride() * tensor.dtype().bytes();
    }

    private static void requireBytes(MemorySegment host, Tensor tensor) {
        long needed = tensor.bytes();
        if (host.byteSize() != needed) {
            throw new IllegalArgumentException(
                    tensor + " has " + needed + " bytes, the host memory given " + host.byteSize());
        }
    }

    @Override
    public void synchronize() {
        // Ops are done when they return.
    }

    @Override
    public long memoryInUse() {
        return memory.inUse();
    }

    @Override
    public long peakMemory() {
        return memory.peak();
    }

    @Override
    public void close() {
        onClose.run();
    }
}
