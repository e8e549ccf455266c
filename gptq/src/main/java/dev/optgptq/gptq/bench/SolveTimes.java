package dev.optgptq.gptq.bench;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.bench.BenchReport.Entry;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.Grid;
import dev.optgptq.kernels.ops.QuantOps.BlockProblem;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Times the ops of solving, at the sizes of a shape, with 4 bits and groups of 128. */
record SolveTimes(Device device, ModelSpec spec, Limits limits) {

    private static final int BITS = 4;
    private static final int GROUP = 128;

    List<Entry> measure() {
        List<Entry> entries = new ArrayList<>();
        spec.blockSpecs().stream().flatMap(block -> block.linears().stream()).map(linear -> linear.inputs()).distinct()
                .forEach(inputs -> entries.add(inverseFactor(inputs)));
        spec.blockSpecs().stream().flatMap(block -> block.linears().stream())
                .map(linear -> List.of(linear.inputs(), linear.outputs())).distinct()
                .forEach(size -> entries.addAll(linear(size.getFirst(), size.getLast())));
        return entries;
    }

    /** With a dominant diagonal: the speed does not depend on the condition number. */
    private Entry inverseFactor(int n) {
        try (TensorArena arena = device.arena()) {
            Tensor h = arena.matrix(DType.F32, n, n);
            Tensor diagonal = arena.vector(DType.F32, n);
            device.matrix().fill(h, 0.5f);
            device.matrix().fill(diagonal, 2);
            device.matrix().setDiagonal(h, diagonal);
            Tensor u = arena.matrix(DType.F32, n, n);
            return limits.entry("inverseFactor", square(n), 2.0 / 3 * n * n * n, DType.F32, 8.0 * n * n, () -> {
                if (!device.matrix().inverseFactor(h, u)) {
                    throw new IllegalStateException("[" + n + ", " + n + "] with 2 over 0.5 is positive definite");
                }
            });
        }
    }

    private List<Entry> linear(int inputs, int outputs) {
        String size = "[" + inputs + ", " + outputs + "]";
        double elements = (double) inputs * outputs;
        int block = Math.min(GROUP, inputs);
        try (TensorArena arena = device.arena()) {
            Tensor wt = arena.matrix(DType.F32, inputs, outputs);
            Tensor other = arena.matrix(DType.F32, outputs, inputs);
            RandomValues.fill(device, arena, wt);
            Tensor errors = wt.rows(0, block);
            Tensor u = arena.matrix(DType.F32, block, inputs);
            device.matrix().fill(u, 0.01f);
            Tensor later = wt.rows(inputs / 2, inputs - inputs / 2);
            Tensor beside = u.columns(inputs / 2, inputs - inputs / 2);
            Tensor scales = arena.matrix(DType.F32, 1, outputs);
            Tensor zeros = arena.matrix(DType.I32, 1, outputs);
            Tensor codes = arena.matrix(DType.U8, inputs, outputs);
            Tensor words = arena.matrix(DType.I32, (long) inputs * BITS / 32, outputs);
            Tensor result = arena.vector(DType.F64, 1);
            Tensor groupOf = arena.vector(DType.I32, block);
            device.upload(MemorySegment.ofArray(new int[block]), groupOf);
            Tensor order = arena.vector(DType.I32, inputs);
            device.upload(MemorySegment.ofArray(IntStream.range(0, inputs).map(i -> inputs - 1 - i).toArray()), order);
            Tensor gathered = arena.matrix(DType.F32, inputs, outputs);
            Tensor blockErrors = arena.matrix(DType.F32, block, outputs);
            Tensor toSolve = arena.matrix(DType.F32, block, outputs);
            RandomValues.fill(device, arena, toSolve);
            Grid grid = new Grid(BITS, true, false, DType.F16);
            BlockProblem problem = new BlockProblem(grid, toSolve, u.columns(0, block), scales, zeros, groupOf, block,
                    codes.rows(0, block), blockErrors);
            device.matrix().fill(u.columns(0, block), 1);
            return List.of(
                    limits.entry("transpose", size, 0, DType.F32, 8 * elements,
                            () -> device.matrix().transpose(wt, other)),
                    limits.entry("gatherRows", size, 0, DType.F32, 8 * elements,
                            () -> device.matrix().gatherRows(wt, order, gathered)),
                    limits.entry("solveBlock", "[" + block + ", " + outputs + "]", (double) block * block * outputs,
                            DType.F32, 13.0 * block * outputs, () -> device.quant().solveBlock(problem)),
                    limits.entry("gemm", "[" + later.rows() + ", " + block + "] x " + outputs,
                            2.0 * later.rows() * block * outputs, DType.F32, 8.0 * later.elements(),
                            () -> device.matrix().gemm(-0x1p-20f, beside, true, errors, false, 1, later)),
                    limits.entry("dot", size, 0, DType.F32, 8 * elements,
                            () -> device.matrix().dot(wt, gathered, result)),
                    limits.entry("packCodes", size, 0, DType.F32, 1.5 * elements,
                            () -> device.quant().packCodes(BITS, codes, words)));
        }
    }

    private static String square(int n) {
        return "[" + n + ", " + n + "]";
    }
}
