package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.testing.TinyModel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The report of a run that was resumed is that of both runs. */
class ResumedReportTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void the_report_of_a_resumed_run_holds_the_layers_of_all_blocks_as_the_run_that_nothing_ended_found_them() {
        TinyRun undisturbed = llama();
        undisturbed.output = folder.resolve("undisturbed");
        RunReport expected = undisturbed.run();
        assertFalse(expected.resumed().happened());
        TinyRun run = llama();
        ResumeTest.stop(run, "block 2/2: solve");

        RunReport report = run.run();

        assertEquals(expected.layers().stream().map(ResumedReportTest::withoutTime).toList(),
                report.layers().stream().map(ResumedReportTest::withoutTime).toList());
        assertTrue(report.layers().stream().allMatch(layer -> layer.seconds() > 0), report.layers().toString());
    }

    /** The time of the solve that was stopped is lost, and in neither. */
    @Test
    void the_times_of_a_resumed_run_are_those_of_both_and_operations_are_counted_once() {
        TinyRun undisturbed = llama();
        undisturbed.evaluate = true;
        undisturbed.output = folder.resolve("undisturbed");
        RunReport expected = undisturbed.run();
        TinyRun run = llama();
        run.evaluate = true;
        ResumeTest.stop(run, "block 2/2: solve");

        RunReport report = run.run();

        for (String phase : List.of("hessian", "solve", "evaluate")) {
            assertEquals(flops(expected, phase), flops(report, phase), 1e-9 * flops(expected, phase), phase);
        }
        assertEquals(report.phases().stream().mapToDouble(RunReport.Phase::seconds).sum(), report.seconds(), 1e-6);
        assertTrue(flops(report, "resume") > 0 && seconds(report, "resume") > 0, report.phases().toString());
    }

    @Test
    void a_run_may_go_on_with_another_evaluation_or_none() {
        TinyRun run = llama();
        run.evaluate = true;
        ResumeTest.stop(run, "block 2/2: solve");
        run.evaluate = false;

        RunReport report = run.run();

        assertEquals(1, report.resumed().blocks());
        assertNull(report.quality());
    }

    private TinyRun llama() {
        Path model = folder.resolve("model");
        return new TinyRun(Files.exists(model) ? model : TinyModel.LLAMA.write(model), folder);
    }

    private static RunReport.Layer withoutTime(RunReport.Layer layer) {
        return new RunReport.Layer(layer.module(), layer.role(), layer.block(), layer.inputs(), layer.outputs(),
                layer.relativeError(), layer.weightError(), layer.damp(), layer.dampAttempts(), layer.deadInputs(),
                layer.largestInput(), layer.largestResidual(), layer.expert(), layer.tokens(), layer.shrunk(), 0,
                layer.problem());
    }

    private static double flops(RunReport report, String phase) {
        return report.phases().stream().filter(found -> found.name().equals(phase)).mapToDouble(RunReport.Phase::flops)
                .sum();
    }

    private static double seconds(RunReport report, String phase) {
        return report.phases().stream().filter(found -> found.name().equals(phase))
                .mapToDouble(RunReport.Phase::seconds).sum();
    }
}
