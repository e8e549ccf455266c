package dev.optgptq.calibrate.family;

import dev.optgptq.calibrate.family.Family.LinearForm;
import java.util.List;

/**
 * The sizes of a block's linears.
 *
 * @param prefix of the block's tensors
 */
record LinearResolver(ConfigReader config, String prefix, int hidden, Mixer mixer) {

    /** @param intermediate width of the MLP that it belongs to, if to any */
    LinearSpec of(LinearForm form, int intermediate) {
        String module = prefix + form.role();
        return build(form, module, form.role(), intermediate, LinearSpec.NO_EXPERT, 0, 1);
    }

    /** @param experts how many there are, which may share a tensor */
    LinearSpec ofExpert(LinearForm form, int intermediate, int expert, int experts) {
        String role = form.role().replace("{}", Integer.toString(expert));
        boolean together = form.weight() != null;
        return build(form, prefix + role, role, intermediate, expert, together ? expert : 0, together ? experts : 1);
    }

    private LinearSpec build(LinearForm form, String module, String role, int intermediate, int expert, int index,
            int matrices) {
        List<Integer> parts = parts(form.projection(), intermediate);
        RowOrder rows = new RowOrder(parts.size() == 1 ? 1 : groups(form.rows(), parts), parts);
        boolean bias = form.bias().flag(config);
        String weight = form.weight() == null ? module + ".weight" : prefix + form.weight();
        String biasTensor = form.biasTensor() == null ? module + ".bias" : prefix + form.biasTensor();
        return new LinearSpec(module, role, form.projection(), expert, inputs(form.projection(), intermediate),
                rows.rows(), bias, new WeightView(weight, biasTensor, rows, form.stored(), index, matrices));
    }

    private int groups(WeightView.Rows rows, List<Integer> parts) {
        return switch (rows) {
            case CONCATENATED -> 1;
            case PER_HEAD -> switch (mixer) {
                case Mixer.Attention attention -> attention.heads();
                case Mixer.LatentAttention latent -> latent.heads();
                case Mixer.DeltaNet delta -> delta.valueHeads();
            };
            case PER_KV_GROUP -> switch (mixer) {
                case Mixer.Attention attention -> attention.kvHeads();
                case Mixer.LatentAttention latent -> latent.heads();
                case Mixer.DeltaNet delta -> delta.keyHeads();
            };
            case INTERLEAVED_PAIRS -> parts.getFirst();
        };
    }

    private int inputs(Projection projection, int intermediate) {
        return switch (projection.site()) {
            case ATTENTION_INPUT, MLP_INPUT, EXPERT_INPUT -> hidden;
            case QUERY_LATENT -> latent().queryRank();
            case KEY_VALUE_LATENT -> latent().kvRank();
            case ATTENTION_OUTPUT -> mixer.outputWidth();
            case MLP_OUTPUT, EXPERT_OUTPUT -> intermediate;
        };
    }

    private List<Integer> parts(Projection projection, int intermediate) {
        return switch (projection) {
            case QUERY, KEY, VALUE, QUERY_KEY_VALUE, QUERY_GATE -> ofAttention(projection);
            case QUERY_DOWN -> List.of(latent().queryRank());
            case QUERY_UP -> queries(latent());
            case KEY_VALUE_DOWN -> List.of(latent().kvRank(), latent().rotaryDim());
            case KEY_VALUE_UP ->
                List.of(latent().heads() * latent().plainDim(), latent().heads() * latent().valueDim());
            case DELTA_QUERY_KEY_VALUE -> List.of(delta().keyWidth(), delta().keyWidth(), delta().valueWidth());
            case DELTA_QUERY_KEY_VALUE_GATE ->
                List.of(delta().keyWidth(), delta().keyWidth(), delta().valueWidth(), delta().valueWidth());
            case DELTA_GATE -> List.of(delta().valueWidth());
            case DELTA_BETA, DELTA_DECAY -> List.of(delta().valueHeads());
            case DELTA_BETA_DECAY -> List.of(delta().valueHeads(), delta().valueHeads());
            case GATE, UP, EXPERT_GATE, EXPERT_UP -> List.of(intermediate);
            case GATE_UP, EXPERT_GATE_UP -> List.of(intermediate, intermediate);
            case ATTENTION_OUTPUT, DOWN, EXPERT_DOWN -> List.of(hidden);
        };
    }

    private List<Integer> ofAttention(Projection projection) {
        if (mixer instanceof Mixer.LatentAttention latent) {
            return queries(latent);
        }
        Mixer.Attention attention = (Mixer.Attention) mixer;
        int queries = attention.queryWidth();
        int keys = attention.kvWidth();
        return switch (projection) {
            case QUERY -> List.of(queries);
            case KEY, VALUE -> List.of(keys);
            case QUERY_GATE -> List.of(queries, queries);
            case QUERY_KEY_VALUE -> List.of(queries, keys, keys);
            default -> throw new IllegalArgumentException(projection + " is not attention's");
        };
    }

    /** Every head's plain elements, and those that turn. */
    private static List<Integer> queries(Mixer.LatentAttention latent) {
        return List.of(latent.heads() * latent.plainDim(), latent.heads() * latent.rotaryDim());
    }

    private Mixer.LatentAttention latent() {
        return (Mixer.LatentAttention) mixer;
    }

    private Mixer.DeltaNet delta() {
        return (Mixer.DeltaNet) mixer;
    }
}
