package dev.optgptq.gptq.run.memory;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.journal.WriteBehind;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.run.TinyRun;
import dev.optgptq.gptq.run.checkpoint.CheckpointPlan;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.ranks.Crew;
import java.nio.file.Path;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A run says beforehand what it will need (rule 5), and then needs no more. */
class MemoryPlanTest {

    private static final long PLENTY = 1L << 40;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /** Short sequences make solving the peak, long ones the forward pass. */
    @ParameterizedTest
    @CsvSource({"LLAMA, GPTQ, STATIC, 32, 2, 32, false", "LLAMA, GPTQ, NONE, 2, 2, 32, false",
            "LLAMA, GPTQ, GROUP, -1, 2, 32, false", "LLAMA, GPTQ, STATIC, 128, 16, 128, false",
            "LLAMA, GPTQ, STATIC, 32, 2, 32, true", "LLAMA, RTN, STATIC, 32, 2, 32, false",
            "LLAMA, RTN, STATIC, 4, 2, 32, true", "MPT, GPTQ, GROUP, 32, 2, 32, false",
            "MPT, GPTQ, NONE, 64, 16, 128, true", "LLAMA, GRADIENT, STATIC, 32, 2, 32, false",
            "MPT, GRADIENT, GROUP, 32, 16, 128, false", "LLAMA, GRADIENT, NONE, 32, 16, 128, true"})
    void the_plan_covers_what_the_run_allocates_and_little_more(TinyModel.Family family, CalibratorKind calibrator,
            ActOrder actOrder, int groupSize, int samples, int sequenceLength, boolean evaluate) {
        TinyRun run = new TinyRun(TinyModel.of(family).write(folder.resolve("model")), folder);
        run.calibrator = calibrator;
        run.actOrder = actOrder;
        run.groupSize = groupSize;
        run.samples = samples;
        run.sequenceLength = sequenceLength;
        run.evaluate = evaluate;
        MemoryPlan plan = plan(run, PLENTY);

        try (Device device = Devices.open("cpu", 2)) {
            RunReport report = run.run(device);

            long peak = device.peakMemory();
            assertEquals(peak, report.memory().peakDevice());
            assertTrue(peak <= plan.device(), peak + " bytes on the device, planned " + plan.device());
            assertTrue(plan.device() <= 1.5 * peak, plan.device() + " bytes planned, used " + peak);
            assertTrue(report.memory().planned() > plan.device(), "the process itself needs memory too");
        }
    }

    @ParameterizedTest
    @CsvSource({"LLAMA, 32, 4, 32", "MPT, 64, 16, 64"})
    void the_plan_covers_what_learning_allocates(TinyModel.Family family, int groupSize, int samples,
            int sequenceLength) {
        TinyRun run = new TinyRun(TinyModel.of(family).write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT;
        run.refinement = new Refinement(true, new NextToken(), true, 2, 0).tuningNorms(true);
        run.groupSize = groupSize;
        run.samples = samples;
        run.sequenceLength = sequenceLength;
        MemoryPlan plan = plan(run, PLENTY);

        try (Device device = Devices.open("cpu", 2)) {
            run.run(device);

            assertTrue(device.peakMemory() <= plan.device(),
                    device.peakMemory() + " bytes on the device, planned " + plan.device());
        }
    }

    @Test
    void a_residual_stream_that_is_too_large_for_memory_is_planned_for_a_file() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.samples = 16;
        run.sequenceLength = 128;
        long stream = 16L * 128 * TinyModel.HIDDEN * 4;

        assertEquals(stream, plan(run, 4 * stream).activations());
        assertEquals(0, plan(run, 4 * stream).spilled());
        assertEquals(0, plan(run, 4 * stream - 4).activations());
        assertEquals(stream, plan(run, 4 * stream - 4).spilled());
    }

    @Test
    void too_little_memory_is_refused_with_what_is_needed_for_what() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.evaluate = true;
        MemoryPlan plan = plan(run, PLENTY);

        plan(run, plan.total()).require();

