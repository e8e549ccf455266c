package dev.optgptq.calibrate.family;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

class CheckedFamiliesTest {

    /** FamilyGoldenTest and ExpertsGoldenTest run all of them. */
    @Test
    void families_names_the_fixtures_that_tests_compare() {
        List<String> named = Families.summaries().stream().flatMap(family -> family.fixtures().stream()).toList();

        assertEquals(FamilyFixtures.all().sorted().toList(), named.stream().sorted().toList());
    }
}
