package dev.optgptq.cli.architecture;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.io.IOException;
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
    Stream<DynamicTest> every_rule_is_broken_by_its_offender(@TempDir Path directory) throws IOException {
        Offenders.compile(rules().flatMap(rule -> rule.offender().stream()).toList(), directory);
        JavaClasses offenders = new ClassFileImporter().importPath(directory);
        return rules().map(rule -> dynamicTest(rule.name(), () -> {
            List<String> names = rule.offender().stream().map(Offenders::name).toList();
            JavaClasses offender = offenders.that(describe("of the rule", known -> names.contains(known.getName())));
            assertEquals(names.size(), offender.size());
            assertTrue(rule.rule().evaluate(offender).hasViolation(), () -> "nothing was said against " + names);
        }));
    }

    private static Stream<Rule> rules() {
        return Stream.of(Rules.arrows(), Rules.knowledge(), Rules.libraries(), Rules.conduct()).flatMap(List::stream);
    }
}
