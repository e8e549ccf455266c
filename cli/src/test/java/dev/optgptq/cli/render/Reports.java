package dev.optgptq.cli.render;

import dev.optgptq.calibrate.eval.Divergence;
import dev.optgptq.calibrate.eval.PerplexityComparison;
import dev.optgptq.gptq.report.Ablation.Step;
import dev.optgptq.gptq.report.Ablation;
import dev.optgptq.gptq.report.RunReport.Layer;
import dev.optgptq.gptq.report.RunReport.Phase;
import dev.optgptq.gptq.report.RunReport.Score;
import dev.optgptq.gptq.report.RunReport;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;

/** Reports to render, made by hand. */
public final class Reports {

    private static final List<String> ROLES = List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
            "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj");

    private Reports() {}

    /** A sound run of a small llama. */
    public static RunReport sound(int blocks) {
        return report(blocks, "models/wiki-llama-14m", null, List.of(),
                new RunReport.Quality("data/wikitext2-test.txt", 1024, 356, new Score(24.8650, 23.9012, 25.8676),
                        new Score(25.0797, 24.1033, 26.0957),
                        new PerplexityComparison(0.2147, 0.1862, 0.2431, 0.0086, 0.0075, 0.0098, 1e-9),
                        new Divergence(0.00912, 0.00885, 0.00939, 0.0061, 0.0523, 0.9472, 0.9455, 0.9489)));
    }

    /** The same without an evaluation. */
    public static RunReport unevaluated() {
        return report(6, "models/wiki-llama-14m", null, List.of(), null);
    }

    /** A run with a bad layer, a warning, and a name that tries to break out of the page. */
    public static RunReport troubled() {
        return report(6, "models/<script>alert('x')</script>&\"quoted\"",
                "the Hessian was not positive definite up to damp 0.64; rounded to nearest instead",
                List.of("vLLM loads GPTQ checkpoints only with 4 or 8 bits"), null);
    }

    /** A run that was interrupted once, with steps beyond plain GPTQ, some of which did not help. */
    public static RunReport refined(int blocks) {
        RunReport sound = sound(blocks);
        SequencedMap<String, String> command = command();
        command.put("--tune-norms", "true");
        return new RunReport(sound.schemaVersion(), sound.tool(), sound.started(),
                new RunReport.Resumed(List.of("2026-11-23T10:00:00Z"), 1), command, sound.defaults(),
                sound.machine(), sound.model(), sound.layers(), own(), chosen(blocks), sound.phases(), sound.memory(),
                sound.size(),
                sound.range(), sound.quality(), sound.seconds(), sound.warnings(), ablation(blocks));
    }

    private static List<RunReport.OwnGrid> own() {
        return List.of(new RunReport.OwnGrid("model\\.layers\\.0\\.self_attn\\.o_proj$", 1, null, null, null),
                new RunReport.OwnGrid("model\\.layers\\.1\\.mlp\\.down_proj$", 1, 8, -1, true));
    }

    private static RunReport.ChosenBits chosen(int blocks) {
        List<RunReport.Choice> choices = new ArrayList<>();
        for (int block = 0; block < blocks; block++) {
            choices.add(new RunReport.Choice(block, List.of("mlp.gate_proj", "mlp.up_proj"), 3, List.of(
                    new RunReport.Width(2, 1000, 0.02), new RunReport.Width(3, 1400, 0.004))));
            choices.add(new RunReport.Choice(block, List.of("mlp.down_proj"), block == 0 ? 8 : 2,
                    List.of(new RunReport.Width(2, 1000, 0.02), new RunReport.Width(8, 3400, 0))));
        }
        return new RunReport.ChosenBits(5000, 4800, 3.45, 0.03, choices);
    }

    private static Ablation ablation(int blocks) {
        Random random = new Random(2);
        List<Step> steps = new ArrayList<>();
        for (int block = 0; block < blocks; block++) {
            double error = 0.01 * Math.exp(0.3 * random.nextGaussian());
            for (String name : List.of("token weights", "error propagation", "learned rounding")) {
                double gain = name.equals("learned rounding") ? 0.4 : 0.03;
                double after = error * (1 - gain - 0.05 * random.nextGaussian());
                steps.add(new Step(name, block, "error of the block's output, share of it", error, after,
                        after < error, 2 + random.nextDouble(),
                        name.equals("learned rounding") ? "200 steps, <b>best</b> at 180" : null));
                error = Math.min(error, after);
            }
        }
        steps.add(new Step("a <script>alert('y')</script> step", 0, "error of the block's output, share of it",
                0.006,
                Double.POSITIVE_INFINITY, false, 0.4, null));
        steps.add(new Step("tuned scales and norms", null, "KL divergence, nats per token", 0.0312, 0.0250, true, 9.5,
                null));
        return Ablation.of("the last 16 of the calibration sequences", 8192, "KL divergence, nats per token",
                new Ablation.Models(0.0, 0.0391, 0.0250, 3.17, 3.19,
                        Map.of("learned rounding", 0.0312, "tuned scales and norms", 0.0250)),
                new Ablation.Times(24.0, Map.of()), steps);
    }

    private static RunReport report(int blocks, String model, @Nullable String problem, List<String> warnings,
            RunReport.@Nullable Quality quality) {
        return new RunReport(1, "opt-gptq 0.1.0", "2026-11-23T09:30:00Z",
                new RunReport.Resumed(List.of(), 0), command(),
                List.of("--calibrator", "--bits", "--group-size", "--seed"),
                new RunReport.Machine("cpu", "AMD EPYC 9R14, 2 threads, 512-bit vectors, OpenBLAS 0.3.31",
                        "F32",
                        "25.0.3+9-LTS",
                        "Linux amd64", 2),
                new RunReport.Model(model, model + "-gptq-w4g128", "llama", blocks, 384, 4096, 13_767_552L,
                        12_189_696L),
                layers(blocks, problem), List.of(), null, phases(),
                new RunReport.Memory(412_000_000L, 201_326_592L, 398_458_880L, 0),
                new RunReport.Size(27_535_104L, 9_608_128L, 16, 4.15625),
                new RunReport.Range("float16", 140.0, "residual stream of block 5", 0.49), quality, 57.3, warnings,
                null);
    }

    private static SequencedMap<String, String> command() {
        SequencedMap<String, String> command = new LinkedHashMap<>();
        command.put("--calibrator", "gptq");
        command.put("--bits", "4");
        command.put("--group-size", "128");
        command.put("--symmetric", "true");
        command.put("--act-order", "static");
        command.put("--damp", "0.01");
        command.put("--calibration", "data/wikitext2-train-head.txt");
        command.put("--seed", "0");
        return command;
    }

    /** Three experts in a block, one of which no token passed. */
    static RunReport mixture() {
        RunReport sound = sound(1);
        List<Layer> layers = new ArrayList<>();
        long[] tokens = {96, 0, 2048};
        for (int expert = 0; expert < tokens.length; expert++) {
            String role = "block_sparse_moe.experts." + expert + ".w1";
            layers.add(
                    new Layer("model.layers.0." + role, role, 0, 384, 1024, 2e-3, 2e-3, 0.01, 1, 0, 3.5, 140.0, expert,
                            tokens[expert], Math.max(0, 1 - tokens[expert] / 384.0), 0.05, null));
        }
        return new RunReport(sound.schemaVersion(), sound.tool(), sound.started(), sound.resumed(), sound.command(),
                sound.defaults(), sound.machine(), sound.model(), layers, sound.modules(), sound.allocation(),
                sound.phases(), sound.memory(), sound.size(),
                sound.range(), sound.quality(), sound.seconds(), sound.warnings(), sound.ablation());
    }

    private static List<Phase> phases() {
        return List.of(new Phase("open", 0.3, 0), new Phase("tokenize", 0.9, 0), new Phase("load", 0.8, 0),
                new Phase("forward", 17.9, 2.3e12), new Phase("hessian", 7.6, 9.1e11), new Phase("solve", 2.1, 1.2e11),
                new Phase("write", 0.2, 0), new Phase("verify", 0.4, 0), new Phase("evaluate", 27.1, 3e12));
    }

    private static List<Layer> layers(int blocks, @Nullable String problem) {
        Random random = new Random(1);
        List<Layer> layers = new ArrayList<>();
        for (int block = 0; block < blocks; block++) {
            for (int role = 0; role < ROLES.size(); role++) {
                double error = 2e-3 * Math.exp(0.6 * role + 0.05 * block + 0.3 * random.nextGaussian());
                boolean bad = problem != null && block == 2 && role == 6;
                layers.add(new Layer("model.layers." + block + "." + ROLES.get(role), ROLES.get(role), block,
                        role == 6 ? 1024 : 384, role == 4 || role == 5 ? 1024 : 384, bad ? 0.41 : error, 1.3 * error,
                        bad ? 0.64 : 0.01, bad ? 7 : 1, role == 6 ? 3 : 0, 3.5, 140.0, null, 4096L, null, 0.05,
                        bad ? problem : null));
            }
        }
        return layers;
    }
}
