package dev.optgptq.cli.command;

import dev.optgptq.gptq.bench.ModelShape;
import dev.optgptq.gptq.bench.plan.CardRates;
import dev.optgptq.gptq.bench.plan.JobPlan;
import dev.optgptq.gptq.bench.plan.JobPlanner;
import dev.optgptq.gptq.settings.SettingChecks;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;

/** What bench --plan computes. */
final class BenchPlanOptions {

    private static final List<String> OF_PLAN = List.of("--nodes", "--cards", "--rates", "--card-memory", "--peer",
            "--network");
    private static final List<String> OF_RUNNING = List.of("--precision", "--device", "--threads", "--arch");
    private static final long MOST_TOKENS = 1L << 28;

    @Option(names = "--plan", description = "Compute the time and memory of plain GPTQ at 4 bits from measured rates, "
            + "without running anything.")
    boolean plan;

    @Option(names = "--nodes", paramLabel = "N", description = "Nodes of the job. Default: 1")
    private int nodes = 1;

    @Option(names = "--cards", paramLabel = "N", description = "Cards of each node. Default: 1")
    private int cards = 1;

    @Option(names = "--rates", paramLabel = "FILE", description = "What bench --shape NAME --json FILE wrote on the card. "
            + "Default: an NVIDIA H200 at llama-7b")
    private @Nullable Path rates;

    @Option(names = "--card-memory", paramLabel = "GB", description = "Free memory of a card. Default: 64")
    private double cardMemory = 64;

    @Option(names = "--peer", paramLabel = "GB/S", description = "From card to card; assumed, not measured. Default: 20")
    private double peer = 20;

    @Option(names = "--network", paramLabel = "GB/S", description = "Into a node; assumed, not measured. Default: 12.5")
    private double network = 12.5;

    /** UserError BAD_SETTING for an option of --plan without it, and for one that it does not use. */
    void checkIdle(ParseResult parsed) {
        for (String option : OF_RUNNING) {
            SettingChecks.require(!plan || !parsed.hasMatchedOption(option), option, "--plan",
                    "something to run, which a plan is not");
        }
        for (String option : OF_PLAN) {
            SettingChecks.require(plan || !parsed.hasMatchedOption(option), option, "no --plan",
                    "it, the only mode that uses that");
        }
    }

    JobPlan plan(ModelShape shape, int samples, int sequenceLength, String tool) {
        SettingChecks.require(nodes >= 1 && nodes <= 1024, "--nodes", nodes, "1 to 1024");
        SettingChecks.require(cards >= 1 && cards <= 64, "--cards", cards, "1 to 64");
        SettingChecks.require((long) samples * sequenceLength <= MOST_TOKENS, "--samples", samples,
                "at most " + MOST_TOKENS + " tokens in all sequences");
        positive("--card-memory", cardMemory);
        positive("--peer", peer);
        positive("--network", network);
        return new JobPlanner(rates == null ? CardRates.bundled() : CardRates.read(rates), nodes, cards,
                new JobPlanner.Links(1e9 * peer, 1e9 * network), (long) (1e9 * cardMemory))
                .plan(shape, samples, sequenceLength, tool);
    }

    private static void positive(String option, double value) {
        SettingChecks.require(value > 0 && value < 1e6, option, Double.toString(value), "a number above 0");
    }
}
