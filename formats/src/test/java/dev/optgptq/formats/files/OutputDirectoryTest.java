package dev.optgptq.formats.files;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.testing.ChildJvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is kept, for whom, and what becomes of it. */
class OutputDirectoryTest {

    private static final String CONFIG = "config.json";

    @TempDir
    Path parent;

    @Test
    void what_is_worth_keeping_outlives_a_run_and_its_unfinished_target_does_not() throws IOException {
        try (OutputDirectory directory = open()) {
            Files.writeString(directory.path().resolve("part"), "hours of work");
            Files.writeString(directory.work().resolve(CONFIG), "half");
            directory.keep(true);
        }

        assertEquals(List.of("lock", "part"), names(parent.resolve(".out.partial")));
        try (OutputDirectory next = open()) {
            assertEquals("hours of work", Files.readString(next.path().resolve("part")));
            assertEquals(List.of(), names(next.work()));
        }
        assertEquals(List.of("lock", "part"), names(parent.resolve(".out.partial")));
    }

    @Test
    void a_commit_leaves_the_target_alone() throws IOException {
        try (OutputDirectory directory = open()) {
            Files.writeString(directory.path().resolve("part"), "hours of work");
            Files.writeString(directory.work().resolve(CONFIG), "whole");
            directory.keep(true);
            directory.commit();
        }

        assertEquals(List.of("out"), names(parent));
        assertEquals(List.of(OutputMark.FILE, CONFIG), names(parent.resolve("out")));
    }

    @Test
    void clearing_deletes_what_was_kept() throws IOException {
        keepAPart();

        try (OutputDirectory directory = open()) {
            directory.clear();
        }

        assertEquals(List.of(), names(parent));
    }

    @Test
    void a_second_run_in_the_same_process_is_refused_and_the_first_goes_on() throws IOException {
        try (OutputDirectory directory = open()) {
            assertUserError(Code.OUTPUT, this::open, parent.resolve("out").toString(), "another run", "is writing it");

            Files.writeString(directory.work().resolve(CONFIG), "whole");
            directory.commit();
        }
        assertEquals(List.of("out"), names(parent));
    }

    @Test
    void a_second_process_is_refused_until_the_first_was_killed_and_then_finds_what_that_kept() throws Exception {
        Process first = ChildJvm.start(KeepsAndWaits.class, Map.of(), parent.resolve("out").toString());
        try (BufferedReader output = first.inputReader()) {
            assertEquals("kept", output.readLine());
            assertUserError(Code.OUTPUT, this::open, "another run (process " + first.pid() + ", since ");
        } finally {
            first.destroyForcibly();
        }
        assertTrue(first.waitFor(30, TimeUnit.SECONDS), "the process did not end");

        try (OutputDirectory next = open()) {
            assertEquals("hours of work", Files.readString(next.path().resolve("part")));
        }
    }

    /** Keeps a part, and sleeps until it is killed. */
    static final class KeepsAndWaits {
        public static void main(String[] args) throws Exception {
            try (OutputDirectory directory = new OutputDirectory(Path.of(args[0]), false)) {
                Files.writeString(directory.path().resolve("part"), "hours of work");
                directory.keep(true);
                System.out.println("kept");
                Thread.sleep(60_000);
            }
        }
    }

    /** The two renames of a commit that overwrites: between them, neither directory has the name. */
    @Test
    void an_old_target_that_a_killed_commit_had_moved_away_is_put_back() throws IOException {
        keepAPart();
        Path old = Files.createDirectory(parent.resolve(".out.partial/replaced"));
        Files.writeString(old.resolve(CONFIG), "old");
        OutputMark.put(old);

        assertUserError(Code.OUTPUT, this::open, "--overwrite");
        assertEquals("old", Files.readString(parent.resolve("out").resolve(CONFIG)));

        try (OutputDirectory next = new OutputDirectory(parent.resolve("out"), true)) {
            assertEquals(List.of("complete", "lock", "part"), names(next.path()));
        }
    }

    @Test
    void an_old_target_that_a_killed_commit_had_replaced_is_deleted() throws IOException {
        keepAPart();
        Files.writeString(Files.createDirectory(parent.resolve(".out.partial/replaced")).resolve(CONFIG), "old");
        Files.writeString(Files.createDirectory(parent.resolve("out")).resolve(CONFIG), "new");
        OutputMark.put(parent.resolve("out"));

        try (OutputDirectory next = new OutputDirectory(parent.resolve("out"), true)) {
            assertFalse(Files.exists(next.path().resolve("replaced")));
        }

        assertEquals("new", Files.readString(parent.resolve("out").resolve(CONFIG)));
    }

    @Test
    void a_directory_of_that_name_that_is_none_of_ours_is_refused_and_left_alone() throws IOException {
        Path theirs = Files.createDirectory(parent.resolve(".out.partial"));
        Files.writeString(theirs.resolve("thesis.txt"), "all of it");

        assertUserError(Code.OUTPUT, this::open, theirs.toString(), "without 'lock'", "left alone");

        assertEquals("all of it", Files.readString(theirs.resolve("thesis.txt")));
    }

