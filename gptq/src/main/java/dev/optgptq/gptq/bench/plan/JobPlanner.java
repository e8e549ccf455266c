package dev.optgptq.gptq.bench.plan;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.BlockSpec;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.gptq.bench.ModelShape;
import dev.optgptq.gptq.bench.plan.JobPlan.Phase;
import dev.optgptq.gptq.recipe.ModuleGrids;
import dev.optgptq.gptq.refine.SiteOwners;
import dev.optgptq.gptq.run.memory.MemoryJob;
import dev.optgptq.gptq.run.memory.MemoryNeed;
import dev.optgptq.gptq.run.memory.MemoryPlan;
import dev.optgptq.gptq.run.progress.WorkCount;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.kernels.ranks.Crew;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.ToDoubleFunction;

/**
 * Computes how long a job would take: its operations and bytes, as a run counts them, divided by measured rates, with the work
 * spread over cards and nodes as a run spreads it. It knows nothing of what a machine does beside.
 *
 * @param cards of each node
 * @param links between cards and between nodes
 * @param cardMemory bytes of a card
 */
public record JobPlanner(CardRates rates, int nodes, int cards, Links links, long cardMemory) {

    /** Plenty: what the host must have is a result. */
    private static final long HOST = 1L << 50;

    /**
     * Bytes per second.
     *
     * @param peer from card to card in a node
     * @param network into a node
     */
    public record Links(double peer, double network) {}

    public JobPlan plan(ModelShape shape, int samples, int sequenceLength, String tool) {
        ModelSpec spec = shape.spec();
        ModuleGrids grids = ModuleGrids.uniform(new PackedGrid(PackedBytes.BITS, PackedBytes.GROUP_SIZE, true, false));
        // Only the number of tokens counts.
        TokenSequences text = new TokenSequences(new int[samples * sequenceLength], samples, sequenceLength);
        MemoryPlan memory = MemoryPlan.of(
                new MemoryJob(spec, rates.products(), grids, null, nodes > 1, null, Crew.alone(cards)),
                new RunTexts(text, null, ""), new MemoryNeed.Free(HOST, OptionalLong.of(cardMemory)));
        int busy = Math.min(memory.parts(), nodes * cards);
        WorkCount work = new WorkCount(spec, grids, false);
        double triangles = sum(spec, JobPlanner::triangles);
        double elements = sum(spec, JobPlanner::elements);
        double weights = rates.products().bytes() * elements;
        double packed = PackedBytes.of(spec);
        List<Phase> phases = new ArrayList<>();
        phases.add(arithmetic("forward", work.forward(text), busy * rates.forward()));
        phases.add(arithmetic("hessian", work.hessians(text), busy * rates.hessian()));
        phases.add(copies("sums between cards", doublings(Math.min(cards, busy)) * triangles, links.peer()));
        phases.add(copies("sums between nodes", (nodes - 1) * sum(spec, this::received), links.network()));
        phases.add(new Phase("solve", sum(spec, block -> solving(block, work)), sum(spec, work::solving), 0));
        phases.add(copies("codes between cards", (cards - 1) * elements, links.peer()));
        phases.add(copies("codes between nodes", doublings(nodes) * packed, links.network()));
        double computing = phases.stream().mapToDouble(Phase::seconds).sum();
        phases.addFirst(new Phase("load: waiting", Math.max(0, weights / rates.upload() - computing), 0, weights));
        phases.add(copies("write", packed, rates.write()));
        phases.add(copies("verify", packed, rates.verify()));
        List<Phase> taken = phases.stream().filter(phase -> phase.seconds() > 0).toList();
        return new JobPlan(1, tool, shape.name(),
                elements + 2.0 * spec.vocabSize() * spec.hiddenSize(),
                rates.device(), nodes, cards, busy, samples, sequenceLength, taken,
                taken.stream().mapToDouble(Phase::seconds).sum(), memory.device(), cardMemory,
                memory.total() - Math.min(memory.parts(), cards) * memory.device());
    }

    /** Steps until all have what one had, or one what all had. */
    private static int doublings(int count) {
        return Integer.SIZE - Integer.numberOfLeadingZeros(count - 1);
    }

    private static Phase arithmetic(String name, double operations, double rate) {
        return new Phase(name, operations / rate, operations, 0);
    }

    private static Phase copies(String name, double bytes, double rate) {
        return new Phase(name, bytes / rate, 0, bytes);
    }

    private static double sum(ModelSpec spec, ToDoubleFunction<BlockSpec> of) {
        return spec.blockSpecs().stream().mapToDouble(of).sum();
    }

    /** Weights of a block's linears. */
    private static double elements(BlockSpec block) {
        return block.linears().stream().mapToDouble(linear -> (double) linear.inputs() * linear.outputs()).sum();
    }

    /** Bytes of the upper triangles of a block's Hessians. */
    private static double triangles(BlockSpec block) {
        return block.sites().stream().mapToDouble(site -> triangle(block, site)).sum();
    }

    private static double triangle(BlockSpec block, InputSite site) {
        double n = block.inputs(site);
        return Float.BYTES * n * n / 2;
    }

    /** Bytes of the sums that the node receives which solves most, from each other. */
    private double received(BlockSpec block) {
        SiteOwners owners = new SiteOwners(block, nodes);
        double[] of = new double[nodes];
        for (InputSite site : block.sites()) {
            of[owners.of(site)] += triangle(block, site);
        }
        return most(of);
    }

    /** Seconds of the card that has most to solve. Streamed experts are solved by the first card of a node. */
    private double solving(BlockSpec block, WorkCount work) {
        SiteOwners owners = new SiteOwners(block, nodes);
        boolean streams = nodes == 1 && block.sites().stream().anyMatch(InputSite::ofExpert);
        double longest = 0;
        for (int node = 0; node < nodes; node++) {
            int rank = node;
            List<InputSite> mine = block.sites().stream().filter(site -> owners.of(site) == rank).toList();
            SiteOwners devices = new SiteOwners(block, mine, streams ? 1 : cards);
            double[] of = new double[cards];
            mine.forEach(site -> of[devices.of(site)] += rates.factor(block.inputs(site)));
            block.linears().stream().filter(linear -> owners.of(linear.site()) == rank)
                    .forEach(linear -> of[devices.of(linear.site())] += work.solve(linear, true) / rates.errors());
            longest = Math.max(longest, most(of));
        }
        return longest;
    }

    private static double most(double[] of) {
        return Arrays.stream(of).max().orElse(0);
    }
}
