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
            "{{ {}|tojson(indent=1000000000000)|indent(9999) * 2 ** 62 }}",
            "{{ range(-9223372036854775807 - 1, 0) }}",
            "{{ range(9)|tojson(separators=('x' * 60000000, ':')) }}",
            "{{ ('a' * 1000000 + 'b') in 'a' * 9000000 }}", "{{ ('a' * 9000000).strip('b' * 1000000 + 'a') }}",
            "{{ ('a' * 9000000).split('a') }}", "{{ ('a' * 9000000).rsplit('a') }}",
            "{{ ('\n' * 9000000).splitlines() }}",
            "{% set t = 'x' * 9000000 %}{% for i in range(9999) %}{% set u = t|length %}{% endfor %}",
            "{% set t = 'x' * 9000000 %}{% for i in range(9999) %}{% set u = t|int %}{% endfor %}",
            "{% set r = range(9999) %}{% for i in r %}{% set u = -1 in r %}{% endfor %}",
            "{% set r = range(9999) %}{% for i in r %}{% set u = r.count(-1) %}{% endfor %}"})
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

    @ParameterizedTest
    @ValueSource(strings = {"{{ a.x }}", "{{ a.x|tojson }}", "{{ a.x == b.x }}", "{{ a.x in [b.x] }}",
            "{{ a.x < b.x }}",
            "{{ [a.x, b.x]|sort }}", "{{ [a.x, b.x]|unique }}", "{{ {a.x: 1} }}", "{{ a.x in {1: 1} }}",
            "{{ {1: 1}.get(a.x) }}", "{{ a.x is eq b.x }}"})
    void values_that_hold_themselves_often_or_deep_are_not_followed_without_end(String template) {
        for (String of : new String[] {"[%s.x, %s.x]", "[[[[[[[[[%s.x]]]]]]]]]"}) {
            String grown = "{% set a = namespace(x=1) %}{% set b = namespace(x=1) %}{% for i in range(9999) %}"
                    + "{% set a.x = " + of.replace("%s", "a") + " %}{% set b.x = " + of.replace("%s", "b")
                    + " %}{% endfor %}";
            assertThrows(TemplateException.class, () -> render(grown + template), of);
        }
    }

    @Test
    void a_namespace_is_equal_to_itself_alone_whatever_it_holds() {
        assertEquals("True False", render("{% set a = namespace() %}{% set b = namespace(x=a) %}{% set a.x = b %}"
                + "{{ a == b.x }} {{ a == b }}"));
    }

    @Test
    void a_part_that_is_no_key_is_not_in_a_mapping() {
        assertEquals("", render("{{ {'a': 1}[['a']] }}"));
    }

    @Test
    void recursion_through_nested_statements_and_values_is_refused_before_the_stack_is_gone() {
        String body = "{% if 1 %}".repeat(90) + "{{ [[[[m()]]]] }}" + "{% endif %}".repeat(90);
        assertThrows(TemplateException.class, () -> render("{% macro m() %}" + body + "{% endmacro %}{{ m() }}"));
        String loops = "{% for i in [1] %}".repeat(90) + "{{ m() }}" + "{% endfor %}".repeat(90);
        assertThrows(TemplateException.class, () -> render("{% macro m() %}" + loops + "{% endmacro %}{{ m() }}"));
        assertThrows(TemplateException.class, () -> render("{% macro m(x) %}{{ m({1: [m(2)|string]}) }}{% endmacro %}"
                + "{{ m(1) }}"));
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

    @Test
    void a_message_as_long_as_a_template_is_cut() {
        String message = message("{{ " + "9".repeat(100_000) + " }}");
        assertTrue(message.startsWith("line 1: the number 999") && message.length() < 1100, message);
        assertTrue(message("{{ raise_exception('no' * 99999) }}").length() < 1100);
    }

    private static void assertMessage(String message, String template) {
        assertEquals(message, message(template));
    }

    private static String message(String template) {
        return String.valueOf(assertThrows(TemplateException.class, () -> render(template)).getMessage());
    }

    private static String render(String template) {
        return Template.parse(template).render(Map.of(), NOW);
    }
}
