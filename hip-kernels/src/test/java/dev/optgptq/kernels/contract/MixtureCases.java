package dev.optgptq.kernels.contract;

import static dev.optgptq.kernels.contract.OpCase.op;
import static dev.optgptq.kernels.contract.Values.normal;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.ops.Routing;
import dev.optgptq.kernels.ops.Routing.GroupScore;
import dev.optgptq.kernels.ops.Routing.Scoring;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The cases of MixtureOps: routers as models have them, around the vectors of the CPU and the 256 threads of a block. */
final class MixtureCases {

    private static final long[] SIZES = {1, 2, 3, 7, 8, 9, 16, 33, 100, 384};

    /** With more experts, logits so far apart would drown all scores but a few. */
    private static final int MOST_APART = 64;

    private MixtureCases() {}

    static List<OpCase> cases() {
        List<OpCase> cases = new ArrayList<>();
        for (Routing routing : routings()) {
            cases.add(route(5, routing, false, normal(2), ""));
            cases.add(route(5, routing, true, normal(2), ""));
            cases.add(route(4, routing, false, Values.integers(0, 2), " with ties"));
            cases.add(route(4, routing, true, Values.integers(0, 2), " with ties"));
        }
        cases.add(route(0, new Routing(Scoring.SOFTMAX, 4, 2, true, 1), false, normal(1), ""));
        cases.add(route(2, new Routing(Scoring.SOFTMAX, 9, 3, true, 1), false, normal(60), " far apart"));
        cases.add(route(2, new Routing(Scoring.SIGMOID, 9, 3, true, 1), false, normal(30), " far apart"));
        cases.add(route(3, new Routing(Scoring.SIGMOID, 5, 5, false, 1), false,
                Values.of(1, Double.NaN, -3, Double.NaN, 2), " with NaN"));
        for (int[] size : new int[][] {{1, 1, 1}, {7, 2, 4}, {300, 8, 60}, {130, 2, 3}, {0, 2, 4}, {257, 1, 2}}) {
            cases.add(sort(size[0], size[1], size[2]));
        }
        gradients().forEach(gradient -> cases.add(gradient.backward()));
        routings().stream().filter(routing -> routing.experts() > MOST_APART)
                .forEach(routing -> cases.add(routeGradient(5, routing).backward()));
        for (long d : SIZES) {
            cases.add(scatter(5, 9, d, true));
            cases.add(scatter(5, 9, d, false));
        }
        cases.add(scatter(700, 900, 129, true));
        cases.add(scatter(0, 4, 8, true));
        cases.add(scatter(3, 4, 0, true));
        return cases;
    }

    static List<GradientCase> gradients() {
        List<GradientCase> cases = new ArrayList<>();
        routings().stream().filter(routing -> routing.experts() <= MOST_APART)
                .forEach(routing -> cases.add(routeGradient(5, routing)));
        for (long d : SIZES) {
            cases.add(scatterGradient(5, 9, d, true));
            cases.add(scatterGradient(5, 9, d, false));
        }
        cases.add(scatterGradient(700, 900, 129, true));
        cases.add(scatterGradient(0, 4, 8, true));
        cases.add(scatterGradient(3, 4, 0, true));
        return cases;
    }

    /** Mixtral, OLMoE and Qwen, gpt-oss, DeepSeek-V2 and V3, and the smallest that there are. */
    private static List<Routing> routings() {
        return List.of(new Routing(Scoring.SOFTMAX, 8, 2, true, 1), new Routing(Scoring.SOFTMAX, 6, 3, false, 1),
                new Routing(Scoring.SOFTMAX, 60, 4, false, 2.5f), new Routing(Scoring.SOFTMAX, 300, 8, true, 1),
                new Routing(Scoring.SOFTMAX, 8, 3, false, 4, 2, 1, GroupScore.MAX),
                new Routing(Scoring.SIGMOID, 8, 2, true, 2.5f, 4, 2, GroupScore.SUM_OF_TWO),
                new Routing(Scoring.SIGMOID, 256, 8, true, 2.5f, 8, 4, GroupScore.SUM_OF_TWO),
                new Routing(Scoring.SIGMOID, 33, 5, false, 1), new Routing(Scoring.SIGMOID, 4, 1, true, 1, 4, 1,
                        GroupScore.SUM_OF_TWO),
                new Routing(Scoring.SOFTMAX, 1, 1, true, 1), new Routing(Scoring.SOFTMAX, 16, 16, true, 1));
    }

    /** 4096 tokens of Qwen3-30B-A3B and of DeepSeek-V3, and what an expert of the first gives back. */
    static List<OpCase> bench() {
        Routing qwen = new Routing(Scoring.SOFTMAX, 128, 8, true, 1);
        Routing deepseek = new Routing(Scoring.SIGMOID, 256, 8, true, 2.5f, 8, 4, GroupScore.SUM_OF_TWO);
        long n = 4096;
        return List.of(route(n, qwen, false, normal(2), "").bytes(n * 128 * 4.0),
                route(n, deepseek, true, normal(2), "").bytes(n * 256 * 4.0),
                routeGradient(n, qwen).backward().bytes(n * 128 * 8.0), sort((int) n, 8, 128).bytes(n * 8 * 12.0),
                scatter(256, n, 2048, true).bytes(256 * 2048 * 12.0),
                scatterGradient(256, n, 2048, true).backward().bytes(256 * 2048 * 12.0));
    }

