package dev.optgptq.formats.jinja;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.BooleanNode;
import tools.jackson.databind.node.NullNode;
import tools.jackson.databind.node.StringNode;

/** golden.json is what Jinja itself made of the templates beside it, by make_golden.py. */
class TemplateTest {

    private static final LocalDateTime NOW = LocalDateTime.of(2026, 11, 30, 9, 5, 7);

    @TestFactory
    Stream<DynamicTest> renders_as_jinja_does() throws IOException {
        return new JsonMapper().readTree(resource("golden.json")).valueStream()
                .map(golden -> DynamicTest.dynamicTest(
                        golden.path("template").stringValue() + ", " + golden.path("case").stringValue(),
                        () -> compare(golden)));
    }

    private static void compare(JsonNode golden) throws IOException {
        Template template = Template.parse(resource(golden.path("template").stringValue()));
        Map<String, JsonNode> variables = Map.of("messages", golden.path("messages"), "add_generation_prompt",
                BooleanNode.valueOf(golden.path("generate").booleanValue()), "bos_token", StringNode.valueOf("<s>"),
                "eos_token", StringNode.valueOf("</s>"), "tools", NullNode.getInstance(), "documents",
                NullNode.getInstance());
        if (golden.path("text").isNull()) {
            assertTrue(assertThrows(TemplateException.class, () -> template.render(variables, NOW)).isRaised());
        } else {
            assertEquals(golden.path("text").stringValue(), template.render(variables, NOW));
        }
    }

    private static String resource(String name) throws IOException {
        try (InputStream in = TemplateTest.class.getResourceAsStream(name)) {
            return new String(Objects.requireNonNull(in, name).readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {
            "{% set ns = namespace(t='x') %}{% for i in range(40) %}{% set ns.t = ns.t + ns.t %}{% endfor %}",
            "{{ 'x' * 10000000000 }}", "{{ [1] * 10000000000 }}", "{{ range(10000000000) }}",
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ 9223372036854775807 + 1 }}",
            "{{ ('x' * 9000000).replace('x', 'yyyyyyyyyyyyyyyyyyyy') }}",
            "{{ {}|tojson(indent=1000000000000)|indent(9999) * 2 ** 62 }}"})
    void work_without_end_is_refused(String template) {
        TemplateException refused = assertThrows(TemplateException.class, () -> render(template));
        assertFalse(refused.isRaised());
    }

    @ParameterizedTest
    @ValueSource(strings = {"{{ ''.__class__.__mro__ }}", "{{ messages.getClass() }}",
            "{{ ''.getClass().forName('java.io.File') }}",
            "{% include 'config.json' %}", "{% import 'a' as b %}", "{% extends 'base' %}", "{{ open('/etc/passwd') }}",
            "{{ [].append(1) }}", "{{ ().__class__() }}"})
    void nothing_but_its_variables_is_within_reach(String template) {
        assertThrows(TemplateException.class, () -> render(template));
    }

    @Test
    void nesting_without_end_is_refused_before_the_stack_is_gone() {
        for (String template : new String[] {"{{ " + "(".repeat(100_000), "{{ 1" + " + 1".repeat(100_000) + " }}",
                "{{ " + "-".repeat(100_000) + "1 }}", "{% if 1 %}".repeat(100_000),
                "{% if 0 %}" + "{% elif 0 %}".repeat(100_000), "{{ " + "[".repeat(100_000),
                "{{ x" + ".a".repeat(100_000) + " }}", "{{ 1" + " if 1 else 1".repeat(100_000) + " }}"}) {
            assertThrows(TemplateException.class, () -> render(template), template.substring(0, 20));
        }
    }

    @Test
    void errors_name_the_line() {
        assertMessage("line 3: found the unknown filter 'shout'", "a\nb\n{{ 'x' | shout }}");
        assertMessage("line 2: expected one of the tags elif, else, endif, found the end of the template",
                "a\n{% if x %}");
        assertMessage("line 2: 'message' is undefined", "{% if true %}\n{{ message.content }}{% endif %}");
        assertMessage("line 1: found a call of the unknown function or method 'explode'", "{{ 'x'.explode() }}");
        assertMessage("line 1: found the unexpected character '$' in a tag", "{{ $x }}");
    }

    private static void assertMessage(String message, String template) {
        assertEquals(message, assertThrows(TemplateException.class, () -> render(template)).getMessage());
    }

    private static String render(String template) {
        return Template.parse(template).render(Map.of(), NOW);
    }
}
