package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.allocate.Budget;
import dev.optgptq.gptq.recipe.Recipe;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.serving.TargetName;
import dev.optgptq.gptq.settings.ModuleSettings;
import dev.optgptq.gptq.settings.Repeated;
import dev.optgptq.gptq.settings.TargetSettings;
import dev.optgptq.gptq.testing.TinyModel;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Bits that a run chooses within a budget. */
class AllocationRunTest {

    @TempDir
    private Path folder = Path.of("");

    @SuppressWarnings("NullAway.Init") // set before each test
    private TinyRun run;

    @BeforeEach
    void aModel() {
        run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.samples = 2;
        run.sequenceLength = 32;
    }

    @Test
    void the_checkpoint_has_the_chosen_bits_within_the_budget_and_the_report_says_what_each_costs() {
        run.modules = budget(new Budget.AverageBits(4.6), List.of(".*1.mlp.down_proj=bits:8"));

        RunReport report = run.run();

        RunReport.ChosenBits chosen = Objects.requireNonNull(report.allocation());
        assertTrue(report.size().bitsPerWeight() <= 4.6 && report.size().bitsPerWeight() > 4,
                () -> report.size().toString());
        assertEquals(chosen.averageBits(), report.size().bitsPerWeight(), 1e-9);
        assertEquals(2 * 4, chosen.choices().size(), "q, k and v; o; gate and up; down");
        try (ModelDirectory written = ModelDirectory.open(run.output)) {
            for (RunReport.Choice choice : chosen.choices()) {
                for (String role : choice.linears()) {
                    String module = "model.layers." + choice.block() + "." + role;
                    assertEquals(choice.bits(), written.packed(module).orElseThrow().bits(), module);
                }
                for (int i = 1; i < choice.widths().size(); i++) {
                    assertTrue(choice.widths().get(i).lossIncrease() < choice.widths().get(i - 1).lossIncrease(),
                            choice::toString);
                }
            }
            assertEquals(8, written.packed("model.layers.1.mlp.down_proj").orElseThrow().bits(), "as the rule says");
        }
        assertTrue(run.log.stream().anyMatch(line -> line.startsWith("bits chosen: ")), run.log::toString);
    }

    @Test
    void a_target_leaves_the_widths_that_it_loads() {
        run.modules = budget(new Budget.AverageBits(6), List.of());
        run.target = new TargetSettings(TargetName.VLLM, 1);

        Set<Integer> bits = new HashSet<>();
        Objects.requireNonNull(run.run().allocation()).choices().forEach(choice -> choice.widths()
                .forEach(width -> bits.add(width.bits())));

        assertEquals(Set.of(4, 8), bits);
    }

    private static ModuleSettings budget(Budget budget, List<String> overrides) {
        return new ModuleSettings(new Repeated(overrides), new Repeated(List.of()), null,
                Recipe.of(overrides, List.of()), budget);
    }
}