    private static String name(long tokens, Routing routing) {
        return tokens + " tokens, " + routing.active() + " of " + routing.experts() + ", " + routing.scoring()
                + (routing.renormalise() ? " renormalised" : "") + (routing.groups() > 1
                        ? ", " + routing.activeGroups() + " of " + routing.groups() + " groups by "
                                + routing.groupScore()
                        : "");
    }

    private static OpCase route(long n, Routing routing, boolean biased, Values logits, String note) {
        return op("route", name(n, routing) + (biased ? ", bias" : "") + note)
                .input("logits", DType.F32, n, routing.experts(), logits)
                .input("bias", DType.F32, 1, routing.experts(), Values.fractions(4))
                .output("experts", DType.I32, n, routing.active(), Tolerance.EXACT)
                .output("weights", DType.F32, n, routing.active(), Tolerance.sum(routing.experts()))
                .call((device, at) -> device.mixture().route(at.get("logits"), biased ? at.get("bias") : null, routing,
                        at.get("experts"), at.get("weights")));
    }

    /**
     * Logits, and groups of them, so far apart that a step of finite differences changes no choice; closer together where
     * there are many, as the sigmoid of a large one is 1 in float32 and the choice a tie.
     */
    private static GradientCase routeGradient(long n, Routing routing) {
        int experts = routing.experts();
        int size = experts / routing.groups();
        double step = experts <= MOST_APART ? 1.0 / 4 : 1.0 / 32;
        Values apart = Values.byIndex((row, e) -> step * ((e % size * 7 + row) % size - size * 0.5
                + ((e / size * 3 + row) % routing.groups() - routing.groups() / 2) * (size + 1)));
        OpCase route = op("routeGradient", name(n, routing)).input("logits", DType.F32, n, experts, apart)
                .output("experts", DType.I32, n, routing.active(), Tolerance.EXACT)
                .output("weights", DType.F32, n, routing.active(), Tolerance.sum(experts))
                .input("dWeights", DType.F32, n, routing.active(), normal(1))
                .output("dLogits", DType.F32, n, experts, Tolerance.sum(experts).ofTerms(1)).call((device, at) -> {
                    device.mixture().route(at.get("logits"), null, routing, at.get("experts"), at.get("weights"));
                    device.mixture().routeGradient(at.get("logits"), routing, at.get("experts"), at.get("dWeights"),
                            at.get("dLogits"));
                });
        return new GradientCase(route, (device, arena, at) -> {
            Tensor weights = arena.matrix(DType.F32, n, routing.active());
            device.mixture().route(at.get("logits"), null, routing, arena.matrix(DType.I32, n, routing.active()),
                    weights);
            return weights;
        }, "dWeights", Map.of("logits", "dLogits"));
    }

    private static OpCase sort(int tokens, int active, int experts) {
        long slots = (long) tokens * active;
        return op("sortByExpert", "[" + tokens + ", " + active + "] of " + experts)
                .input("experts", DType.I32, tokens, active, Values.integers(0, experts - 1))
                .output("tokens", DType.I32, 1, slots, Tolerance.EXACT)
                .output("slots", DType.I32, 1, slots, Tolerance.EXACT)
                .output("offsets", DType.I32, 1, experts + 1, Tolerance.EXACT).call((device, at) -> device.mixture()
                        .sortByExpert(at.get("experts"), at.get("tokens"), at.get("slots"), at.get("offsets")));
    }

    private static OpCase scatter(long n, long rows, long d, boolean weighed) {
        return op("scatterAddRows", "[" + n + ", " + d + "] to " + rows + (weighed ? ", weighed" : ""))
                .input("source", DType.F32, n, d, normal(1))
                .input("order", DType.I32, 1, n, Values.permutation((int) rows))
                .input("factors", DType.F32, 1, n, normal(1))
                .inPlace("target", DType.F32, rows, d, normal(1), Tolerance.roundings(2))
                .call((device, at) -> device.mixture().scatterAddRows(at.get("source"), at.get("order"),
                        weighed ? at.get("factors") : null, at.get("target")));
    }

    private static GradientCase scatterGradient(long n, long rows, long d, boolean weighed) {
        OpCase scatter = op("scatterAddRowsGradient",
                "[" + n + ", " + d + "] to " + rows + (weighed ? ", weighed" : ""))
                .input("source", DType.F32, n, d, Values.grid(1))
                .input("order", DType.I32, 1, n, Values.permutation((int) rows))
                .input("factors", DType.F32, 1, n, Values.grid(1))
                .input("dTarget", DType.F32, rows, d, normal(1))
                .output("dSource", DType.F32, n, d, Tolerance.roundings(1))
                .inPlace("dFactors", DType.F32, 1, n, Values.constant(0), Tolerance.sum(d).ofTerms(1))
                .call((device, at) -> device.mixture().scatterAddRowsGradient(at.get("source"), at.get("order"),
                        weighed ? at.get("factors") : null, at.get("dTarget"), at.get("dSource"),
                        weighed ? at.get("dFactors") : null));
        return new GradientCase(scatter, (device, arena, at) -> {
            Tensor target = arena.matrix(DType.F32, rows, d);
            device.matrix().fill(target, 0);
            device.mixture().scatterAddRows(at.get("source"), at.get("order"), weighed ? at.get("factors") : null,
                    target);
            return target;
        }, "dTarget", weighed
                ? Map.of("source", "dSource", "factors", "dFactors")
                : Map.of("source", "dSource"));
    }
}