        assertUserError(Code.MEMORY, () -> plan(run, plan.total() - 1).require(),
                (plan.total() >> 20) + " MiB of memory",
                "Hessians", "evaluation", "are free");
    }

    @ParameterizedTest
    @CsvSource({"GPTQ, -1", "RTN, 32", "GRADIENT, 64"})
    void what_waits_to_be_written_is_planned_on_the_host_and_is_one_block(CalibratorKind calibrator, int groupSize) {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.calibrator = calibrator;
        run.groupSize = groupSize;
        MemoryPlan plan = plan(run, PLENTY, OptionalLong.of(PLENTY));
        long block;
        try (ModelDirectory directory = ModelDirectory.open(run.settings().model())) {
            ModelSpec spec = ModelSpec.resolve(directory.config());
            block = CheckpointPlan.of(directory, spec, run.settings().grids(spec).grids(), run.format)
                    .packed(spec.linears(0)).stream()
                    .mapToLong(tensor -> WriteBehind.aligned(tensor.bytes())).sum();
        }

        assertEquals(block, plan.needs().writing());
        assertTrue(plan.total() >= plan.device() + block, plan + " in all " + plan.total());
    }

    @Test
    void a_device_with_memory_of_its_own_holds_the_residual_stream_and_large_batches_where_they_fit() {
        TinyRun run = longRun();
        MemoryPlan roomy = plan(run, PLENTY, OptionalLong.of(PLENTY));

        assertEquals(Placement.Place.DEVICE, roomy.placement().place());
        assertEquals(8192, roomy.batchRows());
        assertEquals(0, roomy.activations());
        assertTrue(roomy.toString().contains("batches of 8192 tokens, activations between blocks there"),
                roomy::toString);
    }

    @Test
    void less_device_memory_means_smaller_batches_first_and_then_a_stream_on_the_host() {
        TinyRun run = longRun();
        long needed = needed(plan(run, PLENTY, OptionalLong.of(PLENTY)));

        MemoryPlan smallerBatches = plan(run, PLENTY, OptionalLong.of(needed - 1));
        MemoryPlan streamOnHost = plan(run, PLENTY, OptionalLong.of(needed - smallerBatches.needs().stream()));

        assertEquals(Placement.Place.DEVICE, smallerBatches.placement().place());
        assertEquals(4096, smallerBatches.batchRows());
        assertEquals(Placement.Place.HOST, streamOnHost.placement().place());
        assertEquals(streamOnHost.needs().stream(), streamOnHost.activations());
        streamOnHost.require();
    }

    @Test
    void too_little_device_memory_is_refused_before_anything_is_computed() {
        MemoryPlan plan = plan(longRun(), PLENTY, OptionalLong.of(MemoryNeed.LIBRARIES));

        assertUserError(Code.MEMORY, plan::require, "of device memory", "Hessians", "512 MiB are free there",
                "--device cpu");
    }

    @Test
    void a_sequence_that_is_longer_than_a_batch_is_a_batch_of_its_own() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        TokenSequences text = new TokenSequences(new int[20_000], 2, 10_000);

        MemoryPlan plan = plan(run, new RunTexts(text, null, "none"),
                new MemoryNeed.Free(PLENTY, OptionalLong.of(PLENTY)), 1);

        assertEquals(10_000, plan.batchRows());
        assertEquals(Placement.Place.DEVICE, plan.placement().place());
    }

    @Test
    void the_batch_and_the_parts_do_not_depend_on_how_many_devices_share_them() {
        TinyRun run = longRun();
        long needed = needed(plan(run, PLENTY, OptionalLong.of(PLENTY)));

        for (long free : new long[] {PLENTY, needed - 1, needed / 2}) {
            MemoryPlan alone = plan(run, PLENTY, OptionalLong.of(free), 1);
            MemoryPlan shared = plan(run, PLENTY, OptionalLong.of(free), 2);
            assertEquals(alone.batchRows(), shared.batchRows());
            assertEquals(alone.parts(), shared.parts());
        }
    }

    @Test
    void a_stream_that_is_too_large_for_one_device_lies_on_several() {
        TinyRun run = longRun();
        MemoryPlan roomy = plan(run, PLENTY, OptionalLong.of(PLENTY));
        OptionalLong free = OptionalLong.of(needed(roomy) - roomy.needs().stream() / 3);

        assertEquals(Placement.Place.HOST, plan(run, PLENTY, free, 1).placement().place());
        assertEquals(Placement.Place.DEVICE, plan(run, PLENTY, free, 2).placement().place());
        assertEquals(roomy.needs().stream() / 2, plan(run, PLENTY, free, 2).placement().share());
    }

    /** What waits for its neighbour in the sum is small beside everything else, but for models of wide layers. */
    @Test
    void less_device_memory_than_eight_parts_take_means_fewer_of_them() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.samples = 8;
        run.sequenceLength = 16;
        MemoryPlan roomy = plan(run, PLENTY, OptionalLong.of(PLENTY));
        OptionalLong free = OptionalLong.of(needed(roomy) - 1);

        assertEquals(8, roomy.parts());
        assertEquals(4, plan(run, PLENTY, free).parts());
        assertEquals(4, plan(run, PLENTY, free, 8).busyDevices());
    }

    @Test
    void copies_beside_computing_have_what_is_left_by_all_that_decides_bits() {
        long ahead = 3L << 20;
        TinyRun run = longRun();
        long needed = needed(plan(run, PLENTY, OptionalLong.of(PLENTY)));
        MemoryPlan roomy = plan(run, PLENTY, OptionalLong.of(needed + ahead));
        long packed = roomy.needs().writing();
        MemoryPlan tight = plan(run, PLENTY, OptionalLong.of(needed + Math.min(ahead, packed) - 1));
        MemoryPlan ample = plan(run, PLENTY, OptionalLong.of(needed + ahead + packed)).copyingBeside(ahead);

        assertEquals(0, tight.copyingBeside(ahead).placement().ahead());
        assertEquals(0, tight.copyingBeside(ahead).placement().behind());
        assertTrue(tight.copyingBeside(ahead).toString().endsWith("no room to prefetch blocks"), tight::toString);
        assertEquals(ahead, roomy.copyingBeside(ahead).placement().ahead());
        assertEquals(0, roomy.copyingBeside(ahead).placement().behind());
        assertEquals(needed + ahead, needed(roomy.copyingBeside(ahead)));
        assertTrue(roomy.copyingBeside(ahead).toString().endsWith("prefetched blocks 3 MiB"), roomy::toString);
        assertEquals(packed, ample.placement().behind());
        assertEquals(needed + ahead + packed, needed(ample));
        assertEquals(tight.placement().cut(), ample.placement().cut());
    }

    /** Of the held-out sequences, an eighth, the input of both blocks and the output; else they are in a file. */
    @Test
    void learning_over_the_whole_model_keeps_block_inputs_on_the_host_where_they_fit() {
        TinyRun run = longRun();
        run.calibrator = CalibratorKind.GRADIENT;
        run.refinement = new Refinement(false, new NextToken(), false, 10, 0);
        long inputs = 3L * 512 * 128 * 128 * Float.BYTES;

        MemoryPlan roomy = plan(run, PLENTY, OptionalLong.of(PLENTY));
        MemoryPlan tight = plan(run, 2 * inputs, OptionalLong.of(PLENTY));
        run.refinement = new Refinement(false, new NextToken(), false, 0, 0);
        MemoryPlan without = plan(run, PLENTY, OptionalLong.of(PLENTY));

        assertEquals(inputs, roomy.needs().learning());
        assertEquals(0, tight.needs().learning());
        assertEquals(roomy.total() - roomy.device() - inputs,
                without.total() - without.device() - without.needs().writing());
    }

    @Test
    void a_device_without_memory_of_its_own_has_nothing_to_upload() {
        assertEquals(0, plan(longRun(), PLENTY).copyingBeside(0).placement().ahead());
    }

    /** Its residual stream is larger than anything else. */
    private TinyRun longRun() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.samples = 4096;
        run.sequenceLength = 128;
        return run;
    }

    /** What the plan wants of the device with what its libraries take. */
    private static long needed(MemoryPlan plan) {
        return plan.device() + MemoryNeed.LIBRARIES;
    }

    static MemoryPlan plan(TinyRun run, long available) {
        return plan(run, available, OptionalLong.empty());
    }

    private static MemoryPlan plan(TinyRun run, long available, OptionalLong device) {
        return plan(run, available, device, 1);
    }

    private static MemoryPlan plan(TinyRun run, long available, OptionalLong device, int devices) {
        return plan(run, null, new MemoryNeed.Free(available, device), devices);
    }

    /** @param texts null for those of the settings */
    private static MemoryPlan plan(TinyRun run, @Nullable RunTexts texts, MemoryNeed.Free free, int devices) {
        QuantizeSettings settings = run.settings();
        try (ModelDirectory directory = ModelDirectory.open(settings.model())) {
            ModelSpec spec = ModelSpec.resolve(directory.config());
            MemoryJob job = new MemoryJob(spec, DType.F32, settings.grids(spec).grids(),
                    settings.calibration().expertsAtOnce(),
                    false, settings.isGradient() ? settings.refinement() : null, Crew.alone(devices));
            return MemoryPlan.of(job, texts == null ? RunTexts.read(settings, spec) : texts, free);
        }
    }
}
