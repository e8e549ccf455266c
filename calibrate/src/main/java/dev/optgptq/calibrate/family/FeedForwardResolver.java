package dev.optgptq.calibrate.family;

import dev.optgptq.calibrate.family.BlockSpec.Parameter;
import dev.optgptq.calibrate.family.BlockSpec.ParameterSpec;
import dev.optgptq.calibrate.family.FeedForward.Dense;
import dev.optgptq.calibrate.family.FeedForward.Experts;
import dev.optgptq.calibrate.family.FeedForward.Form;
import dev.optgptq.calibrate.family.FeedForward.Router;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** Resolves the feed-forward part of a block. */
record FeedForwardResolver(Family family, ConfigReader config, int hidden, int block) {

    FeedForward resolve() {
        Family.ExpertsForm experts = family.experts();
        if (experts != null && LayerRule.anyOrAll(experts.layers(), config, block)) {
            return experts(experts);
        }
        return dense(mlp(), 1);
    }

    private Family.MlpForm mlp() {
        return Objects.requireNonNull(family.mlp(), "a description without an MLP");
    }

    /** Those of the shared expert first, then one expert after the other. */
    void linears(FeedForward feedForward, LinearResolver resolver, List<LinearSpec> into) {
        switch (feedForward) {
            case Dense dense -> mlp().linears().forEach(form -> into.add(resolver.of(form, dense.intermediateSize())));
            case Experts experts -> {
                Family.ExpertsForm form = Objects.requireNonNull(family.experts());
                if (experts.shared() != null) {
                    int width = experts.shared().intermediateSize();
                    Objects.requireNonNull(form.shared()).mlp().linears()
                            .forEach(linear -> into.add(resolver.of(linear, width)));
                }
                for (int expert = 0; expert < experts.router().experts(); expert++) {
                    int number = expert;
                    form.each().linears().forEach(linear -> into.add(resolver.ofExpert(linear,
                            experts.each().intermediateSize(), number, experts.router().experts())));
                }
            }
        }
    }

    void parameters(FeedForward feedForward, String prefix, Map<Parameter, ParameterSpec> into) {
        if (!(feedForward instanceof Experts experts)) {
            return;
        }
        Family.ExpertsForm form = Objects.requireNonNull(family.experts());
        int count = experts.router().experts();
        into.put(Parameter.ROUTER, new ParameterSpec(prefix + form.router() + ".weight",
                List.of((long) count, (long) hidden), count, hidden));
        if (Boolean.TRUE.equals(form.routerBias())) {
            into.put(Parameter.ROUTER_BIAS, BlockResolver.parameter(prefix + form.router() + ".bias", 1, count));
        }
        if (form.correction() != null) {
            into.put(Parameter.ROUTER_CORRECTION, BlockResolver.parameter(prefix + form.correction(), 1, count));
        }
        if (experts.sharedGated()) {
            into.put(Parameter.SHARED_GATE,
                    new ParameterSpec(prefix + Objects.requireNonNull(form.shared()).gate() + ".weight",
                            List.of(1L, (long) hidden), 1, hidden));
        }
    }

    private Experts experts(Family.ExpertsForm form) {
        int count = form.count().positiveInt(config);
        int active = form.active().positiveInt(config);
        int groups = Setting.optionalInt(form.groups(), config, block).orElse(1);
        int activeGroups = Setting.optionalInt(form.activeGroups(), config, block).orElse(groups);
        if (active > count || count % groups != 0 || activeGroups > groups || active > count / groups * activeGroups) {
            throw config.bad(active + " of " + count + " experts in " + activeGroups + " of " + groups
                    + " groups cannot be chosen");
        }
        Router router = new Router(form.scoring(), count, active, form.renormalise().flag(config),
                Setting.optionalNumber(form.scale(), config).orElse(1.0).floatValue(), groups, activeGroups,
                form.groupScore() == null ? Router.GroupScore.MAX : form.groupScore());
        Family.SharedForm shared = form.shared();
        int together = shared == null ? 0 : Setting.optionalInt(shared.count(), config, block).orElse(1);
        return new Experts(router, dense(form.each(), 1), shared == null ? null : dense(shared.mlp(), together),
                shared != null && shared.gate() != null);
    }

    private Dense dense(Family.MlpForm form, int times) {
        return new Dense(form(form), Math.multiplyExact(times, intermediate(form)));
    }

    private Form form(Family.MlpForm form) {
        return switch (form.form()) {
            case GATED -> new Form.Gated(activation(form));
            case PLAIN -> new Form.Plain(activation(form));
            case CLAMPED -> new Form.Clamped((float) Objects.requireNonNull(form.alpha()).number(config),
                    (float) Objects.requireNonNull(form.limit()).number(config));
        };
    }

    private int intermediate(Family.MlpForm form) {
        if (form.intermediate() != null && (form.expansion() == null || form.intermediate().isGiven(config))) {
            return form.intermediate().positiveInt(config, block);
        }
        double width = hidden * Setting.optionalNumber(form.expansion(), config).orElseThrow();
        if (width < 1 || width > Integer.MAX_VALUE || width != Math.rint(width)) {
            throw config.bad("an expansion of hidden size " + hidden + " to " + width + " is no width of an MLP");
        }
        return (int) width;
    }

    private Activation activation(Family.MlpForm form) {
        Setting setting = Objects.requireNonNull(form.activation());
        String name = setting.text(config);
        return switch (name) {
            case "silu", "swish" -> Activation.SILU;
            case "gelu", "gelu_python" -> Activation.GELU;
            case "gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate" ->
                Activation.GELU_TANH;
            case "relu" -> Activation.RELU;
            default -> throw config.unsupported(setting.key() + " is \"" + name
                    + "\"; supported are silu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu");
        };
    }
}
