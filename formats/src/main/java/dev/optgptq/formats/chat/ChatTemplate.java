package dev.optgptq.formats.chat;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.jinja.Template;
import dev.optgptq.formats.jinja.TemplateException;
import dev.optgptq.formats.json.Json;
import dev.optgptq.formats.tokenizer.SpecialTokens;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.BooleanNode;
import tools.jackson.databind.node.NullNode;

/** A model's chat template, which makes one text of a conversation, as transformers' apply_chat_template does. */
public final class ChatTemplate {

    private final Path file;
    private final Template template;
    private final Map<String, JsonNode> specialTokens;

    private ChatTemplate(Path file, Template template, Map<String, JsonNode> specialTokens) {
        this.file = file;
        this.template = template;
        this.specialTokens = specialTokens;
    }

    /** That of a model directory. UserError BAD_TOKENIZER where there is none, or one that cannot be parsed. */
    public static ChatTemplate load(Path modelDirectory) {
        TemplateFile found = TemplateFile.find(modelDirectory).orElseThrow(() -> new UserError(Code.BAD_TOKENIZER,
                modelDirectory + ": expected a chat template in " + TemplateFile.JINJA + ", "
                        + TemplateFile.TOKENIZER_CONFIG + " or " + TemplateFile.JSON + ", found none; a base model has "
                        + "none: give it plain text, or save the template of the model's chat version as "
                        + TemplateFile.JINJA));
        try {
            return new ChatTemplate(found.file(), Template.parse(found.template()),
                    SpecialTokens.texts(modelDirectory));
        } catch (TemplateException e) {
            throw new UserError(Code.BAD_TOKENIZER, found.file() + ": the chat template cannot be read: "
                    + e.getMessage() + "; fetch the file again, or give a simpler template in " + TemplateFile.JINJA,
                    e);
        }
    }

    /** As it stands in a model directory, without being parsed; empty where there is none. UserError BAD_TOKENIZER where it cannot be read. */
    public static Optional<String> source(Path modelDirectory) {
        return TemplateFile.find(modelDirectory).map(TemplateFile::template);
    }

    /**
     * The text of a conversation, with special tokens written out: it is tokenized without adding any.
     *
     * @param messages objects with "role" and "content"
     * @param answers whether the text ends where the model's answer begins
     * @param now the time for templates that write a date
     * @param origin of the messages, for errors. UserError BAD_TEXT if they are no messages or the template refuses them,
     *     BAD_TOKENIZER if the template fails
     */
    public String render(ArrayNode messages, boolean answers, LocalDateTime now, String origin) {
        messages.forEach(message -> requireMessage(message, origin));
        Map<String, JsonNode> variables = new HashMap<>(specialTokens);
        variables.put("messages", messages);
        variables.put("add_generation_prompt", BooleanNode.valueOf(answers));
        variables.put("tools", NullNode.getInstance());
        variables.put("documents", NullNode.getInstance());
        try {
            return template.render(variables, now);
        } catch (TemplateException e) {
            throw e.isRaised()
                    ? new UserError(Code.BAD_TEXT, origin + ": the model's chat template refuses these messages: "
                            + e.getMessage() + " of " + file + "; correct the messages", e)
                    : new UserError(Code.BAD_TOKENIZER, file + ": the chat template failed on " + origin + ": "
                            + e.getMessage() + "; fetch the file again, or give a simpler template in "
                            + TemplateFile.JINJA, e);
        }
    }

    private static void requireMessage(JsonNode message, String origin) {
        if (!message.path("role").isString()) {
            throw new UserError(Code.BAD_TEXT, origin + ": expected messages such as {\"role\": \"user\", \"content\": "
                    + "\"Hello\"}, found " + Json.kind(message) + (message.isObject() ? " without a role" : "")
                    + "; correct it");
        }
    }

    @Override
    public String toString() {
        return file.toString();
    }
}
