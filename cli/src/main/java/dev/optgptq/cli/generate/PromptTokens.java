package dev.optgptq.cli.generate;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.chat.ChatTemplate;
import dev.optgptq.formats.tokenizer.Tokenizer;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ArrayNode;

/**
 * Prompts as tokens of one model.
 *
 * @param template null if no prompt is a chat
 * @param positions the model's context
 */
record PromptTokens(Tokenizer tokenizer, @Nullable ChatTemplate template, int positions) {

    /** UserError BAD_TOKENIZER where a chat has no template. */
    static PromptTokens of(Path model, Tokenizer tokenizer, List<Prompt> prompts, int positions) {
        boolean chats = prompts.stream().anyMatch(prompt -> prompt.content() instanceof Prompt.Content.Messages);
        return new PromptTokens(tokenizer, chats ? ChatTemplate.load(model) : null, positions);
    }

    /**
     * UserError BAD_TEXT for a prompt without a token, or as long as the context.
     *
     * @param name of the prompt, for errors
     */
    int[] of(Prompt prompt, String name) {
        int[] tokens = switch (prompt.content()) {
            case Prompt.Content.Text text -> tokenizer.encodePrompt(text.text());
            case Prompt.Content.Messages chat -> of(chat.messages(), name);
        };
        require(tokens, name);
        return tokens;
    }

    /** UserError BAD_TEXT without a token, or with as many as the context. */
    void require(int[] tokens, String name) {
        if (tokens.length == 0) {
            throw new UserError(Code.BAD_TEXT, name + ": expected at least one token, found none: this model's "
                    + "tokenizer adds no token to an empty text; give a text");
        }
        if (tokens.length >= positions) {
            throw new UserError(Code.BAD_TEXT, name + ": expected fewer than " + positions
                    + " tokens, the context, found " + tokens.length + "; shorten it");
        }
    }

    /** Up to where the answer begins. The template writes the special tokens. */
    int[] of(ArrayNode messages, String name) {
        if (template == null) {
            throw new IllegalStateException("messages without a template");
        }
        return tokenizer.encode(template.render(messages, true, LocalDateTime.now(ZoneId.systemDefault()), name));
    }
}
