package dev.optgptq.calibrate.family;

import dev.optgptq.calibrate.family.BlockSpec.Parameter;
import dev.optgptq.calibrate.family.BlockSpec.ParameterSpec;
import dev.optgptq.formats.dtype.DType;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** Resolves the mixer of a block. */
record MixerResolver(Family family, ConfigReader config, int hidden, int positions, int block) {

    Mixer resolve() {
        if (family.delta() != null && family.delta().layers().holds(config, block)) {
            return delta(family.delta());
        }
        return family.latent() != null ? latent(family.latent()) : attention(form());
    }

    private Family.AttentionForm form() {
        return Objects.requireNonNull(family.attention(), "a description without attention");
    }

    List<Family.LinearForm> linears(Mixer mixer) {
        return switch (mixer) {
            case Mixer.Attention attention -> form().linears();
            case Mixer.LatentAttention latent -> Objects.requireNonNull(family.latent()).linears().stream()
                    .filter(linear -> latent.queryRank() > 0
                            ? linear.projection() != Projection.QUERY
                            : linear.projection() != Projection.QUERY_DOWN
                                    && linear.projection() != Projection.QUERY_UP)
                    .toList();
            case Mixer.DeltaNet delta -> Objects.requireNonNull(family.delta()).linears();
        };
    }

    void parameters(Mixer mixer, String prefix, Map<Parameter, ParameterSpec> into) {
        switch (mixer) {
            case Mixer.Attention attention -> {
                if (form().sinks() != null) {
                    into.put(Parameter.SINKS, BlockResolver.parameter(prefix + form().sinks(), 1, attention.heads()));
                }
            }
            case Mixer.LatentAttention latent -> {
                // none
            }
            case Mixer.DeltaNet delta -> {
                Family.DeltaForm names = Objects.requireNonNull(family.delta());
                int channels = 2 * delta.keyWidth() + delta.valueWidth();
                into.put(Parameter.CONVOLUTION, new ParameterSpec(prefix + names.convolution(),
                        List.of((long) channels, 1L, (long) delta.kernel()), channels, delta.kernel()));
                into.put(Parameter.DECAY, BlockResolver.parameter(prefix + names.decay(), 1, delta.valueHeads()));
                into.put(Parameter.STEP_BIAS,
                        BlockResolver.parameter(prefix + names.stepBias(), 1, delta.valueHeads()));
            }
        }
    }

    private Mixer.Attention attention(Family.AttentionForm form) {
        int heads = form.heads().positiveInt(config, block);
        int kvHeads = Setting.optionalInt(form.kvHeads(), config, block).orElse(heads);
        if (heads % kvHeads != 0) {
            throw config.bad(heads + " attention heads cannot share " + kvHeads + " key-value heads evenly");
        }
        int headDim = Setting.optionalInt(form.headDim(), config, block).orElseGet(() -> headDim(heads));
        if ((long) headDim * (heads + 2L * kvHeads) > Integer.MAX_VALUE) {
            throw config.bad(heads + " attention heads of " + headDim + " elements are more than any model has");
        }
        double scale = Setting.optionalNumber(form.scale(), config).orElse(1 / Math.sqrt(headDim));
        Family.ClipForm clip = form.clip();
        double limit = clip == null ? 0 : Setting.optionalNumber(clip.limit(), config).orElse(0.0);
        return new Mixer.Attention(heads, kvHeads, headDim, (float) scale, window(form.window()),
                Setting.optionalNumber(form.softcap(), config).orElse(0.0).floatValue(),
                position(form.position(), heads, headDim, scale),
                clip == null || limit == 0 ? Mixer.Clip.NONE : new Mixer.Clip((float) limit, clip.beforeNorm()),
                Boolean.TRUE.equals(form.gated()));
    }

    private int headDim(int heads) {
        if (hidden % heads != 0) {
            throw config.bad("hidden size " + hidden + " is not a multiple of " + heads + " attention heads");
        }
        return hidden / heads;
    }

    private int window(Family.@Nullable WindowForm form) {
        if (form == null) {
            return 0;
        }
        boolean asked = form.when() == null || form.when().flag(config);
        return asked && LayerRule.anyOrAll(form.layers(), config, block)
                ? Setting.optionalInt(form.size(), config, block).orElse(0)
                : 0;
    }

    private Position position(Family.PositionForm form, int heads, int headDim, double scale) {
        return switch (form) {
            case Family.RotaryForm rotary -> {
                Position turned = RotaryReader.of(config, rotary, headDim, positions)
                        .read(rotary.local() != null && rotary.local().layers().holds(config, block));
                yield rotary.without() != null && rotary.without().holds(config, block)
                        ? new Position.None()
                        : turned;
            }
            case Family.AlibiForm alibi -> new Position.Alibi(maxBias(alibi),
                    Boolean.TRUE.equals(alibi.scaled()) ? scale : 1,
                    alibi.rounded() == null ? DType.F32 : alibi.rounded(), slopes(alibi.slopes(), heads));
            case Family.NoPositionForm() -> new Position.None();
        };
    }

    /** As config.json lists them; none where it does not. */
    private List<Double> slopes(@Nullable String key, int heads) {
        if (key == null || !config.has(key)) {
            return List.of();
        }
        JsonNode found = config.at(key);
        if (found.size() != heads
                || !found.valueStream().allMatch(slope -> slope.isNumber() && slope.doubleValue() >= 0)) {
            throw config.bad(key + " has " + found.size() + " entries; expected " + heads
                    + " numbers from 0 on, one for each query head");
        }
        return found.valueStream().map(JsonNode::doubleValue).toList();
    }

    private double maxBias(Family.AlibiForm form) {
        double maxBias = form.maxBias().number(config);
        if (!(maxBias > 0)) {
            throw config.bad(form.maxBias().key() + " is " + maxBias + "; expected a positive number");
        }
        return maxBias;
    }

    private Mixer.LatentAttention latent(Family.LatentForm form) {
        int plain = form.plainDim().positiveInt(config);
        int rotary = form.rotaryDim().positiveInt(config);
        RotaryReader reader = RotaryReader.of(config, form.position(), rotary, positions);
        double scale = reader.scoreFactor() / Math.sqrt(plain + rotary);
        return new Mixer.LatentAttention(form.heads().positiveInt(config),
                Setting.optionalInt(form.queryRank(), config, block).orElse(0), form.kvRank().positiveInt(config),
                plain, rotary, form.valueDim().positiveInt(config), (float) scale, reader.read(false));
    }

    private Mixer.DeltaNet delta(Family.DeltaForm form) {
        int keyHeads = form.keyHeads().positiveInt(config);
        int valueHeads = form.valueHeads().positiveInt(config);
        if (valueHeads % keyHeads != 0) {
            throw config.bad(valueHeads + " value heads cannot share " + keyHeads + " key heads evenly");
        }
        return new Mixer.DeltaNet(keyHeads, valueHeads, form.keyDim().positiveInt(config),
                form.valueDim().positiveInt(config), form.kernel().positiveInt(config));
    }
}
