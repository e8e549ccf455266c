package dev.optgptq.cli.command;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.cli.testing.CommandRun;
import dev.optgptq.cli.testing.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;

class ChatCommandTest {

    private static final JsonMapper JSON = new JsonMapper();

    @TempDir
    private Path directory;
    private Path model = Path.of("");

    @BeforeEach
    void give_a_model_a_template() throws IOException {
        model = Models.copy(Models.llama(), directory.resolve("model"));
        Files.writeString(model.resolve("chat_template.jinja"), "{% for m in messages %}"
                + "{{ raise_exception('Too sad') if 'sad' in m.content }}{{ m.content | trim ~ ' ' }}{% endfor %}");
    }

    @Test
    void a_conversation_answers_each_turn_as_the_whole_history_is_answered() throws IOException {
        CommandRun talk = CommandRun
                .typing("The river\nI am sad\n\nIt was built\n/quit\nnever", "generate", model, "--chat",
                        "--system", "The town has", "--tokens", 20, "--device", "cpu")
                .succeeds();
        ArrayNode history = messages("system", "The town has", "user", "The river");
        String first = answer(history);
        history.addAll(messages("assistant", first, "user", "It was built"));

        assertEquals(first + "\n" + answer(history) + "\n", talk.out());
        talk.says("line 1: Too sad", "the conversation: the model's chat template refuses");
    }

    @Test
    void a_full_context_drops_the_oldest_turns() {
        CommandRun
                .typing("The river\nIt was built\nThe town has\n" + "in the year ".repeat(60) + "\n", "generate", model,
                        "--chat", "--context", 64, "--tokens", 30, "--device", "cpu")
                .succeeds()
                .says("the oldest turn was dropped", "expected fewer than 64 tokens, the context");
    }

    @Test
    void what_does_not_go_together_is_refused() throws IOException {
        Path prompts = Files.writeString(directory.resolve("refused.jsonl"), "{\"messages\": []}");
        CommandRun.of("generate", model).failsWith(2, "--prompt TEXT, --prompts FILE or --chat");
        CommandRun.of("generate", model, "--system", "x", "--prompt", "y").failsWith(2, "--chat");
        CommandRun.of("generate", model, "--chat", "--json").failsWith(2, "--prompt or --prompts");
        CommandRun.of("generate", model, "--chat", "--batch", 4).failsWith(2, "--batch or --log-probabilities");
        CommandRun.of("generate", model, "--chat", "--log-probabilities").failsWith(2, "--prompt or --prompts");
        CommandRun.of("generate", model, "--prompt", "x", "--log-probabilities").failsWith(2, "--json or --output");
        CommandRun.of("generate", model, "--prompts", prompts).failsWith(1, "line 1", "add --chat");
        CommandRun.of("generate", Models.llama(), "--chat", "--prompt", "x", "--device", "cpu").failsWith(1,
                "expected a chat template", "chat_template.jinja");
    }

    /** To messages, by themselves. */
    private String answer(ArrayNode messages) throws IOException {
        Path prompts = Files.writeString(directory.resolve("prompts.jsonl"),
                JsonNodeFactory.instance.objectNode().set("messages", messages).toString());
        List<String> lines = CommandRun
                .of("generate", model, "--chat", "--prompts", prompts, "--tokens", 20, "--device",
                        "cpu")
                .succeeds().out().lines().toList();
        JsonNode answer = JSON.readTree(lines.getFirst());
        assertEquals(messages, answer.path("messages"));
        return answer.path("text").stringValue();
    }

    private static ArrayNode messages(String... rolesAndContents) {
        ArrayNode messages = JsonNodeFactory.instance.arrayNode();
        for (int i = 0; i < rolesAndContents.length; i += 2) {
            messages.addObject().put("role", rolesAndContents[i]).put("content", rolesAndContents[i + 1]);
        }
        return messages;
    }
}
