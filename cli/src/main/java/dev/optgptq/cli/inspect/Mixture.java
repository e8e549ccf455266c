package dev.optgptq.cli.inspect;

import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.FeedForward;
import dev.optgptq.calibrate.family.FeedForward.Router;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The experts of a model.
 *
 * @param experts in each block that has some
 * @param active how many a token goes through
 * @param width of an expert's MLP
 * @param shared width of the MLP that all tokens go through besides; 0 for none
 * @param blocks that have experts
 * @param router how they are chosen and weighed, for people
 * @param activeParameters weights that a token meets: all but the experts that it does not go through
 */
public record Mixture(int experts, int active, int width, int shared, int blocks, String router,
        long activeParameters) {

    /** Null for a model without experts. */
    static @Nullable Mixture of(ModelSpec spec, long parameters) {
        Optional<FeedForward.Experts> first = spec.blockSpecs().stream().map(BlockSpec::feedForward)
                .filter(FeedForward.Experts.class::isInstance).map(FeedForward.Experts.class::cast).findFirst();
        if (first.isEmpty()) {
            return null;
        }
        FeedForward.Experts form = first.get();
        Router router = form.router();
        FeedForward.Dense shared = form.shared();
        long idle = spec.blockSpecs().stream().mapToLong(Mixture::idle).sum();
        return new Mixture(router.experts(), router.active(), form.each().intermediateSize(),
                shared == null ? 0 : shared.intermediateSize(),
                (int) spec.blockSpecs().stream().filter(block -> block.feedForward() instanceof FeedForward.Experts)
                        .count(),
                words(router, spec), parameters - idle);
    }

    /** Weights of the experts of a block that a token does not go through. */
    private static long idle(BlockSpec block) {
        if (!(block.feedForward() instanceof FeedForward.Experts form)) {
            return 0;
        }
        long each = block.linears().stream().filter(linear -> linear.expert() == 0).mapToLong(Mixture::weights).sum();
        return (form.router().experts() - form.router().active()) * each;
    }

    private static long weights(LinearSpec linear) {
        return (long) linear.outputs() * linear.inputs() + (linear.bias() ? linear.outputs() : 0);
    }

    private static String words(Router router, ModelSpec spec) {
        List<String> words = new ArrayList<>();
        words.add(switch (router.scoring()) {
            case SOFTMAX -> "softmax";
            case SIGMOID -> "sigmoid";
        });
        if (spec.blockSpecs().stream()
                .anyMatch(block -> block.parameters().containsKey(BlockSpec.Parameter.ROUTER_CORRECTION))) {
            words.add("choice corrected by a bias");
        }
        if (router.activeGroups() < router.groups()) {
            words.add("within " + router.activeGroups() + " of " + router.groups() + " groups by their "
                    + switch (router.groupScore()) {
                        case MAX -> "best expert";
                        case SUM_OF_TWO -> "best two experts";
                    });
        }
        words.add(router.renormalise() ? "weights sum to 1" : "weights as scored");
        if (router.scale() != 1) {
            words.add("times " + router.scale());
        }
        return String.join(", ", words);
    }
}
