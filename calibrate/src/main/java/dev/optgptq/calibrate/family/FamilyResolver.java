package dev.optgptq.calibrate.family;

import dev.optgptq.calibrate.family.ModelSpec.Attention;
import dev.optgptq.calibrate.family.ModelSpec.BlockLinear;
import dev.optgptq.calibrate.family.ModelSpec.Mlp;
import dev.optgptq.calibrate.family.ModelSpec.Norm;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import java.util.List;

/** Fills a family's description with the values of one config.json. */
record FamilyResolver(Family family, ModelConfig config) {

    ModelSpec resolve() {
        family.requirements().forEach(requirement -> requirement.check(family.family(), config));
        Family.Sizes sizes = family.sizes();
        int hidden = sizes.hidden().positiveInt(config);
        Attention attention = attention(hidden);
        return new ModelSpec(family.family(), hidden, sizes.blocks().positiveInt(config),
                sizes.vocabulary().positiveInt(config), sizes.positions().positiveInt(config), norm(), attention,
                position(attention.headDim()), new Mlp(family.mlp().form(), activation(), intermediate(hidden)),
                family.tiedHead().flag(config), family.tensors(), linears());
    }

    private Norm norm() {
        return new Norm(family.norm().kind(), (float) family.norm().eps().number(config),
                family.norm().bias().flag(config));
    }

    private Attention attention(int hidden) {
        Family.AttentionForm form = family.attention();
        int heads = form.heads().positiveInt(config);
        int kvHeads = Setting.optionalInt(form.kvHeads(), config).orElse(heads);
        if (heads % kvHeads != 0) {
            throw contradiction(heads + " attention heads cannot share " + kvHeads + " key-value heads evenly");
        }
        int headDim = Setting.optionalInt(form.headDim(), config).orElseGet(() -> headDim(hidden, heads));
        if ((long) headDim * (heads + 2L * kvHeads) > Integer.MAX_VALUE) {
            throw contradiction(heads + " attention heads of " + headDim + " elements are more than any model has");
        }
        double scale = Setting.optionalNumber(form.scale(), config).orElse(1 / Math.sqrt(headDim));
        int window = Setting.optionalInt(form.window(), config).orElse(0);
        return new Attention(heads, kvHeads, headDim, (float) scale, window);
    }

    private int headDim(int hidden, int heads) {
        if (hidden % heads != 0) {
            throw contradiction("hidden size " + hidden + " is not a multiple of " + heads + " attention heads");
        }
        return hidden / heads;
    }

    private int intermediate(int hidden) {
        Family.Sizes sizes = family.sizes();
        if (sizes.intermediate() != null) {
            return sizes.intermediate().positiveInt(config);
        }
        double width = hidden * Setting.optionalNumber(sizes.expansion(), config).orElseThrow();
        if (width < 1 || width > Integer.MAX_VALUE || width != Math.rint(width)) {
            throw contradiction("an expansion of hidden size " + hidden + " to " + width + " is no width of an MLP");
        }
        return (int) width;
    }

    private Position position(int headDim) {
        return switch (family.position()) {
            case Family.RotaryForm form -> new RotaryReader(config).read(headDim, form.layout());
            case Family.AlibiForm form -> new Position.Alibi(form.maxBias().number(config));
            case Family.NoPositionForm() -> new Position.None();
        };
    }

    private Activation activation() {
        String name = family.mlp().activation().text(config);
        return switch (name) {
            case "silu", "swish" -> Activation.SILU;
            case "gelu" -> Activation.GELU;
            case "gelu_new", "gelu_pytorch_tanh", "gelu_fast" -> Activation.GELU_TANH;
            case "relu" -> Activation.RELU;
            default -> throw new UserError(UserError.Code.UNSUPPORTED_MODEL,
                    config.file() + ": " + family.mlp().activation().key() + " is \"" + name
                            + "\"; supported are silu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu");
        };
    }

    private List<BlockLinear> linears() {
        return family.linears().stream()
                .map(form -> new BlockLinear(form.role(), form.projection(), form.bias().flag(config)))
                .toList();
    }

    private UserError contradiction(String what) {
        return new UserError(UserError.Code.BAD_MODEL,
                config.file() + ": " + what + "; config.json is damaged or from another model");
    }
}
