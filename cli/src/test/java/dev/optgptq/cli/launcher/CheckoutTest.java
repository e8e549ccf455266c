package dev.optgptq.cli.launcher;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.cli.launcher.Installation.Outcome;
import dev.optgptq.cli.testing.Models;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** In a checkout the launcher builds what is missing or stale. A script stands for Maven: it "builds" in no time. */
@DisabledOnOs(OS.WINDOWS)
class CheckoutTest {

    @TempDir
    Path directory;
    private Installation checkout;
    private Path source = Path.of("");

    @BeforeEach
    void clone_the_repository() throws Exception {
        checkout = Installation.in(directory).with("OPT_GPTQ_JAVA_HOME", Installation.jdk());
        Files.writeString(checkout.home().resolve("pom.xml"), "<project/>");
        source = Files.createDirectories(checkout.home().resolve("cli/src/main")).resolve("Main.java");
        Files.writeString(source, "class Main {}");
        Files.setLastModifiedTime(source, FileTime.from(Instant.now().minusSeconds(100)));
    }

    private void installMaven() throws Exception {
        checkout.addTool("mvn", "echo \"mvn $*\"; mkdir -p cli/target/lib; ln -sf \"$PWD/lib/opt-gptq-cli.jar\" "
                + "cli/target/lib/opt-gptq-cli.jar");
    }

    @Test
    void the_first_run_builds_and_says_so() throws Exception {
        installMaven();
        Outcome outcome = checkout.run("--version");
        assertEquals(0, outcome.exitCode(), outcome::err);
        assertTrue(outcome.out().startsWith("opt-gptq "), outcome::out);
        assertTrue(outcome.err().contains("building with Maven (first run)"), outcome::err);
    }

    @Test
    void the_second_run_does_not_build() throws Exception {
        installMaven();
        checkout.run("--version");
        assertEquals("", checkout.run("--version").err());
    }

    @Test
    void a_changed_source_is_built_again() throws Exception {
        installMaven();
        checkout.run("--version");
        Files.setLastModifiedTime(source, FileTime.from(Instant.now().plusSeconds(100)));
        assertTrue(checkout.run("--version").err().contains("building with Maven (the sources changed)"));
    }

    @Test
    void a_failed_build_shows_the_end_of_its_log_and_is_tried_again() throws Exception {
        checkout.addTool("mvn", "echo 'ERROR: Main.java:1 does not compile'; exit 1");
        Outcome outcome = checkout.run("--version");
        assertEquals(1, outcome.exitCode());
        assertTrue(outcome.err().contains("ERROR: Main.java:1 does not compile"), outcome::err);
        assertTrue(outcome.err().contains("the build failed"), outcome::err);
        assertEquals(List.of("build.log", "built.new"), Models.names(checkout.home().resolve("cli/target")));
        installMaven();
        assertEquals(0, checkout.run("--version").exitCode());
    }

    @Test
    void without_maven_it_says_what_to_install() throws Exception {
        Outcome outcome = checkout.run("--version");
        assertEquals(1, outcome.exitCode());
        assertTrue(outcome.err().contains("Maven, which builds it, was not found"), outcome::err);
        assertTrue(outcome.err().contains("apt-get install maven"), outcome::err);
    }

    @Test
    void the_lock_of_a_build_that_was_killed_is_taken_over() throws Exception {
        installMaven();
        Path target = Files.createDirectories(checkout.home().resolve("cli/target"));
        Files.createSymbolicLink(target.resolve("build.lock"), Path.of("999999999"));
        assertEquals(0, checkout.run("--version").exitCode());
        assertFalse(Models.names(target).contains("build.lock"));
    }
}
