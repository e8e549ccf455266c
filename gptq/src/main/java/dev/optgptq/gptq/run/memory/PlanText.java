package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.capture.ExpertPasses;
import dev.optgptq.gptq.run.memory.Placement.Place;
import java.util.ArrayList;
import java.util.List;

/** A plan as text: the items that are added up, and the phases of which the largest counts. */
final class PlanText {

    private PlanText() {}

    static String of(MemoryPlan plan, long host) {
        MemoryNeeds needs = plan.needs();
        List<String> phases = new ArrayList<>();
        phase(phases, "evaluation", plan.evaluatingOnHost());
        phase(phases, "gradient pass", needs.gradients().device() > 0 ? plan.gradientsOnHost() : 0);
        phase(phases, plan.placement().refining() > 0 ? "refine" : "quantize", plan.quantizingOnHost());
        return "peak " + mebibytes(host) + " MiB = process " + mebibytes(plan.process()) + " + "
                + (phases.size() == 1 ? phases.getFirst() : "largest of (" + String.join(", ", phases) + ")")
                + "; " + block(plan) + (plan.ownMemory() ? "; on the device " + device(plan) : "");
    }

    private static void phase(List<String> phases, String name, long bytes) {
        if (bytes > 0) {
            phases.add(name + " " + mebibytes(bytes));
        }
    }

    /** The items of quantizing. */
    private static String block(MemoryPlan plan) {
        MemoryNeeds needs = plan.needs();
        String blocks = plan.placement().refining() > 0
                ? "one block refined " + mebibytes(plan.placement().refining()) + (needs.experts().parked() > 0
                        ? " with one expert, Hessians" + experts(needs.experts())
                        : "")
                : "one block of weights " + mebibytes(needs.weights())
                        + (needs.experts().most() > 0 ? " with one expert" : "") + ", Hessians "
                        + mebibytes(needs.hessians()) + experts(needs.experts())
                        + ", solving " + mebibytes(plan.solving()) + ", batch "
                        + mebibytes(plan.placement().forward() + plan.placement().waiting());
        return blocks + ", activations between blocks " + mebibytes(needs.stream()) + where(plan)
                + ", waiting to be written " + mebibytes(needs.writing())
                + (needs.learning() > 0 ? ", or inputs of tuning " + mebibytes(needs.learning()) : "")
                + (needs.gradients().kept() > 0 ? ", token weights " + mebibytes(needs.gradients().kept()) : "");
    }

    private static String experts(ExpertPasses experts) {
        return experts.parked() == 0
                ? ""
                : " of " + experts.atOnce() + " of " + experts.most() + " experts at a time and "
                        + mebibytes(experts.parked()) + (experts.onHost() == 0 ? " in a temporary file" : " parked");
    }

    private static String where(MemoryPlan plan) {
        return switch (plan.placement().place()) {
            case DEVICE -> " on the device";
            case HOST -> "";
            case FILE -> " in a temporary file";
        };
    }

    private static String device(MemoryPlan plan) {
        Placement placement = plan.placement();
        String batches = plan.batchRows() == 0
                ? ""
                : ", batches of " + plan.batchRows() + " tokens, activations between blocks "
                        + (placement.place() == Place.DEVICE ? "there" : "on the host")
                        + (placement.cut().devices() == 1
                                ? ""
                                : ", " + plan.parts() + " parts for " + placement.cut().devices() + " devices");
        return mebibytes(plan.device() + MemoryNeed.LIBRARIES) + " of "
                + mebibytes(plan.free().device().orElse(0)) + " MiB free" + evaluation(plan) + batches
                + (placement.ahead() > 0
                        ? ", prefetched blocks " + mebibytes(placement.ahead()) + " MiB"
                        : ", no room to prefetch blocks")
                + (placement.behind() > 0 ? ", packed " + mebibytes(placement.behind()) + " MiB" : "");
    }

    private static String evaluation(MemoryPlan plan) {
        return plan.needs().evaluation() > 0 ? " (evaluation " + mebibytes(plan.needs().evaluation()) + ")" : "";
    }

    private static long mebibytes(long bytes) {
        return bytes >> 20;
    }
}
