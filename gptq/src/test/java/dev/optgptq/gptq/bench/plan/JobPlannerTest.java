package dev.optgptq.gptq.bench.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.json.Json;
import dev.optgptq.gptq.bench.ModelShape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class JobPlannerTest {

    private static final long CARD = 64_000_000_000L;

    private static JobPlan plan(String shape, int nodes, int cards) {
        return new JobPlanner(CardRates.bundled(), nodes, cards, new JobPlanner.Links(20e9, 12.5e9), CARD)
                .plan(ModelShape.of(shape), 128, 2048, "test");
    }

    /** Of a phase; 0 if the job has none of that name. */
    private static double seconds(JobPlan plan, String phase) {
        return plan.phases().stream().filter(each -> each.name().equals(phase)).mapToDouble(JobPlan.Phase::seconds)
                .sum();
    }

    @Test
    void the_job_that_the_rates_were_measured_on_takes_what_it_took() {
        JobPlan plan = plan("llama-7b", 1, 1);
        assertEquals(12.967, seconds(plan, "forward"), 0.005);
        assertEquals(2.757, seconds(plan, "hessian"), 0.005);
        assertEquals(5.285, seconds(plan, "solve"), 0.005);
        assertEquals(1.076, seconds(plan, "write"), 0.005);
        assertEquals(0.217, seconds(plan, "verify"), 0.005);
        // 9.1 GB were allocated.
        assertEquals(9.1, plan.device() / 1e9, 0.9);
    }

    @Test
    void cards_divide_passes_and_sites_and_pay_for_copies() {
        JobPlan one = plan("llama-7b", 1, 1);
        JobPlan two = plan("llama-7b", 1, 2);
        assertEquals(seconds(one, "forward") / 2, seconds(two, "forward"), 1e-9);
        assertTrue(seconds(two, "solve") < 0.6 * seconds(one, "solve"), two::toString);
        assertTrue(seconds(two, "sums between cards") > 0 && seconds(two, "codes between cards") > 0, two::toString);
        assertEquals(8, plan("llama-7b", 4, 8).busy());
        assertTrue(seconds(plan("llama-7b", 4, 8), "sums between nodes") > 0);
    }

    @Test
    void a_mixture_that_does_not_fit_says_how_much_it_wants() {
        JobPlan plan = plan("deepseek-671b", 4, 8);
        assertEquals(671e9, plan.parameters(), 5e9);
        assertTrue(plan.device() > CARD && plan.host() > 0, plan::toString);
    }

    @Test
    void what_is_not_a_measured_job_is_refused_by_name(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("report.json"), "{\"ops\": [], \"job\": []}");
        UserError refused = assertThrows(UserError.class, () -> CardRates.read(file));
        assertTrue(String.valueOf(refused.getMessage()).contains(file + ": expected what opt-gptq bench"),
                refused.toString());

        String bundled = Json.bundled(CardRates.class, "h200.json").toString();
        Path gradient = Files.writeString(folder.resolve("gradient.json"),
                bundled.replace("\"calibrator\":\"gptq\"", "\"calibrator\":\"gradient\""));
        assertThrows(UserError.class, () -> CardRates.read(gradient));
        assertEquals(CardRates.bundled(), CardRates.read(Files.writeString(folder.resolve("same.json"), bundled)));
    }
}