    @Test
    void a_file_or_a_link_of_that_name_is_refused_and_left_alone() throws IOException {
        Path elsewhere = Files.createDirectory(parent.resolve("elsewhere"));
        Path theirs = Files.createSymbolicLink(parent.resolve(".out.partial"), elsewhere);
        assertUserError(Code.OUTPUT, this::open, theirs.toString(), "something else");
        assertEquals(List.of(), names(elsewhere));

        Files.delete(theirs);
        Files.writeString(theirs, "text");
        assertUserError(Code.OUTPUT, this::open, theirs.toString(), "something else");
        assertEquals("text", Files.readString(theirs));
    }

    @Test
    void a_directory_that_we_did_not_write_is_never_replaced() throws IOException {
        Path theirs = Files.createDirectory(parent.resolve("out"));
        Files.writeString(theirs.resolve(CONFIG), "{}");
        Files.createDirectory(theirs.resolve(".git"));

        assertUserError(Code.OUTPUT, () -> new OutputDirectory(theirs, true), theirs.toString(), "did not write",
                "left alone");

        assertEquals(List.of(".git", CONFIG), names(theirs));
    }

    @ParameterizedTest
    @ValueSource(strings = {"notes.md", ".git/HEAD", "src/Main.java", "empty/"})
    void an_output_of_ours_that_holds_something_else_by_now_is_not_replaced(String foreign) throws IOException {
        Path output = write();
        Path file = output.resolve(foreign);
        Files.createDirectories(foreign.endsWith("/") ? file : file.getParent());
        if (!foreign.endsWith("/")) {
            Files.createFile(file);
        }

        assertUserError(Code.OUTPUT, () -> new OutputDirectory(output, true), output.toString(),
                foreign.replaceAll("/$", "") + " in it, which opt-gptq did not write");

        assertTrue(Files.exists(file));
    }

    @Test
    void what_came_into_it_between_the_start_and_the_end_of_a_run_is_not_lost() throws IOException {
        Path output = write();
        try (OutputDirectory directory = new OutputDirectory(output, true)) {
            Files.writeString(output.resolve("thesis.txt"), "all of it");
            assertUserError(Code.OUTPUT, directory::commit, "thesis.txt");
        }
        assertEquals("all of it", Files.readString(output.resolve("thesis.txt")));
    }

    @Test
    void an_output_of_ours_is_replaced_with_the_report_that_came_into_it_later() throws IOException {
        Path output = write();
        Files.writeString(output.resolve("report.json"), "{}");
        OutputMark.add(output.resolve("report.json"));

        try (OutputDirectory directory = new OutputDirectory(output, true)) {
            directory.commit();
        }

        assertEquals(List.of(OutputMark.FILE), names(output));
    }

    @Test
    void a_link_as_output_stays_and_what_it_leads_to_is_written() throws IOException {
        Path real = Files.createDirectory(parent.resolve("disk")).resolve("w4");
        Files.createSymbolicLink(parent.resolve("out"), Path.of("disk", "w4"));

        write();
        try (OutputDirectory directory = new OutputDirectory(parent.resolve("out"), true)) {
            directory.commit();
        }

        assertTrue(Files.isSymbolicLink(parent.resolve("out")));
        assertEquals(List.of(OutputMark.FILE), names(real));
        assertEquals(List.of("disk", "out"), names(parent));
    }

    @Test
    void a_link_that_leads_to_itself_is_named() throws IOException {
        Files.createSymbolicLink(parent.resolve("out"), Path.of("out"));
        assertUserError(Code.OUTPUT, this::open, parent.resolve("out").toString(), "leads to itself");
    }

    @Test
    void a_link_as_lock_is_not_followed() throws IOException {
        Path victim = Files.writeString(parent.resolve("victim"), "precious");
        Files.createSymbolicLink(Files.createDirectory(parent.resolve(".out.partial")).resolve("lock"), victim);

        assertUserError(Code.OUTPUT, this::open, ".out.partial", "a link as 'lock'", "left alone");

        assertEquals("precious", Files.readString(victim));
    }

    private Path write() throws IOException {
        try (OutputDirectory directory = open()) {
            Files.writeString(directory.work().resolve(CONFIG), "{}");
            directory.commit();
        }
        return parent.resolve("out");
    }

    private void keepAPart() throws IOException {
        try (OutputDirectory directory = open()) {
            Files.writeString(directory.path().resolve("part"), "hours of work");
            directory.keep(true);
        }
    }

    private OutputDirectory open() {
        return new OutputDirectory(parent.resolve("out"), false);
    }

    private static List<String> names(Path directory) throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.map(entry -> entry.getFileName().toString()).sorted().toList();
        }
    }
}
