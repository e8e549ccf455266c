package dev.optgptq.cli.launcher;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.launcher.Installation.Outcome;
import dev.optgptq.cli.testing.Models;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** How the launcher finds a JDK, and what it passes on. */
@DisabledOnOs(OS.WINDOWS)
class LauncherTest {

    @TempDir
    Path directory;
    private Installation installed;

    @BeforeEach
    void install() throws Exception {
        installed = Installation.in(directory);
    }

    @Test
    void the_jdk_that_is_named_is_used() throws Exception {
        runs(installed.with("OPT_GPTQ_JAVA_HOME", Installation.jdk()).run("--version"));
    }

    @Test
    void the_jdk_of_java_home_is_found() throws Exception {
        runs(installed.with("JAVA_HOME", Installation.jdk()).run("--version"));
    }

    @Test
    void the_jdk_of_the_path_is_found_through_links() throws Exception {
        Path alternatives = Files.createDirectories(directory.resolve("alternatives"));
        Path jdk = Installation.realJdk(directory.resolve("jdk"));
        Files.createSymbolicLink(alternatives.resolve("java"), jdk.resolve("bin/java"));
        Files.createSymbolicLink(installed.tools().resolve("java"), Path.of("../alternatives/java"));
        runs(installed.run("--version"));
    }

    @Test
    void among_the_install_folders_the_suitable_one_is_found() throws Exception {
        Path folder = Files.createDirectories(directory.resolve("jvm"));
        Installation.fakeJdk(folder.resolve("a-17"), "17.0.15");
        Installation.fakeJdk(folder.resolve("b-25"), "25.0.2");
        Installation.realJdk(folder.resolve("c-25"));
        runs(installed.with("OPT_GPTQ_JDK_DIRS", directory.resolve("empty") + ":" + folder).run("--version"));
    }

    @Test
    void without_a_jdk_it_says_what_to_install() throws Exception {
        Outcome outcome = installed.run("--version");
        assertEquals(1, outcome.exitCode());
        for (String part : new String[] {"needs a JDK 25.0.3 or newer, and older than 26, and found none",
                "apt-get install temurin-25-jdk", "dnf install", "brew install", "sdk install java",
                "set OPT_GPTQ_JAVA_HOME"}) {
            assertTrue(outcome.err().contains(part), () -> part + " is not in " + outcome.err());
        }
        assertEquals("", outcome.out());
    }

    @Test
    void what_was_found_and_does_not_fit_is_listed() throws Exception {
        Path old = Installation.fakeJdk(directory.resolve("old"), "21.0.4");
        Outcome outcome = installed.with("JAVA_HOME", old).run("--version");
        assertEquals(1, outcome.exitCode());
        assertTrue(outcome.err().contains("21.0.4 in " + old), outcome.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"1.8.0_402", "17.0.15", "24.0.2", "25", "25.0.1", "25.0.2", "25.0.2.0.1", "26", "26.0.1"})
    void a_named_jdk_that_does_not_fit_is_refused_and_never_started(String version) throws Exception {
        Path jdk = Installation.fakeJdk(directory.resolve("jdk"), version);
        Outcome outcome = installed.with("OPT_GPTQ_JAVA_HOME", jdk).with("JAVA_HOME", Installation.jdk())
                .run("--version");
        assertEquals(1, outcome.exitCode());
        assertTrue(outcome.err().contains("is no JDK 25.0.3 or newer"), outcome.err());
        assertTrue(outcome.err().contains(version + " in " + jdk), outcome.err());
        assertFalse(outcome.err().contains("started"), outcome.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"25.0.3", "25.0.3.1", "25.0.10", "25.1"})
    void a_named_jdk_that_fits_is_started(String version) throws Exception {
        Path jdk = Installation.fakeJdk(directory.resolve("jdk"), version);
        Outcome outcome = installed.with("OPT_GPTQ_JAVA_HOME", jdk).run("--version");
        assertEquals(70, outcome.exitCode(), outcome::err);
        assertEquals("started\n", outcome.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"convert-gqa model", "bench --shape llama-7b --convert --device cuda:0", "bench --convert"})
    void conversions_have_half_of_the_memory_for_the_heap(String command) throws Exception {
        assertEquals(List.of("-XX:+UseG1GC", "-XX:MaxRAMPercentage=50"), heapOptions(command));
    }

    @ParameterizedTest
    @ValueSource(strings = {"quantize convert-gqa", "bench --shape llama-7b", "inspect --convert"})
    void other_commands_have_a_small_heap(String command) throws Exception {
        assertEquals(List.of("-XX:+UseSerialGC", "-Xmx1g"), heapOptions(command));
    }

    /** Those that choose the collector and the largest heap. */
    private List<String> heapOptions(String command) throws Exception {
        installed.with("OPT_GPTQ_JAVA_HOME", Installation.printingJdk(directory.resolve("jdk")));
        return installed.run(command.split(" ")).out().lines()
                .filter(option -> option.matches("-XX:\\+Use\\w+GC|-Xmx.*|-XX:MaxRAM.*")).toList();
    }

    @Test
    void it_works_through_links_from_anywhere() throws Exception {
        Path bin = Files.createDirectories(directory.resolve("bin"));
        Path link = Files.createSymbolicLink(bin.resolve("gptq"), Path.of("../opt-gptq home/opt-gptq"));
        Path linkToLink = Files.createSymbolicLink(directory.resolve("quantizer"), link);
        installed.with("OPT_GPTQ_JAVA_HOME", Installation.jdk());
        runs(installed.run(linkToLink, "--version"));
    }

