package dev.optgptq.cli.generate;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.generate.Answer;
import dev.optgptq.calibrate.generate.Finish;
import dev.optgptq.calibrate.generate.GenerationListener;
import dev.optgptq.calibrate.generate.GenerationPlan;
import dev.optgptq.calibrate.generate.Generator;
import dev.optgptq.calibrate.generate.PagedModel;
import dev.optgptq.calibrate.generate.Request;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.cli.console.Console;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.chat.ChatTemplate;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;

/**
 * A conversation with a model, line by line, until /quit or the end of the input.
 *
 * @param context tokens of the conversation at most; null for a default
 * @param log receives decisions, line by line
 */
public record Conversation(Device device, GenerateSettings settings, Chat chat, @Nullable Integer context,
        Consumer<String> log) {

    private static final int DEFAULT_CONTEXT = 8192;
    private static final String NAME = "the conversation";
    private static final String QUIT = "/quit";
    /** Of the context, kept free for the answer: one part in so many. */
    private static final int ANSWER_SHARE = 4;

    /** Streams answers to standard output. UserError for models that cannot be used. */
    public void run(Path path, Console console) {
        try (Tokenizer tokenizer = Tokenizer.load(path); ModelDirectory directory = ModelDirectory.open(path)) {
            ModelSpec spec = ModelSpec.resolve(directory);
            int positions = Math.min(spec.maxPositions(), context == null ? DEFAULT_CONTEXT : context);
            PromptTokens prompts = new PromptTokens(tokenizer, ChatTemplate.load(path), positions);
            Set<Integer> stops = settings.ignoreStopTokens() ? Set.of() : StopTokens.of(path);
            Transformer model = Transformer.open(directory, spec, device).forGeneration(settings.products());
            GenerationPlan plan = GenerationPlan.ofConversation(model, settings.cache(), positions,
                    settings.cacheBytes(), GenerateJob.free(device));
            log.accept(GenerateJob.memory(plan, device, settings));
            log.accept("context: " + positions + " tokens; " + QUIT + " ends");
            PagedModel.use(model, plan.limits(), paged -> {
                Turns turns = new Turns(console, prompts,
                        Generator.forConversation(paged, tokenizer, new Streamed(console)), stops,
                        JsonNodeFactory.instance.arrayNode());
                for (String line = console.ask(); line != null && !line.strip().equals(QUIT); line = console.ask()) {
                    if (!line.isBlank()) {
                        talk(line, turns);
                    }
                }
                return turns;
            });
        }
    }

    /** @param history messages so far, without the system's */
    private record Turns(Console console, PromptTokens prompts, Generator generator, Set<Integer> stops,
            ArrayNode history) {}

    /** A line that cannot be answered is reported and forgotten. */
    private void talk(String line, Turns turns) {
        int before = turns.history.size();
        turns.history.add(Chat.message("user", line));
        try {
            int[] prompt = prompt(turns);
            Request request = new Request(prompt, settings.maxTokens(), settings.sampling(), before, turns.stops,
                    settings.stopTexts(), false);
            Answer answer = Objects.requireNonNull(turns.generator.run(List.of(request)).getFirst());
            turns.console.print("\n");
            turns.history.add(Chat.message("assistant", answer.text()));
            if (answer.finish() == Finish.LENGTH || answer.finish() == Finish.CONTEXT) {
                log.accept("the answer ends after " + answer.tokens().length + " tokens: "
                        + (answer.finish() == Finish.LENGTH ? "--tokens is reached" : "the context is full"));
            }
        } catch (UserError e) {
            if (e.code() != UserError.Code.BAD_TEXT) {
                throw e;
            }
            turns.console.error(String.valueOf(e.getMessage()));
            turns.history.remove(turns.history.size() - 1);
        }
    }

    /** The conversation as tokens; its oldest turns are dropped where an answer would have no room. */
    private int[] prompt(Turns turns) {
        int positions = turns.prompts.positions();
        int most = positions - Math.min(settings.maxTokens(), positions / ANSWER_SHARE);
        while (true) {
            int[] tokens = turns.prompts.of(chat.withSystem(turns.history), NAME);
            if (tokens.length <= most || turns.history.size() < 3) {
                turns.prompts.require(tokens, NAME);
                return tokens;
            }
            turns.history.remove(0);
            turns.history.remove(0);
            log.accept("the oldest turn was dropped: the conversation fills the context of " + positions + " tokens");
        }
    }

    /** Prints an answer as it grows. */
    private record Streamed(Console console) implements GenerationListener {

        @Override
        public void text(int request, String added) {
            console.print(added);
        }

        @Override
        public void finished(int request, Answer answer) {
            // printed as it grew
        }

        @Override
        public boolean isInterrupted() {
            return false; // Ctrl-C ends the program
        }
    }
}
