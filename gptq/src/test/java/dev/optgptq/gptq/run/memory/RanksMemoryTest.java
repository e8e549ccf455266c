package dev.optgptq.gptq.run.memory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.run.TinyRun;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.ranks.Crew;
import dev.optgptq.kernels.testing.ThreadRanks;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a rank plans, beside others. */
class RanksMemoryTest {

    private static final long PLENTY = 1L << 40;
    private static final int PARTS = 8;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @Test
    void ranks_of_one_host_share_its_memory_and_the_least_of_a_device_counts() {
        ThreadRanks.run(2, ranks -> assertEquals(new MemoryNeed.Free(500, OptionalLong.of(70)),
                new MemoryNeed.Free(1000, OptionalLong.of(70L + ranks.rank())).leastOf(ranks)));
    }

    @Test
    void a_rank_counts_what_it_has_solved_and_not_yet_shared_and_the_buffers_of_its_own_devices() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        MemoryPlan alone = plan(run, Crew.alone(1));
        QuantizeSettings settings = run.settings();
        long codes;
        try (ModelDirectory directory = ModelDirectory.open(settings.model())) {
            codes = ModelSpec.resolve(directory.config()).linears(0).stream()
                    .mapToLong(linear -> (long) linear.inputs() * linear.outputs()).sum();
        }

        ThreadRanks.run(2, ranks -> {
            MemoryPlan two = plan(run, new Crew(ranks, List.of(1, 1)));
            long unshared = two.solving() - alone.solving();
            assertTrue(unshared >= codes / 2 && unshared < 2 * codes, unshared + " bytes of " + codes + " codes");
            assertEquals(alone.process(), two.process());
            assertEquals(alone.gradientsOnHost(), two.gradientsOnHost());
        });
    }

    /** Batches and parts decide the order of sums, so what several devices keep beside must not change them. */
    @Test
    void any_number_of_devices_plans_the_batches_and_parts_of_one_however_little_is_free() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        long least = MemoryNeed.LIBRARIES;
        long most = least + plan(run, Crew.alone(1)).device();
        int tight = 0;
        for (long free = least; free <= most; free += (most - least) / 200) {
            MemoryPlan one = plan(run, Crew.alone(1), free);
            MemoryPlan two = plan(run, Crew.alone(2), free);
            assertEquals(one.placement().cut().batchRows(), two.placement().cut().batchRows(), "free: " + free);
            assertEquals(one.parts(), two.parts(), "free: " + free);
            tight += one.parts() < PARTS ? 1 : 0;
        }
        assertTrue(tight > 10, tight + " plans had to do with less than they would like");
    }

    private static MemoryPlan plan(TinyRun run, Crew crew) {
        return plan(run, crew, PLENTY);
    }

    private static MemoryPlan plan(TinyRun run, Crew crew, long free) {
        QuantizeSettings settings = run.settings();
        try (ModelDirectory directory = ModelDirectory.open(settings.model())) {
            ModelSpec spec = ModelSpec.resolve(directory.config());
            MemoryJob job = new MemoryJob(spec, DType.F32, settings.grids(spec).grids(), null, false, null, crew);
            return MemoryPlan.of(job, new RunTexts(new TokenSequences(new int[128], 4, 32), null, "none"),
                    new MemoryNeed.Free(PLENTY, OptionalLong.of(free)));
        }
    }
}
