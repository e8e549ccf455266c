package dev.optgptq.kernels.gpu.ops;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.gpu.GpuContext;
import dev.optgptq.kernels.gpu.Kernel;
import dev.optgptq.kernels.ops.GradientOps;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import org.jspecify.annotations.Nullable;

/**
 * GradientOps on a GPU, the same bits every time. Ids and targets are read on the device, where nothing can be thrown: an
 * id outside its range adds to nothing, a target outside gives a row of NaN.
 */
public final class GpuGradientOps implements GradientOps {

    private static final int THREADS = Extent.THREADS;
    /** Columns and rows of a block of column_sums.hip. */
    private static final long SUM_COLUMNS = 32;
    private static final long SUM_ROWS = 256;
    /** Columns of a block of embedding_gradient.hip. */
    private static final long EMBED_COLUMNS = 1024;

    private final GpuContext context;
    private final GpuAttentionGradient attention;

    public GpuGradientOps(GpuContext context) {
        this.context = context;
        this.attention = new GpuAttentionGradient(context);
    }

    private Kernel kernel(String source, String function) {
        return context.kernel(source, function);
    }

    @Override
    public void rmsNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight) {
        normGradient("rms_norm_gradient", x, weight, eps, dOut, dx, dWeight);
    }

    @Override
    public void layerNormGradient(Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx, @Nullable Tensor dWeight,
            @Nullable Tensor dBias) {
        normGradient("layer_norm_gradient", x, weight, eps, dOut, dx, dWeight);
        if (dBias != null) {
            addRowsInto(dOut, dBias);
        }
    }

    private void normGradient(String function, Tensor x, Tensor weight, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        try (TensorArena arena = context.arena()) {
            Tensor centres = arena.vector(DType.F32, x.rows());
            Tensor inverses = arena.vector(DType.F32, x.rows());
            kernel("norm_gradient", function).launch(x.rows(), THREADS, 0, x, x.stride(), weight, eps, dOut,
                    dOut.stride(), dx, dx.stride(), centres, inverses, x.columns());
            if (dWeight != null) {
                sumColumns("sum_norm_rows", x.rows(), dWeight, x, x.stride(), dOut, dOut.stride(), centres, inverses);
            }
        }
    }

    @Override
    public void rmsNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        groupsGradient("rms_norm_groups_gradient", x, weight, width, eps, dOut, dx, dWeight);
    }

    @Override
    public void layerNormGroupsGradient(Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight, @Nullable Tensor dBias) {
        groupsGradient("layer_norm_groups_gradient", x, weight, width, eps, dOut, dx, dWeight);
        Groups groups = Groups.of(x, weight, width);
        if (dBias != null && groups.own() == 1) {
            addRowsInto(dOut, dBias);
        } else if (dBias != null) {
            sumColumns("sum_group_rows", groups.rows() * groups.count(), dBias, dOut, dOut.stride(), groups.count(),
                    (long) width);
        }
    }

    private void groupsGradient(String function, Tensor x, Tensor weight, int width, float eps, Tensor dOut, Tensor dx,
            @Nullable Tensor dWeight) {
        Groups groups = Groups.of(x, weight, width);
        try (TensorArena arena = context.arena()) {
            Tensor centres = arena.vector(DType.F32, groups.rows() * groups.count());
            Tensor inverses = arena.vector(DType.F32, groups.rows() * groups.count());
            kernel("norm_gradient", function).launch(groups.blocks(), THREADS, 0, x, x.stride(), weight, eps, dOut,
                    dOut.stride(), dx, dx.stride(), centres, inverses, groups.rows(), groups.count(), (long) width,
                    groups.own());
            if (dWeight != null) {
                long rows = groups.own() == 1 ? groups.rows() : groups.rows() * groups.count();
                sumColumns("sum_norm_groups", rows, dWeight, x, x.stride(), dOut, dOut.stride(), centres, inverses,
                        groups.count(), (long) width, groups.own());
            }
        }
    }

    @Override
    public void rotaryGradient(Tensor d, int headDim, Tensor cos, Tensor sin, RotaryLayout layout) {
        Extent extent = new Extent(d.rows(), d.columns() / headDim * cos.columns());
        kernel("rotary", "rotary_gradient").launch(extent.blocks(), THREADS, 0, d, d.stride(), headDim, cos,
                cos.stride(), sin, sin.stride(), cos.rows(), Math.toIntExact(cos.columns()),
                layout == RotaryLayout.INTERLEAVED ? 1 : 0, extent.columns());
    }

    @Override
    public void attentionGradient(Attended forward, Tensor dOut, Tensor dq, Tensor dk, Tensor dv,
            @Nullable Tensor dSinks) {
        attention.run(forward, dOut, dq, dk, dv, dSinks);
    }

    @Override
    public void activateGradient(Activation activation, Tensor x, Tensor dOut) {
        Extent extent = Extent.of(x, dOut);
        kernel("activation_gradient", "activate_gradient").launch(extent.blocks(), THREADS, 0,
                GpuNeuralOps.code(activation), x, x.stride(), dOut, dOut.stride(), extent.columns());
    }

    @Override
    public void activateGatedGradient(Activation activation, Tensor gate, Tensor up, Tensor dOut) {
        Extent extent = Extent.of(gate, up, dOut);
        kernel("activation_gradient", "activate_gated_gradient").launch(extent.blocks(), THREADS, 0,
                GpuNeuralOps.code(activation), gate, gate.stride(), up, up.stride(), dOut, dOut.stride(),
                extent.columns());
    }

    @Override
    public void clampedSwigluGradient(Tensor gate, Tensor up, float alpha, float limit, Tensor dOut) {
        Extent extent = Extent.of(gate, up, dOut);
        kernel("gates", "clamped_swiglu_gradient").launch(extent.blocks(), THREADS, 0, gate, gate.stride(), up,
                up.stride(), alpha, limit, dOut, dOut.stride(), extent.columns());
    }

    @Override
    public void gateSigmoidGradient(Tensor x, Tensor gate, Tensor d) {
        if (gate.columns() == 1) {
            kernel("gates", "gate_row_gradient").launch(x.rows(), THREADS, 0, x, x.stride(), gate, gate.stride(), d,
                    d.stride(), x.columns());
            return;
        }
        Extent extent = Extent.of(x, gate, d);
        kernel("gates", "gate_sigmoid_gradient").launch(extent.blocks(), THREADS, 0, x, x.stride(), gate,
                gate.stride(), d, d.stride(), extent.columns());
    }

    @Override
    public void softcapGradient(Tensor y, float cap, Tensor d) {
        Extent extent = Extent.of(y, d);
        kernel("limits", "softcap_gradient").launch(extent.blocks(), THREADS, 0, y, y.stride(), cap, d, d.stride(),
                extent.columns());
    }

    @Override
    public void clampGradient(Tensor x, float limit, Tensor d) {
        Extent extent = Extent.of(x, d);
        kernel("limits", "clamp_gradient").launch(extent.blocks(), THREADS, 0, x, x.stride(), limit, d, d.stride(),
                extent.columns());
    }

    @Override
    public void embedGradient(Tensor ids, Tensor dOut, Tensor dTable) {
        kernel("embedding_gradient", "embed_gradient").launchGrid(dOut.rows(),
                Math.ceilDiv(dOut.columns(), EMBED_COLUMNS), 1, THREADS, 0, ids, dOut.rows(), dOut, dOut.stride(),
                dTable, dTable.stride(), dTable.rows(), dOut.columns());
    }

    @Override
    public void crossEntropyGradient(Tensor logits, Tensor targets, Tensor weights) {
        kernel("cross_entropy", "cross_entropy_gradient").launch(logits.rows(), THREADS, 0, logits, logits.stride(),
                logits.columns(), targets, weights);
    }

    @Override
    public void klGradient(Tensor teacher, Tensor student, Tensor weights) {
        GpuKlDivergence.gradient(context, teacher, student, weights);
    }

    @Override
    public void addRowsInto(Tensor x, Tensor sums) {
        sumColumns("sum_rows", x.rows(), sums, x, x.stride());
    }

    /** sums += the sums over rows of the kernel's terms: partial sums of chunks, then their sum. */
    private void sumColumns(String function, long rows, Tensor sums, Object... terms) {
        long columns = sums.columns();
        long chunks = Math.ceilDiv(rows, SUM_ROWS);
        if (chunks == 0 || columns == 0) {
            return;
        }
        try (TensorArena arena = context.arena()) {
            Tensor partial = arena.matrix(DType.F32, chunks, columns);
            Object[] arguments = new Object[terms.length + 3];
            System.arraycopy(terms, 0, arguments, 0, terms.length);
            arguments[terms.length] = rows;
            arguments[terms.length + 1] = columns;
            arguments[terms.length + 2] = partial;
            kernel("column_sums", function).launchGrid(Math.ceilDiv(columns, SUM_COLUMNS), chunks, 1, THREADS, 0,
                    arguments);
            kernel("column_sums", "add_chunks").launch(Math.ceilDiv(columns, THREADS), THREADS, 0, partial, chunks,
                    sums, columns);
        }
    }

    @Override
    public void addSquares(float factor, Tensor x, Tensor squares) {
        kernel("row_squares", "add_squares").launch(x.rows(), THREADS, 0, factor, x, x.stride(), squares, x.columns());
    }

    @Override
    public void scaleRows(Tensor x, Tensor factors, Tensor out) {
        Extent extent = Extent.byRows(x);
        kernel("elementwise", "scale_rows").launch(extent.blocks(), THREADS, 0, x, x.stride(), factors, out,
                out.stride(), extent.columns());
    }

    @Override
    public void attentionCurvature(Tensor first, Tensor second, CurvatureWeights weights, int window, Tensor errors) {
        kernel("causal_softmax", "curvature").launch(errors.rows(), THREADS, 0, first, first.stride(), second,
                second.stride(), errors, errors.stride(), Math.toIntExact(errors.columns()), weights.first(),
                weights.second(), weights.uniform(), window);
    }
}
