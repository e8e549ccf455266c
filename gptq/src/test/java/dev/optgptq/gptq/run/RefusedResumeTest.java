package dev.optgptq.gptq.run;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.testing.TinyModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.SortedMap;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** No run resumes from foreign or damaged work; and none deletes finished blocks unless it is told to. */
class RefusedResumeTest {

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;
    @SuppressWarnings("NullAway.Init") // set before each test
    private TinyRun run;

    @BeforeEach
    void aRunThatWasStoppedInItsSecondBlock() {
        run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        ResumeTest.stop(run, "block 2/2: solve");
    }

    /** @param change a setting, and what is said of it */
    record Change(Consumer<TinyRun> change, String said) {
        @Override
        public String toString() {
            return said;
        }
    }

    static Stream<Change> changes() {
        return Stream.of(new Change(run -> run.bits = 3, "--bits was 4 and is 3"),
                new Change(run -> run.damp = 0.02, "--damp was 0.01 and is 0.02"),
                new Change(run -> run.samples = 5, "the calibration text was 6 x 64 tokens"),
                new Change(run -> run.calibrator = CalibratorKind.RTN, "--calibrator was gptq and is rtn"),
                new Change(run -> run.scaleSearch = true, "--scale-search was false and is true"));
    }

    @ParameterizedTest
    @MethodSource("changes")
    void blocks_of_other_settings_are_refused_and_kept(Change change) throws IOException {
        SortedMap<String, Long> before = parts();
        change.change().accept(run);

        assertUserError(Code.OUTPUT, run::run, run.output.toString(), "1 of 2 blocks", change.said(), "--fresh");

        assertEquals(before, parts());
    }

    @ParameterizedTest
    @ValueSource(strings = {"model.safetensors", "config.json"})
    void blocks_of_a_model_that_changed_are_refused(String file) throws IOException {
        Path changed = folder.resolve("model").resolve(file);
        if (file.equals("config.json")) {
            Files.writeString(changed, Files.readString(changed).replaceFirst("(\"rms_norm_eps\"\\s*:)[^,]*",
                    "$1 0.5"));
        } else {
            Files.setLastModifiedTime(changed, FileTime.fromMillis(1));
        }

        assertUserError(Code.OUTPUT, run::run, file + " was ", "--fresh");
    }

    @Test
    void another_text_of_the_same_length_is_refused() throws IOException {
        Path text = folder.resolve("text.txt");
        Files.writeString(text, Files.readString(text).replace('e', 'a'));

        assertUserError(Code.OUTPUT, run::run, "the calibration text was 6 x 64 tokens");
    }

    @Test
    void another_version_of_the_program_is_refused() {
        Origin newer = new Origin("opt-gptq", "10.0.0", List.of());

        assertUserError(Code.OUTPUT, () -> run.runAs(newer), "the program was opt-gptq 9.9.9 and is opt-gptq 10.0.0");
    }

    @Test
    void another_device_is_refused() {
        assertUserError(Code.OUTPUT, () -> run.runOn("reference"), "the device was ", "scalar loops");
    }

    @Test
    void fresh_deletes_them_and_starts_over() {
        run.bits = 3;
        run.fresh = true;
        run.log.clear();

        RunReport report = run.run();

        assertFalse(report.resumed().happened());
        assertTrue(run.log.contains("starting over: deleted 1 of 2 blocks of an interrupted run"), run.log.toString());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{", "{\"format\": 2, \"starts\": [], \"identity\": {}}", "[1]"})
    void what_cannot_be_understood_is_refused_and_fresh_starts_over(String runJson) throws IOException {
        Files.writeString(folder.resolve(".out.partial/run.json"), runJson);
        assertUserError(Code.OUTPUT, run::run, "run.json", "--fresh");

        run.fresh = true;
        run.log.clear();

        assertFalse(run.run().resumed().happened());
        assertTrue(run.log.stream().anyMatch(line -> line.startsWith("starting over: deleted")), run.log.toString());
    }

    @Test
    void fresh_starts_over_with_equal_settings_too() {
        run.fresh = true;

        assertFalse(run.run().resumed().happened());
    }

    /** Nothing that took long is lost. */
    @Test
    void what_comes_before_the_first_block_is_deleted_for_other_settings() {
        TinyRun other = new TinyRun(folder.resolve("model"), folder);
        other.output = folder.resolve("other");
        other.evaluate = true;
        ResumeTest.stop(other, "block 1/2: hessian");
        other.bits = 3;

        assertFalse(other.run().resumed().happened());
    }

    @ParameterizedTest
    @ValueSource(strings = {"block-00000.safetensors", "block-00000.json"})
    void a_damaged_block_is_named_and_computed_again(String file) throws IOException {
        TinyRun undisturbed = new TinyRun(folder.resolve("model"), folder);
        undisturbed.output = folder.resolve("undisturbed");
        undisturbed.run();
        Path damaged = folder.resolve(".out.partial").resolve(file);
        byte[] bytes = Files.readAllBytes(damaged);
        bytes[bytes.length / 2] ^= 1;
        Files.write(damaged, bytes);
        run.log.clear();

        RunReport report = run.run();

        assertEquals(Checksums.of(undisturbed.output), Checksums.of(run.output));
        assertEquals(0, report.resumed().blocks());
        assertTrue(run.log.stream().anyMatch(line -> line.contains("block-00000.safetensors")
                && line.contains("computed again")), run.log.toString());
    }

    @Test
    void blocks_behind_a_damaged_one_are_computed_again_too() throws IOException {
        run.evaluate = true;
        ResumeTest.stop(run, "evaluate");
        Files.writeString(folder.resolve(".out.partial/block-00000.safetensors"), "damaged");

        RunReport report = run.run();

        assertEquals(0, report.resumed().blocks());
    }

    @Test
    void saliency_that_is_damaged_is_computed_again() throws IOException {
        TinyRun gradient = gradient("undisturbed");
        gradient.run();
        TinyRun stopped = gradient("stopped");
        ResumeTest.stop(stopped, "block 2/2: solve");
        Files.writeString(folder.resolve(".stopped.partial/saliency.safetensors"), "damaged");

        stopped.run();

        assertEquals(Checksums.of(gradient.output), Checksums.of(stopped.output));
    }

    private TinyRun gradient(String output) {
        TinyRun gradient = new TinyRun(folder.resolve("model"), folder);
        gradient.calibrator = CalibratorKind.GRADIENT;
        gradient.output = folder.resolve(output);
        return gradient;
    }

    @Test
    void an_output_that_appeared_in_the_meantime_is_not_overwritten_and_the_blocks_are_kept() throws IOException {
        Files.createDirectory(run.output);

        assertUserError(Code.OUTPUT, run::run, run.output.toString(), "--overwrite");

        assertTrue(Files.exists(folder.resolve(".out.partial/block-00000.safetensors")));
        run.overwrite = true;
        assertTrue(run.run().resumed().happened());
    }

    /** What was kept, less the lock, which says who held it last. */
    private SortedMap<String, Long> parts() {
        SortedMap<String, Long> parts = Checksums.of(folder.resolve(".out.partial"));
        parts.remove("lock");
        return parts;
    }
}
