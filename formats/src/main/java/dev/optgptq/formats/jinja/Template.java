package dev.optgptq.formats.jinja;

import java.time.LocalDateTime;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/**
 * A chat template: Jinja (https://jinja.palletsprojects.com, 3.1) in the dialect of transformers' apply_chat_template, which
 * sets trim_blocks and lstrip_blocks, and adds raise_exception, strftime_now, tojson without HTML escapes, {% break %},
 * {% continue %} and {% generation %}. Left out: include, import, extends, recursive loops, and what only web pages need.
 *
 * <p>A template comes from strangers: it reaches no file and no class, and its steps, text and depth are bounded.
 */
public final class Template {

    private final List<Statement> statements;

    private Template(List<Statement> statements) {
        this.statements = statements;
    }

    /** Throws TemplateException with the line. */
    public static Template parse(String source) {
        return new Template(TemplateParser.parse(source));
    }

    /**
     * Throws TemplateException with the line.
     *
     * @param now what strftime_now gives
     */
    public String render(Map<String, JsonNode> variables, LocalDateTime now) {
        Budget budget = new Budget();
        Scope scope = new Scope(Globals.scope(now, budget));
        variables.forEach((name, value) -> scope.set(name, Values.of(value)));
        return new Interpreter(budget).render(statements, scope);
    }
}
