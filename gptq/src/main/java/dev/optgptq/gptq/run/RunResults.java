package dev.optgptq.gptq.run;

import dev.optgptq.gptq.report.ModuleReports;
import dev.optgptq.calibrate.eval.ModelComparison;
import dev.optgptq.calibrate.eval.Perplexity;
import dev.optgptq.gptq.refine.StepOutcome;
import dev.optgptq.gptq.report.Ablations;
import dev.optgptq.gptq.report.ReportBuilder;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.checkpoint.CheckedNumbers;
import dev.optgptq.gptq.run.checkpoint.CheckpointPlan;
import dev.optgptq.gptq.run.checkpoint.TunedParameters;
import dev.optgptq.gptq.run.resume.RunJournal;
import dev.optgptq.gptq.run.resume.SavedResults;
import dev.optgptq.gptq.tune.HeldOutLosses;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Results of a run.
 *
 * @param layers every linear, in the order in which they were solved
 * @param steps outcomes of the steps beyond GPTQ, in the order in which they were tried
 * @param heldOut the whole model on the held-out sequences; null where it was not measured
 * @param numbers of the checkpoint as read back
 * @param comparison of the original with what was written; null where nothing is evaluated
 */
record RunResults(List<RunReport.Layer> layers, List<StepOutcome> steps, @Nullable HeldOutLosses heldOut,
        CheckedNumbers numbers, @Nullable ModelComparison comparison) {

    /** Reads them from the journal, whose parts are deleted when the checkpoint is published. */
    static RunResults of(RunJournal journal, CheckedNumbers numbers, @Nullable ModelComparison comparison) {
        List<RunReport.Layer> layers = new ArrayList<>();
        List<StepOutcome> steps = new ArrayList<>();
        journal.finished().forEach(block -> {
            layers.addAll(block.layers());
            steps.addAll(block.steps());
        });
        TunedParameters.find(journal.parts()).ifPresent(tuned -> steps.add(tuned.outcome()));
        return new RunResults(layers, steps, new SavedResults(journal.parts()).heldOutLosses().orElse(null),
                numbers, comparison);
    }

    /** @param peakAnonymous the most anonymous memory of the process, in bytes */
    RunReport report(RunContext run, RunJournal journal, long peakAnonymous) {
        List<String> warnings = new ArrayList<>(run.warnings());
        List<String> found = new ArrayList<>(numbers.warnings());
        Ablations.warning(heldOut).ifPresent(found::add);
        found.forEach(run.caller().log());
        warnings.addAll(found);
        List<RunReport.Phase> phases = run.clock().phases();
        CheckpointPlan plan = run.plan();
        return new ReportBuilder(run.settings(), run.matmulDtype(), run.caller().origin(), run.caller().devices(),
                run.model(), run.source()).build(
                        journal.started(), journal.resumed(),
                        new ReportBuilder.Written(plan.bytes(), plan.keptBytes(), plan.quantizedParameters()),
                        layers, ModuleReports.of(run.model(), run.grids()), ModuleReports.of(run.allocation()), phases,
                        new RunReport.Memory(run.memory().total(), run.caller().devices().peakMemory(),
                                peakAnonymous, run.memory().spilled()),
                        numbers.range(), quality(run), warnings,
                        Ablations.of(steps, run.texts().calibration(), phases, heldOut));
    }

    private RunReport.@Nullable Quality quality(RunContext run) {
        if (comparison == null) {
            return null;
        }
        Perplexity before = comparison.baseline();
        return new RunReport.Quality(run.texts().evaluationName(), before.window(), before.windowNll().length,
                score(before), score(comparison.candidate()), comparison.change(), comparison.divergence());
    }

    private static RunReport.Score score(Perplexity perplexity) {
        return new RunReport.Score(perplexity.perplexity(), perplexity.low(), perplexity.high());
    }
}
