package dev.optgptq.kernels.blas;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.FloatRounding;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.blas.OneDnnMatmul.Shape;
import dev.optgptq.kernels.blas.OneDnnMatmul.Strides;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * The matmul of oneDNN with BF16 operands, F32 results and sums, on row-major tensors in off-heap memory. Each call computes on
 * the calling thread alone, as those of OpenBlas do; calls from several threads at once are safe. Shapes are checked
 * here, before native code sees an address.
 */
public final class OneDnn {

    /** Kernels for AVX-512 BF16; those for AMX use it too. */
    private static final int AVX512_BF16 = 0xe7;
    private static final int CPU = 1;
    private static final int IN_ORDER = 1;
    /** Compiled shapes that are kept. A model has a few dozen; texts of any length could add any number. */
    private static final int KEPT_SHAPES = 512;
    private static final long ALIGNMENT = 64;

    private static final AtomicReference<@Nullable OneDnn> LOADED = new AtomicReference<>();

    private final OneDnnCalls calls;
    private final String description;
    private final MemorySegment engine;
    private final Map<Shape, OneDnnMatmul> compiled = new ConcurrentHashMap<>();
    /** As many as threads have been computing at once. */
    private final ConcurrentLinkedQueue<Lane> lanes = new ConcurrentLinkedQueue<>();

    private OneDnn(OneDnnLibrary library) {
        calls = new OneDnnCalls(library.symbols());
        int instructions = calls.instructionBits();
        if ((instructions & AVX512_BF16) != AVX512_BF16) {
            throw new UserError(UserError.Code.DEVICE, "oneDNN may use " + calls.instructionText(instructions)
                    + " of this CPU, which has no bfloat16 matmul (ONEDNN_MAX_CPU_ISA)");
        }
        description = "oneDNN " + calls.versionText() + " (" + calls.instructionText(instructions) + "; "
                + library.origin() + ")";
        try (Arena arena = Arena.ofConfined()) {
            engine = calls.handle(arena, "open the CPU", out -> (int) calls.engineCreate.invokeExact(out, CPU, 0L));
        }
        check();
    }

    /**
     * The one of this process, which is never unloaded. UserError DEVICE says why there is none to gain from: the CPU, the
     * library, or a wrong result.
     */
    public static synchronized OneDnn load() {
        OneDnn library = LOADED.get();
        if (library == null) {
            library = new OneDnn(OneDnnLibrary.load());
            LOADED.set(library);
        }
        return library;
    }

    /** Version, the instructions of its kernels, and where it came from: what decides its bits. */
    public String description() {
        return description;
    }

    /**
     * c = op(a) op(b), or c += it.
     *
     * @param a BF16; likewise b
     * @param c F32, of at least two columns
     */
    public void multiply(Tensor a, boolean transposeA, Tensor b, boolean transposeB, boolean adds, Tensor c) {
        long inner = transposeA ? a.rows() : a.columns();
        if (a.dtype() != DType.BF16 || b.dtype() != DType.BF16 || c.dtype() != DType.F32
                || c.rows() != (transposeA ? a.columns() : a.rows())
                || c.columns() != (transposeB ? b.rows() : b.columns())
                || inner != (transposeB ? b.columns() : b.rows()) || inner == 0 || c.rows() == 0 || c.columns() < 2) {
            throw new IllegalArgumentException("do not fit, or are empty: " + a + ", " + b + ", " + c);
        }
        Shape shape = new Shape(c.rows(), c.columns(), inner, Strides.of(a.stride(), transposeA),
                Strides.of(b.stride(), transposeB), c.stride(), adds);
        OneDnnMatmul matmul = compiled.get(shape);
        if (matmul == null && compiled.size() < KEPT_SHAPES) {
            matmul = compiled.computeIfAbsent(shape, wanted -> new OneDnnMatmul(calls, engine, wanted));
        }
        if (matmul != null) {
            run(matmul, a, b, c);
            return;
        }
        try (OneDnnMatmul once = new OneDnnMatmul(calls, engine, shape)) {
            run(once, a, b, c);
        }
    }

    private void run(OneDnnMatmul matmul, Tensor a, Tensor b, Tensor c) {
        Lane free = lanes.poll();
        Lane lane = free == null ? new Lane() : free;
        matmul.run(lane.stream, lane.scratch(matmul.scratchBytes()), a.memory(), b.memory(), c.memory());
        lanes.add(lane);
    }

    /** What a thread needs while it computes; kept for the next one. */
    private final class Lane {
        private final MemorySegment stream;
        private MemorySegment memory = MemorySegment.NULL;

        Lane() {
            try (Arena arena = Arena.ofConfined()) {
                stream = calls.handle(arena, "make a stream",
                        out -> (int) calls.streamCreate.invokeExact(out, engine, IN_ORDER));
            }
        }

        private MemorySegment scratch(long bytes) {
            if (memory.byteSize() < bytes) {
                memory = Arena.ofAuto().allocate(bytes, ALIGNMENT);
            }
            return memory;
        }
    }

    /** One product against float64, every way round that is used. UserError DEVICE where it is wrong. */
    private void check() {
        int size = 48;
        Random random = new Random(3);
        try (Arena arena = Arena.ofConfined()) {
            Tensor a = bf16(arena, random, size);
            Tensor b = bf16(arena, random, size);
            for (int way = 0; way < 8; way++) {
                boolean transposeA = (way & 1) != 0;
                boolean transposeB = (way & 2) != 0;
                boolean adds = (way & 4) != 0;
                Tensor c = Tensor.dense(DType.F32, size, size, arena.allocate(4L * size * size, ALIGNMENT));
                c.memory().fill((byte) (adds ? 0 : -1));
                multiply(a, transposeA, b, transposeB, adds, c);
                double worst = 0;
                for (int i = 0; i < size; i++) {
                    for (int j = 0; j < size; j++) {
                        double exact = 0;
                        for (int k = 0; k < size; k++) {
                            exact += value(a, transposeA ? k : i, transposeA ? i : k)
                                    * value(b, transposeB ? j : k, transposeB ? k : j);
                        }
                        double off = Math.abs(c.memory().getAtIndex(ValueLayout.JAVA_FLOAT, i * size + j) - exact);
                        worst = Math.max(worst, Double.isNaN(off) ? Double.POSITIVE_INFINITY : off);
                    }
                }
                if (worst > 1e-4) {
                    throw new UserError(UserError.Code.DEVICE,
                            description + " multiplies bfloat16 wrongly: off by " + worst);
                }
            }
        }
    }

    private static Tensor bf16(Arena arena, Random random, int size) {
        MemorySegment memory = arena.allocate(2L * size * size, ALIGNMENT);
        for (int i = 0; i < size * size; i++) {
            memory.setAtIndex(ValueLayout.JAVA_SHORT, i, FloatRounding.floatToBf16((float) random.nextGaussian()));
        }
        return Tensor.dense(DType.BF16, size, size, memory);
    }

    private static double value(Tensor matrix, int row, int column) {
        return FloatRounding.bf16ToFloat(
                matrix.memory().getAtIndex(ValueLayout.JAVA_SHORT, row * matrix.columns() + column));
    }
}
