package dev.optgptq.formats.chat;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.formats.UserError.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;

class ChatTemplateTest {

    private static final LocalDateTime NOW = LocalDateTime.of(2026, 11, 30, 9, 5);

    @TempDir
    private Path model;

    @Test
    void the_file_of_its_own_comes_before_tokenizer_config() throws IOException {
        write("chat_template.json", "{\"chat_template\": \"processor\"}");
        assertEquals("processor", render("[]"));
        write("tokenizer_config.json",
                "{\"chat_template\": \"config {{ bos_token }}\", \"bos_token\": {\"content\": \"<s>\"}}");
        assertEquals("config <s>", render("[]"));
        write("chat_template.jinja", "file {{ messages[0].content }}");
        assertEquals("file Hi", render("[{\"role\": \"user\", \"content\": \"Hi\"}]"));
    }

    @Test
    void of_several_templates_the_default_is_taken() throws IOException {
        write("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"t\"},"
                + "{\"name\": \"default\", \"template\": \"d\"}]}");
        assertEquals("d", render("[]"));
        write("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"t\"}]}");
        assertUserError(Code.BAD_TOKENIZER, () -> render("[]"), "tokenizer_config.json", "found tool_use");
    }

    @Test
    void what_cannot_be_used_is_named() throws IOException {
        assertUserError(Code.BAD_TOKENIZER, () -> render("[]"), model.toString(), "chat_template.jinja", "found none");
        write("chat_template.jinja", "{{ messages[0].content.split }");
        assertUserError(Code.BAD_TOKENIZER, () -> render("[]"), "chat_template.jinja", "line 1");
        write("chat_template.jinja", "\n{{ raise_exception('roles must alternate') }}");
        assertUserError(Code.BAD_TEXT, () -> render("[]"), "the test: ", "line 2: roles must alternate");
        write("chat_template.jinja", "{{ messages[0].tool.name }}");
        assertUserError(Code.BAD_TOKENIZER, () -> render("[{\"role\": \"user\"}]"), "chat_template.jinja",
                "'tool' is undefined");
        assertUserError(Code.BAD_TEXT, () -> render("[{\"content\": \"Hi\"}]"), "the test: ", "without a role");
        write("chat_template.jinja", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
        assertUserError(Code.BAD_TOKENIZER, () -> render("[]"), "chat_template.jinja", "Git LFS pointer");
        write("chat_template.jinja", "x".repeat((1 << 20) + 1));
        assertUserError(Code.BAD_TOKENIZER, () -> render("[]"), "chat_template.jinja", "at most 1048576 bytes");
    }

    private String render(String messages) {
        return ChatTemplate.load(model).render((ArrayNode) new JsonMapper().readTree(messages), true, NOW,
                "the test");
    }

    private void write(String name, String text) throws IOException {
        Files.writeString(model.resolve(name), text);
    }
}
