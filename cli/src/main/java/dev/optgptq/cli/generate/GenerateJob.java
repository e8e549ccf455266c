package dev.optgptq.cli.generate;

import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.generate.Answer;
import dev.optgptq.calibrate.generate.GenerationListener;
import dev.optgptq.calibrate.generate.GenerationPlan;
import dev.optgptq.calibrate.generate.Generator;
import dev.optgptq.calibrate.generate.PagedModel;
import dev.optgptq.calibrate.generate.Request;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.gptq.run.memory.MemoryNeed;
import dev.optgptq.kernels.Device;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Answers prompts with one model.
 *
 * @param log receives decisions, line by line
 */
public record GenerateJob(Device device, GenerateSettings settings, Consumer<String> log) {

    /** The prompts as tokens. */
    public record Asked(Prompt prompt, int tokens) {}

    /** Makes the listener for the answers to some requests. */
    @FunctionalInterface
    public interface Hearing {
        GenerationListener of(List<Asked> asked);
    }

    /** Generates; answers go only to the listener. UserError for prompts and models that cannot be used. */
    public void run(Path path, List<Prompt> prompts, Hearing hearing) {
        try (Tokenizer tokenizer = Tokenizer.load(path); ModelDirectory directory = ModelDirectory.open(path)) {
            ModelSpec spec = ModelSpec.resolve(directory);
            List<Request> requests = requests(path, spec, tokenizer, prompts);
            List<Asked> asked = new ArrayList<>();
            for (int i = 0; i < prompts.size(); i++) {
                asked.add(new Asked(prompts.get(i), requests.get(i).prompt().length));
            }
            GenerationListener listener = hearing.of(asked);
            Transformer model = Transformer.open(directory, spec, device).forGeneration(settings.products());
            GenerationPlan plan = GenerationPlan.of(model, settings.cache(), requests, settings.sequences(),
                    settings.cacheBytes(), free(device));
            log.accept(memory(plan, device, settings));
            PagedModel.use(model, plan.limits(), paged -> generate(paged, tokenizer, listener, requests));
        }
    }

    private int generate(PagedModel paged, Tokenizer tokenizer, GenerationListener listener, List<Request> requests) {
        long start = System.nanoTime();
        Generator generator = new Generator(paged, tokenizer, listener);
        List<Answer> answers = new ArrayList<>();
        generator.run(requests).forEach(answer -> {
            if (answer != null) {
                answers.add(answer);
            }
        });
        double seconds = (System.nanoTime() - start) * 1e-9;
        long tokens = answers.stream().mapToLong(answer -> answer.tokens().length).sum();
        log.accept(String.format(Locale.ROOT, "%d tokens of %d answers in %.1f s: %.1f tokens/s%s", tokens,
                answers.size(), seconds, tokens / seconds, generator.preemptions() == 0
                        ? ""
                        : "; the cache was full " + generator.preemptions() + " times"));
        return answers.size();
    }

    private List<Request> requests(Path path, ModelSpec spec, Tokenizer tokenizer, List<Prompt> prompts) {
        PromptTokens tokens = PromptTokens.of(path, tokenizer, prompts, spec.maxPositions());
        Set<Integer> stops = settings.ignoreStopTokens() ? Set.of() : StopTokens.of(path);
        List<Request> requests = new ArrayList<>();
        for (Prompt prompt : prompts) {
            Integer own = prompt.maxTokens();
            requests.add(new Request(tokens.of(prompt, "prompt " + (requests.size() + 1)),
                    own == null ? settings.maxTokens() : own, settings.sampling(), requests.size(), stops,
                    settings.stopTexts(), settings.logProbabilities()));
        }
        return requests;
    }

    /** For weights, cache and buffers. */
    static long free(Device device) {
        MemoryNeed.Free free = MemoryNeed.Free.of(List.of(device));
        return free.device().orElse(free.host()) - ModelMemory.LIBRARIES;
    }

    /** A plan for people. */
    static String memory(GenerationPlan plan, Device device, GenerateSettings settings) {
        return "memory: " + mebibytes(plan.bytes()) + " on " + device.name() + ", of which weights "
                + mebibytes(plan.weightBytes()) + ", cache " + mebibytes(plan.pageBytes()) + " ("
                + settings.cache().word() + ", " + plan.limits().pages() + " pages of 16 tokens, up to "
                + plan.limits().sequences() + " sequences in a batch)";
    }

    private static String mebibytes(long bytes) {
        return (bytes >> 20) + " MiB";
    }
}
