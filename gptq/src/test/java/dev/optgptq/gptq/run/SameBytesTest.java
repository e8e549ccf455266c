package dev.optgptq.gptq.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.packed.CheckpointFormat;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings.Precision;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.nio.file.Path;
import java.util.SortedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Rule 7: the same command on the same device gives the same bytes, whatever the thread count. */
class SameBytesTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    @ParameterizedTest
    @CsvSource({"LLAMA, NONE, true, false", "LLAMA, STATIC, true, true", "LLAMA, GROUP, false, false",
            "LLAMA, STATIC, false, false", "MPT, NONE, false, true", "MPT, STATIC, true, false",
            "MPT, GROUP, true, true", "MPT, GROUP, false, false"})
    void every_number_of_threads_gives_the_same_files(TinyModel.Family family, ActOrder actOrder, boolean symmetric,
            boolean trueSequential) {
        Path model = TinyModel.of(family).write(folder.resolve("model"));
        SortedMap<String, Long> one = quantize(model, 1, actOrder, symmetric, trueSequential);

        SortedMap<String, Long> two = quantize(model, 2, actOrder, symmetric, trueSequential);
        SortedMap<String, Long> three = quantize(model, 3, actOrder, symmetric, trueSequential);

        assertEquals(one, two, "2 threads");
        assertEquals(one, three, "3 threads");
    }

    @ParameterizedTest
    @EnumSource(TinyModel.Family.class)
    void gradient_calibration_gives_the_same_files_for_every_number_of_threads_and_others_than_gptq(
            TinyModel.Family family) {
        Path model = TinyModel.of(family).write(folder.resolve("model"));
        SortedMap<String, Long> one = quantizeByGradients(model, 1);

        SortedMap<String, Long> three = quantizeByGradients(model, 3);

        assertEquals(one, three, "3 threads");
        assertNotEquals(one, quantize(model, 1, ActOrder.STATIC, true, false));
    }

    @Test
    void searched_scales_do_not_depend_on_the_number_of_threads_either() {
        TinyRun one = new TinyRun(TinyModel.MPT.write(folder.resolve("model")), folder);
        one.scaleSearch = true;
        one.threads = 1;
        one.run();
        SortedMap<String, Long> expected = Checksums.of(one.output);
        one.threads = 3;
        one.overwrite = true;

        one.run();

        assertEquals(expected, Checksums.of(one.output));
    }

    @Test
    void bfloat16_gives_the_same_files_for_every_number_of_threads_and_others_than_float32() {
        try (Device cpu = Devices.open("cpu", 1)) {
            assumeTrue(cpu.halves(DType.BF16) == Device.Halves.VECTOR,
                    () -> "no bfloat16 here: " + cpu.halvesRemark(DType.BF16));
        }
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.precision = Precision.HALF;
        run.overwrite = true;
        run.threads = 1;
        run.run();
        SortedMap<String, Long> expected = Checksums.of(run.output);
        run.threads = 3;

        run.run();

        assertEquals(expected, Checksums.of(run.output));
        run.precision = Precision.FLOAT32;
        run.run();
        assertNotEquals(expected, Checksums.of(run.output));
    }

    @Test
    void a_run_repeated_on_the_same_device_gives_the_same_files() {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"));
        SortedMap<String, Long> first = quantize(model, 2, ActOrder.STATIC, true, false);

        SortedMap<String, Long> second = quantize(model, 2, ActOrder.STATIC, true, false);

        assertEquals(first, second);
    }

    @Test
    void evaluation_leaves_no_trace_in_the_files() {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"));
        SortedMap<String, Long> without = quantize(model, 2, ActOrder.STATIC, true, false);
        TinyRun evaluated = new TinyRun(model, folder);
        evaluated.overwrite = true;
        evaluated.evaluate = true;

        evaluated.run();

        assertEquals(without, Checksums.of(evaluated.output));
    }

    private SortedMap<String, Long> quantizeByGradients(Path model, int threads) {
        TinyRun run = new TinyRun(model, folder);
        run.calibrator = CalibratorKind.GRADIENT;
        run.overwrite = true;
        run.threads = threads;
        run.run();
        return Checksums.of(run.output);
    }

    private SortedMap<String, Long> quantize(Path model, int threads, ActOrder actOrder, boolean symmetric,
            boolean trueSequential) {
        TinyRun run = new TinyRun(model, folder);
        run.overwrite = true;
        run.threads = threads;
        run.actOrder = actOrder;
        run.symmetric = symmetric;
        run.trueSequential = trueSequential;
        run.format = symmetric ? CheckpointFormat.GPTQ : CheckpointFormat.GPTQ_V2;
        run.run();
        return Checksums.of(run.output);
    }
}
