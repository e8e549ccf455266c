package dev.optgptq.calibrate.family;

import dev.optgptq.calibrate.family.BlockSpec.Parameter;
import dev.optgptq.calibrate.family.BlockSpec.ParameterSpec;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/** Resolves the blocks of a family. */
record BlockResolver(Family family, ConfigReader config, int hidden, int positions) {

    BlockSpec resolve(int index) {
        String prefix = family.block().replace("{}", Integer.toString(index)) + ".";
        SequencedMap<Parameter, ParameterSpec> parameters = new LinkedHashMap<>();
        List<LinearSpec> linears = new ArrayList<>();

        MixerResolver mixers = new MixerResolver(family, config, hidden, positions, index);
        Mixer mixer = mixers.resolve();
        LinearResolver linear = new LinearResolver(config, prefix, hidden, mixer);
        mixers.linears(mixer).forEach(form -> linears.add(linear.of(form, 0)));
        mixers.parameters(mixer, prefix, parameters);

        FeedForwardResolver feedForwards = new FeedForwardResolver(family, config, hidden, index);
        FeedForward feedForward = feedForwards.resolve();
        feedForwards.linears(feedForward, linear, linears);
        feedForwards.parameters(feedForward, prefix, parameters);

        double scale = Setting.optionalNumber(family.residualScale(), config).orElse(1.0);
        return new BlockSpec(index, prefix, norms(mixer, prefix), family.residual(), (float) scale, mixer, feedForward,
                linears, parameters);
    }

    private Map<NormSlot, NormSpec> norms(Mixer mixer, String prefix) {
        Map<NormSlot, NormSpec> norms = new EnumMap<>(NormSlot.class);
        family.norms().forEach((slot, place) -> {
            int width = width(slot, mixer);
            if (width > 0) {
                norms.put(slot, NormResolver.of(family, config, place, prefix + place.name(), width,
                        head(mixer)));
            }
        });
        return norms;
    }

    /** Columns that the norm of a slot has; 0 where this block has no such place. */
    private int width(NormSlot slot, Mixer mixer) {
        return switch (slot) {
            case BEFORE_ATTENTION, AFTER_ATTENTION, BEFORE_MLP, AFTER_MLP -> hidden;
            case QUERY -> mixer instanceof Mixer.Attention attention ? attention.queryWidth() : 0;
            case KEY -> mixer instanceof Mixer.Attention attention ? attention.kvWidth() : 0;
            case QUERY_LATENT -> mixer instanceof Mixer.LatentAttention latent ? latent.queryRank() : 0;
            case KEY_VALUE_LATENT -> mixer instanceof Mixer.LatentAttention latent ? latent.kvRank() : 0;
            case DELTA -> mixer instanceof Mixer.DeltaNet delta ? delta.valueWidth() : 0;
        };
    }

    private static int head(Mixer mixer) {
        return switch (mixer) {
            case Mixer.Attention attention -> attention.headDim();
            case Mixer.LatentAttention latent -> latent.headDim();
            case Mixer.DeltaNet delta -> delta.valueDim();
        };
    }

    /** A tensor of a vector or matrix that is used as it lies. */
    static ParameterSpec parameter(String name, int rows, int columns) {
        return new ParameterSpec(name, rows == 1 ? List.of((long) columns) : List.of((long) rows, (long) columns), rows,
                columns);
    }
}
