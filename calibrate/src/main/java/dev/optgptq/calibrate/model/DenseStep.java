package dev.optgptq.calibrate.model;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.FeedForward.Dense;
import dev.optgptq.calibrate.family.FeedForward.Form;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.model.LinearStep.Target;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** One MLP: of a block, of an expert, or the one that all tokens share. */
record DenseStep(Device device, LinearStep linears) {

    /**
     * The linears of one MLP.
     *
     * @param up null where one linear computes gate and up
     */
    record Linears(@Nullable LinearSpec gate, @Nullable LinearSpec up, @Nullable LinearSpec gateUp, LinearSpec down) {

        /** Those of the block itself. */
        static Linears of(BlockSpec block) {
            return new Linears(find(block, Projection.GATE), find(block, Projection.UP),
                    find(block, Projection.GATE_UP),
                    block.linear(Projection.DOWN));
        }

        /** Those of one of its experts. */
        static Linears ofExpert(BlockSpec block, int expert) {
            Map<Projection, LinearSpec> found = new EnumMap<>(Projection.class);
            block.linears().stream().filter(linear -> linear.expert() == expert)
                    .forEach(linear -> found.put(linear.projection(), linear));
            return new Linears(found.get(Projection.EXPERT_GATE), found.get(Projection.EXPERT_UP),
                    found.get(Projection.EXPERT_GATE_UP),
                    Objects.requireNonNull(found.get(Projection.EXPERT_DOWN), () -> "expert " + expert));
        }

        /** Where its input enters. */
        InputSite inputSite() {
            return Objects.requireNonNull(gateUp != null ? gateUp : up).site();
        }

        private static @Nullable LinearSpec find(BlockSpec block, Projection projection) {
            return block.has(projection) ? block.linear(projection) : null;
        }
    }

    /** The two factors before they are joined, F32 [n, intermediate]; gate is null in a plain MLP. */
    private record Parts(@Nullable Tensor both, @Nullable Tensor gate, Tensor up) {}

    static void forwardNeeds(Dense form, Linears linears, Widths widths) {
        int width = form.intermediateSize();
        if (linears.gateUp() != null) {
            widths.need(Scratch.GATE_UP, 2 * width);
            return;
        }
        widths.need(Scratch.UP, width);
        if (form.form().hasGate()) {
            widths.need(Scratch.GATE, width);
        }
    }

    static void traceNeeds(Dense form, Widths widths) {
        widths.need(Scratch.ACTIVATED, form.intermediateSize());
    }

    static void gradientNeeds(Dense form, Widths widths) {
        widths.need(Scratch.D_ACTIVATED, form.intermediateSize());
    }

    /**
     * Computes it for n tokens.
     *
     * @param x [n, hidden] in the matmul dtype
     * @return false when the tap stopped it
     */
    boolean forward(Frame f, Dense form, Linears its, Tensor x, Outlet out) {
        Parts parts = project(f, form, its, x);
        Tensor activated = f.factor(device.neural(), activate(f, form, parts));
        if (!f.tap().at(its.down().site(), activated)) {
            return false;
        }
        linears.forward(f.weights().of(its.down()), activated, out.beta(), out.target());
        return true;
    }

    /** Computes only what backward needs, without the output. */
    void trace(Frame f, Dense form, Linears its, Tensor x) {
        activate(f, form, project(f, form, its, x));
    }

    private static Parts parts(Frame f, Dense form, Linears its, long rows) {
        int width = form.intermediateSize();
        if (its.gateUp() != null) {
            Tensor both = f.scratch(Scratch.GATE_UP, 2 * width).rows(0, rows);
            return new Parts(both, both.columns(0, width), both.columns(width, width));
        }
        Tensor up = f.scratch(Scratch.UP, width).rows(0, rows);
        return new Parts(null, form.form().hasGate() ? f.scratch(Scratch.GATE, width).rows(0, rows) : null, up);
    }

    private Parts project(Frame f, Dense form, Linears its, Tensor x) {
        Parts parts = parts(f, form, its, x.rows());
        if (its.gateUp() != null && parts.both() != null) {
            linears.parts(f, its.gateUp(), x, parts.both());
        }
        linears.together(f, x, new Target(its.up(), parts.up()), new Target(its.gate(), parts.gate()));
        return parts;
    }

    /** [n, intermediate], in place unless the input is kept, or rounded to the matmul dtype at once. */
    private Tensor activate(Frame f, Dense form, Parts parts) {
        Tensor from = parts.gate() == null ? parts.up() : parts.gate();
        return switch (form.form()) {
            case Form.Gated gated -> {
                Tensor target = f.roundsOnce() ? f.rounded(from) : f.keeps() ? kept(f, form, from) : from;
                device.neural().activateGated(gated.activation(), from, parts.up(), target);
                yield target;
            }
            case Form.Plain plain -> {
                Tensor target = inPlace(f, form, from);
                device.neural().activate(plain.activation(), target);
                yield target;
            }
            case Form.Clamped clamped -> {
                Tensor target = inPlace(f, form, from);
                device.neural().clampedSwiglu(target, parts.up(), clamped.alpha(), clamped.limit());
                yield target;
            }
        };
    }

    /** What is activated in place: a copy where the input is kept. */
    private Tensor inPlace(Frame f, Dense form, Tensor from) {
        if (!f.keeps()) {
            return from;
        }
        Tensor copy = kept(f, form, from);
        device.matrix().copy(from, copy);
        return copy;
    }

    /** Where backward finds what is activated. */
    private static Tensor kept(Frame f, Dense form, Tensor from) {
        return f.scratch(Scratch.ACTIVATED, form.intermediateSize()).rows(0, from.rows());
    }

    /**
     * The mirror of forward: dx = beta dx + the gradient for x, of dOut, the gradient for the output.
     *
     * @param x forward's input
     */
    void backward(Frame f, Buffers gradients, LinearGradients linearGradients, Dense form, Linears its, Tensor x,
            Tensor dOut, float beta, Tensor dx) {
        Parts parts = parts(f, form, its, x.rows());
        Tensor activated = kept(f, form, x);
        Tensor dActivated = gradients.of(Scratch.D_ACTIVATED, form.intermediateSize()).rows(0, x.rows());
        linearGradients.linear(its.down(), activated, dOut, 0, dActivated);
        differentiate(form, parts, dActivated);
        float then = beta;
        if (its.gateUp() != null && parts.both() != null) {
            linearGradients.parts(its.gateUp(), x, parts.both(), then, dx);
            then = 1;
        }
        if (its.up() != null) {
            linearGradients.linear(its.up(), x, parts.up(), then, dx);
            then = 1;
        }
        if (its.gate() != null && parts.gate() != null) {
            linearGradients.linear(its.gate(), x, parts.gate(), then, dx);
        }
    }

    /** gate and up become their gradients. */
    private void differentiate(Dense form, Parts parts, Tensor dActivated) {
        Tensor first = parts.gate() == null ? parts.up() : parts.gate();
        switch (form.form()) {
            case Form.Gated gated ->
                device.gradient().activateGatedGradient(gated.activation(), first, parts.up(), dActivated);
            case Form.Plain plain -> device.gradient().activateGradient(plain.activation(), first, dActivated);
            case Form.Clamped clamped -> device.gradient().clampedSwigluGradient(first, parts.up(), clamped.alpha(),
                    clamped.limit(), dActivated);
        }
    }
}