    @Test
    void exit_codes_and_arguments_pass_through_unchanged() throws Exception {
        installed.with("OPT_GPTQ_JAVA_HOME", Installation.jdk());
        Outcome failed = installed.run("inspect", "no such  model * $HOME");
        assertEquals(1, failed.exitCode());
        assertTrue(failed.err().contains("no such  model * $HOME: expected a model directory"), failed.err());
        assertEquals(2, installed.run("--nonsense").exitCode());
    }

    @Test
    void nothing_is_said_that_is_of_no_use() throws Exception {
        installed.with("OPT_GPTQ_JAVA_HOME", Installation.jdk());
        assertEquals("", installed.run("devices").err());
    }

    @Test
    void a_startup_cache_that_does_not_fit_is_not_used_and_not_spoken_of() throws Exception {
        installed.with("OPT_GPTQ_JAVA_HOME", Installation.jdk());
        Files.writeString(installed.home().resolve("lib/startup.aot"), "of another Java");
        Outcome outcome = installed.run("--version");
        runs(outcome);
        assertEquals("", outcome.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "C", "POSIX", "en_XX.UTF-8"})
    void paths_may_hold_any_letters_whatever_the_locale(String locale) throws Exception {
        installed.with("OPT_GPTQ_JAVA_HOME", Installation.jdk()).with("LC_ALL", locale);
        Path model = Models.copy(Models.llama(), directory.resolve("mod\u00E8le-\u6A21"));
        Outcome outcome = installed.run("inspect", model.toString());
        assertEquals(0, outcome.exitCode(), outcome::err);
        assertTrue(outcome.out().contains(model.toString()), outcome::out);
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void a_full_disk_under_standard_output_is_a_failure() throws Exception {
        installed.with("OPT_GPTQ_JAVA_HOME", Installation.jdk());
        Path err = directory.resolve("err");
        int exitCode = installed.start(installed.script(), Path.of("/dev/full"), err, "inspect",
                Models.llama().toString(), "--json").waitFor();
        assertEquals(1, exitCode);
        assertTrue(Files.readString(err).contains("standard output could not be written"), Files.readString(err));
    }

    @Test
    void commands_that_compute_nothing_say_nothing_on_standard_error() throws Exception {
        installed.with("OPT_GPTQ_JAVA_HOME", Installation.jdk());
        assertEquals("", installed.run("quantize", "--help").err());
        assertEquals("", installed.run("completion").err());
    }

    @Test
    @EnabledOnOs(value = OS.LINUX, architectures = "amd64")
    void the_java_of_a_distribution_comes_before_all_others_but_one_that_is_named() throws Exception {
        Installation.fakeJdk(installed.home().resolve("runtime"), "25.0.3");
        Path named = Installation.realJdk(directory.resolve("named"));
        Outcome bundled = installed.with("JAVA_HOME", named).run("--version");
        assertEquals("started\n", bundled.err());
        runs(installed.with("OPT_GPTQ_JAVA_HOME", named).run("--version"));
    }

    @Test
    @EnabledOnOs(value = OS.LINUX, architectures = "amd64")
    void a_distribution_runs_without_a_home_directory() throws Exception {
        Installation.realJdk(installed.home().resolve("runtime"));
        runs(installed.without("HOME").run("--version"));
    }

    @Test
    void the_usual_folders_are_searched_without_a_home_directory() throws Exception {
        Outcome outcome = installed.without("HOME").without("OPT_GPTQ_JDK_DIRS").run("--version");
        assertFalse(outcome.err().contains("HOME"), outcome.err());
    }

    @Test
    @EnabledOnOs(value = OS.LINUX, architectures = "amd64")
    void a_distribution_whose_java_is_damaged_says_so_and_takes_no_other() throws Exception {
        Path runtime = Files.createDirectories(installed.home().resolve("runtime"));
        Outcome outcome = installed.with("JAVA_HOME", Installation.jdk()).run("--version");
        assertEquals(1, outcome.exitCode());
        assertTrue(outcome.err().contains(runtime + " is no Java 25.0.3 or newer"), outcome.err());
        assertTrue(outcome.err().contains("unpack the distribution again"), outcome.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"Linux aarch64", "Darwin arm64"})
    void a_distribution_on_another_system_says_which_it_is_for(String system) throws Exception {
        Installation.fakeJdk(installed.home().resolve("runtime"), "25.0.3");
        installed.addTool("uname", "echo '" + system + "'");
        Outcome outcome = installed.run("--version");
        assertEquals(1, outcome.exitCode());
        assertTrue(outcome.err().contains("is for Linux x86_64, and this is " + system), outcome.err());
    }

    @Test
    @EnabledOnOs(value = OS.LINUX, architectures = "amd64")
    void the_program_is_told_where_a_distribution_has_its_native_libraries() throws Exception {
        Path natives = Files.createDirectories(installed.home().resolve("lib/native"));
        Installation.writeScript(Files.createDirectories(installed.home().resolve("runtime/bin")).resolve("java"),
                "for argument; do echo \"$argument\"; done");
        Files.writeString(installed.home().resolve("runtime/release"), "JAVA_VERSION=\"25.0.3\"\n");
        Outcome outcome = installed.run("devices");
        assertTrue(outcome.out().lines().toList().contains("-Dopt-gptq.natives=" + natives), outcome::out);
    }

    @Test
    void a_distribution_without_its_program_says_so() throws Exception {
        Files.delete(installed.home().resolve("lib/opt-gptq-cli.jar"));
        Outcome outcome = installed.with("OPT_GPTQ_JAVA_HOME", Installation.jdk()).run("--version");
        assertEquals(1, outcome.exitCode());
        assertTrue(outcome.err().contains("is missing; unpack the distribution again"), outcome.err());
    }

    private static void runs(Outcome outcome) {
        assertEquals(0, outcome.exitCode(), outcome::err);
        assertTrue(outcome.out().startsWith("opt-gptq "), outcome::out);
    }
}
