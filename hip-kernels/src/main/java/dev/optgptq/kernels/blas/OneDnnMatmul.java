package dev.optgptq.kernels.blas;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A matmul of one shape as oneDNN has compiled it for this CPU: BF16 operands, F32 result and sums. Any thread may run it, each in
 * working memory of its own, and each alone.
 */
final class OneDnnMatmul implements AutoCloseable {

    private static final int BF16 = 2;
    private static final int F32 = 3;
    private static final int SCRATCH_OF_CALLER = 1;
    private static final int QUERY_SCRATCH = 136;
    /** The operands in a list of arguments: dnnl_exec_arg_t is an int and a pointer. */
    private static final int[] ARGUMENTS = {1, 33, 17, 80};
    private static final long ARGUMENT_BYTES = 16;
    private static final long POINTER_AT = 8;

    /**
     * c [m, n] = op(a) op(b), or c += it.
     *
     * @param a strides of op(a) [m, k], one for rows and one for columns; likewise b of op(b) [k, n]
     * @param c elements from one row to the next
     */
    record Shape(long m, long n, long k, Strides a, Strides b, long c, boolean adds) {}

    /** Elements from one row and from one column to the next. */
    record Strides(long row, long column) {

        static Strides of(long stride, boolean transposed) {
            return transposed ? new Strides(1, stride) : new Strides(stride, 1);
        }
    }

    private final OneDnnCalls calls;
    private final MemorySegment engine;
    private final MemorySegment plan;
    private final MemorySegment primitive;
    /** Of a, b, c, and working memory; the last one is the plan's. */
    private final MemorySegment[] layouts;
    private final long scratchBytes;

    OneDnnMatmul(OneDnnCalls calls, MemorySegment engine, Shape shape) {
        this.calls = calls;
        this.engine = engine;
        calls.onThisThreadAlone();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment a = layout(arena, BF16, shape.m(), shape.k(), shape.a());
            MemorySegment b = layout(arena, BF16, shape.k(), shape.n(), shape.b());
            MemorySegment c = layout(arena, F32, shape.m(), shape.n(), new Strides(shape.c(), 1));
            MemorySegment attributes = attributes(arena, shape.adds());
            plan = calls.handle(arena, "plan " + shape, out -> (int) calls.matmulCreate.invokeExact(out,
                    engine, a, b, MemorySegment.NULL, c, attributes));
            calls.check((int) calls.attributesDestroy.invokeExact(attributes), "free attributes");
            primitive = calls.handle(arena, "compile " + shape,
                    out -> (int) calls.primitiveCreate.invokeExact(out, plan));
            MemorySegment scratch = (MemorySegment) calls.planQuery.invokeExact(plan, QUERY_SCRATCH, 0);
            layouts = new MemorySegment[] {a, b, c, scratch};
            scratchBytes = (long) calls.layoutSize.invokeExact(scratch);
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    private MemorySegment layout(Arena arena, int dtype, long rows, long columns, Strides strides) {
        MemorySegment size = arena.allocateFrom(JAVA_LONG, rows, columns);
        MemorySegment steps = arena.allocateFrom(JAVA_LONG, strides.row(), strides.column());
        return calls.handle(arena, "describe a matrix",
                out -> (int) calls.layoutCreate.invokeExact(out, 2, size, dtype, steps));
    }

    private MemorySegment attributes(Arena arena, boolean adds) throws Throwable {
        MemorySegment made = calls.handle(arena, "make attributes",
                out -> (int) calls.attributesCreate.invokeExact(out));
        calls.check((int) calls.attributesScratch.invokeExact(made, SCRATCH_OF_CALLER), "set attributes");
        if (adds) {
            MemorySegment after = calls.handle(arena, "make attributes",
                    out -> (int) calls.postOpsCreate.invokeExact(out));
            calls.check((int) calls.postOpsSum.invokeExact(after, 1f, 0, 0), "set attributes");
            calls.check((int) calls.attributesPostOps.invokeExact(made, after), "set attributes");
            calls.check((int) calls.postOpsDestroy.invokeExact(after), "free attributes");
        }
        return made;
    }

    /** Bytes of working memory that a run needs. */
    long scratchBytes() {
        return scratchBytes;
    }

    /**
     * Runs it on the calling thread.
     *
     * @param stream of this thread alone
     * @param scratch at least {@link #scratchBytes}, of this thread alone
     */
    void run(MemorySegment stream, MemorySegment scratch, MemorySegment a, MemorySegment b, MemorySegment c) {
        calls.onThisThreadAlone();
        MemorySegment[] operands = {a, b, c, scratch};
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment arguments = arena.allocate(ARGUMENT_BYTES * ARGUMENTS.length, ADDRESS.byteAlignment());
            for (int i = 0; i < ARGUMENTS.length; i++) {
                MemorySegment layout = layouts[i];
                MemorySegment operand = operands[i];
                arguments.set(JAVA_INT, ARGUMENT_BYTES * i, ARGUMENTS[i]);
                arguments.set(ADDRESS, ARGUMENT_BYTES * i + POINTER_AT, calls.handle(arena, "take an operand",
                        out -> (int) calls.memoryCreate.invokeExact(out, layout, engine, operand)));
            }
            calls.check((int) calls.execute.invokeExact(primitive, stream, ARGUMENTS.length, arguments), "multiply");
            for (int i = 0; i < ARGUMENTS.length; i++) {
                calls.check((int) calls.memoryDestroy.invokeExact(
                        arguments.get(ADDRESS, ARGUMENT_BYTES * i + POINTER_AT)), "free an operand");
            }
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }

    @Override
    public void close() {
        try {
            calls.check((int) calls.primitiveDestroy.invokeExact(primitive), "free a matmul");
            calls.check((int) calls.planDestroy.invokeExact(plan), "free a plan");
            for (int i = 0; i < layouts.length - 1; i++) {
                calls.check((int) calls.layoutDestroy.invokeExact(layouts[i]), "free a layout");
            }
        } catch (Throwable e) {
            throw NativeCalls.unexpected(e);
        }
    }
}
