package dev.optgptq.cli.architecture;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

class ArchitectureTest {

    private static final JavaClasses PROGRAM = new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS).importPackages("dev.optgptq");

    @TempDir
    Path directory;

    @Test
    void the_rules_see_all_five_modules() {
        for (String module : List.of("formats", "kernels", "calibrate", "gptq", "cli")) {
            assertTrue(PROGRAM.stream().anyMatch(known -> known.getPackageName().startsWith("dev.optgptq." + module)),
                    module);
        }
    }

    @TestFactory
    Stream<DynamicTest> the_program_keeps_every_rule() {
        return rules().map(rule -> dynamicTest(rule.name(), () -> rule.rule().check(PROGRAM)));
    }

    @TestFactory
    Stream<DynamicTest> every_rule_can_be_broken() {
        return rules().map(rule -> dynamicTest(rule.name(), () -> assertFalse(holdsForItsOffender(rule),
                () -> "nothing was said against " + rule.offender())));
    }

    private boolean holdsForItsOffender(Rule rule) throws IOException {
        Path classes = Files.createTempDirectory(directory, "offender");
        Offenders.compile(rule.offender(), classes);
        return !rule.rule().evaluate(new ClassFileImporter().importPath(classes)).hasViolation();
    }

    private static Stream<Rule> rules() {
        return Stream.of(Rules.arrows(), Rules.knowledge(), Rules.libraries(), Rules.conduct()).flatMap(List::stream);
    }
}
