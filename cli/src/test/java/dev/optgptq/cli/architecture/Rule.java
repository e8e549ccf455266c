package dev.optgptq.cli.architecture;

import com.tngtech.archunit.lang.ArchRule;
import java.util.List;

/**
 * One rule beside the smallest code that breaks it, so that a rule which could never fail is found out.
 *
 * @param name a sentence
 * @param offender compilation units that together break the rule, each starting with its package
 */
record Rule(String name, ArchRule rule, List<String> offender) {

    static Rule of(String name, ArchRule rule, String... offender) {
        return new Rule(name, rule, List.of(offender));
    }
}
