package dev.optgptq.gptq.bench;

import dev.optgptq.calibrate.family.NormSpec;
import dev.optgptq.calibrate.family.Mixer;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.eval.FlopCount;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Position;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.bench.BenchReport.Entry;
import dev.optgptq.gptq.bench.BenchReport.Rates;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.ops.NeuralOps.AttentionShape;
import dev.optgptq.kernels.ops.NeuralOps.RotaryLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * Times the ops of a block: the forward pass over one batch, and the Hessians. The limit of each is the longer of the
 * times for its operations and its bytes at the device's rates. N tokens.
 */
final class OpTimes {

    private final Device device;
    private final ModelSpec spec;
    private final DType products;
    private final long rows;
    private final Limits limits;
    private final List<Entry> entries = new ArrayList<>();

    /**
     * @param products matmul dtype of the linears
     * @param rows N, whole sequences
     */
    OpTimes(Device device, ModelSpec spec, DType products, long rows, Rates rates) {
        this.device = device;
        this.spec = spec;
        this.products = products;
        this.rows = rows;
        this.limits = new Limits(device, rates);
    }

    List<Entry> measure(int sequenceLength) {
        norm();
        rounding();
        position(sequenceLength);
        attention(sequenceLength);
        spec.linears(0).stream().map(linear -> List.of(linear.inputs(), linear.outputs())).distinct()
                .forEach(size -> linear(size.getFirst(), size.getLast()));
        activation();
        spec.linears(0).stream().map(linear -> linear.inputs()).distinct().forEach(this::gram);
        entries.addAll(new SolveTimes(device, spec, limits).measure());
        return entries;
    }

    private void add(String name, String size, double operations, DType factors, double bytes, Runnable op) {
        entries.add(limits.entry(name, size, operations, factors, bytes, op));
    }

    private void norm() {
        int hidden = spec.hiddenSize();
        try (TensorArena arena = device.arena()) {
            Tensor x = random(arena, DType.F32, rows, hidden);
            Tensor weight = random(arena, DType.F32, 1, hidden);
            Tensor out = arena.matrix(DType.F32, rows, hidden);
            double bytes = 8.0 * rows * hidden;
            NormSpec norm = spec.norms().getFirst();
            switch (norm.kind()) {
                case RMS -> add("rmsNorm", sizes(rows, hidden), 0, DType.F32, bytes,
                        () -> device.neural().rmsNorm(x, weight, norm.eps(), out));
                case LAYER -> add("layerNorm", sizes(rows, hidden), 0, DType.F32, bytes,
                        () -> device.neural().layerNorm(x, weight, null, norm.eps(), out));
            }
        }
    }

    private void rounding() {
        if (products == DType.F32) {
            return;
        }
        int widest = spec.widestInput();
        try (TensorArena arena = device.arena()) {
            Tensor x = random(arena, DType.F32, rows, widest);
            Tensor half = arena.matrix(products, rows, widest);
            add("convert", "F32 to " + products + " " + sizes(rows, widest), 0, DType.F32, 6.0 * rows * widest,
                    () -> device.neural().convert(x, half));
        }
    }

    private void position(int sequenceLength) {
        if (!(spec.block(0).mixer() instanceof Mixer.Attention form
                && form.position() instanceof Position.Rotary rotary)) {
            return;
        }
        try (TensorArena arena = device.arena()) {
            Tensor queries = random(arena, DType.F32, rows, form.queryWidth());
            Tensor table = random(arena, DType.F32, sequenceLength, rotary.rotaryDim() / 2);
            RotaryLayout layout = rotary.layout();
            add("rotary", sizes(rows, form.queryWidth()), 0, DType.F32, 8.0 * rows * form.queryWidth(),
                    () -> device.neural().rotary(queries, form.headDim(), table, table, layout));
        }
    }

    private void attention(int sequenceLength) {
        if (!(spec.block(0).mixer() instanceof Mixer.Attention form)) {
            return;
        }
        AttentionShape shape = new AttentionShape(sequenceLength, form.heads(), form.kvHeads(), form.headDim(),
                form.scale(), form.window());
        try (TensorArena arena = device.arena()) {
            Tensor all = random(arena, products, rows, form.queryWidth() + 2L * form.kvWidth());
            Tensor q = all.columns(0, form.queryWidth());
            Tensor k = all.columns(form.queryWidth(), form.kvWidth());
            Tensor v = all.columns(form.queryWidth() + form.kvWidth(), form.kvWidth());
            Tensor out = arena.matrix(DType.F32, rows, form.queryWidth());
            double operations = new FlopCount(spec).attention(spec.block(0), sequenceLength) * rows / sequenceLength;
            double bytes = rows
                    * (products.bytes() * (form.queryWidth() + 2.0 * form.kvWidth()) + 4.0 * form.queryWidth());
            add("attention", products + " " + sizes(rows, form.queryWidth()) + " T " + sequenceLength, operations,
                    products, bytes,
                    () -> device.neural().attention(q, k, v, null, shape, out));
        }
    }

    private void linear(int inputs, int outputs) {
        try (TensorArena arena = device.arena()) {
            Tensor x = random(arena, products, rows, inputs);
            Tensor w = random(arena, products, outputs, inputs);
            Tensor y = arena.matrix(DType.F32, rows, outputs);
            double bytes = (double) products.bytes() * inputs * (rows + outputs) + 4.0 * rows * outputs;
            add("linear", products + " " + sizes(rows, inputs) + " x " + outputs, 2.0 * rows * inputs * outputs,
                    products, bytes, () -> device.matrix().linear(x, w, null, 0, y));
        }
    }

    private void activation() {
        FeedForward.Dense form = switch (spec.block(0).feedForward()) {
            case FeedForward.Dense dense -> dense;
            case FeedForward.Experts experts -> experts.each();
        };
        int width = form.intermediateSize();
        try (TensorArena arena = device.arena()) {
            Tensor gate = random(arena, DType.F32, rows, width);
            Tensor up = random(arena, DType.F32, rows, width);
            double elements = (double) rows * width;
            switch (form.form()) {
                case FeedForward.Form.Gated gated ->
                    add("activateGated", sizes(rows, width), 0, DType.F32, 12 * elements,
                            () -> device.neural().activateGated(gated.activation(), gate, up));
                case FeedForward.Form.Plain plain -> add("activate", sizes(rows, width), 0, DType.F32, 8 * elements,
                        () -> device.neural().activate(plain.activation(), up));
                case FeedForward.Form.Clamped clamped -> add("clampedSwiglu", sizes(rows, width), 0, DType.F32,
                        12 * elements,
                        () -> device.neural().clampedSwiglu(gate, up, clamped.alpha(), clamped.limit()));
            }
        }
    }

    private void gram(int inputs) {
        try (TensorArena arena = device.arena()) {
            Tensor x = random(arena, products, rows, inputs);
            Tensor h = arena.matrix(DType.F32, inputs, inputs);
            device.matrix().fill(h, 0);
            double bytes = (double) products.bytes() * rows * inputs + 4.0 * inputs * inputs;
            add("accumulateGram", products + " " + sizes(rows, inputs), (double) rows * inputs * inputs, products,
                    bytes,
                    () -> device.matrix().accumulateGram(1f / rows, x, h));
        }
    }

    private Tensor random(TensorArena arena, DType dtype, long count, long columns) {
        Tensor tensor = arena.matrix(dtype, count, columns);
        RandomValues.fill(device, arena, tensor);
        return tensor;
    }

    private static String sizes(long rows, long columns) {
        return "[" + rows + ", " + columns + "]";
    }
}
