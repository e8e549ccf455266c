package dev.optgptq.cli.command;

import dev.optgptq.gptq.settings.SettingChecks;
import dev.optgptq.calibrate.generate.Sampling;
import dev.optgptq.cli.generate.GenerateSettings;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.ops.CacheType;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** How answers are generated. */
final class GenerateOptions {

    @Option(names = "--tokens", paramLabel = "N", description = "Maximum number of tokens of an answer. Default: "
            + "100; 1000 with --chat")
    private @Nullable Integer tokens;

    @Option(names = "--temperature", paramLabel = "X", description = "Divides the logits before sampling; 0 is "
            + "greedy decoding. Default: ${DEFAULT-VALUE}", defaultValue = "0")
    private double temperature;

    @Option(names = "--top-k", paramLabel = "N", description = "Sample from the N likeliest tokens; 0 for all. "
            + "Default: ${DEFAULT-VALUE}", defaultValue = "0")
    private int topK;

    @Option(names = "--top-p", paramLabel = "X", description = "Sample from the likeliest tokens whose probabilities "
            + "add up to X. Default: ${DEFAULT-VALUE}", defaultValue = "1")
    private double topP = 1;

    @Option(names = "--repetition-penalty", paramLabel = "X", description = "Makes tokens that occurred before less "
            + "likely; 1 is off. Default: ${DEFAULT-VALUE}", defaultValue = "1")
    private double repetition = 1;

    @Option(names = "--seed", paramLabel = "N", description = "Seed of the sampling; the same seed gives the same "
            + "tokens. Default: ${DEFAULT-VALUE}", defaultValue = "0")
    private long seed;

    @Option(names = "--stop", paramLabel = "TEXT", description = "End an answer where this text appears; may be given several times.")
    private List<String> stops = List.of();

    @Option(names = "--ignore-eos", description = "Continue past the model's end-of-sequence token.")
    private boolean ignoreStopTokens;

    @Option(names = "--log-probabilities", description = "Write the model's log-probability of each token of an answer, in nats.")
    private boolean logProbabilities;

    @Option(names = "--cache", paramLabel = "TYPE", description = "Dtype of cached keys and values: float32, "
            + "float16, bfloat16, int8 or int4. Default: float32 on cpu and reference, else float16", converter = CacheTypeConverter.class)
    private @Nullable CacheType cache;

    @Option(names = "--cache-memory", paramLabel = "SIZE", description = "Memory for the cache, such as 512M or 8G. "
            + "Default: as much free memory as the prompts can use", converter = BytesConverter.class)
    private @Nullable Long cacheBytes;

    @Option(names = "--batch", paramLabel = "N", description = "Sequences per batch; auto is as many as fit, up to "
            + "64. Default: auto")
    private String batch = "auto";

    /** UserError BAD_SETTING for options that a conversation does not use. */
    void requireForConversation() {
        Checks.require(batch.equals("auto") && !logProbabilities, "--chat", "--batch or --log-probabilities",
                "--prompt or --prompts with these");
    }

    /** UserError BAD_SETTING for an option that needs answers in JSON. */
    void requireForText() {
        Checks.require(!logProbabilities, "--log-probabilities", "neither", "--json or --output, which write them");
    }

    /** @param chats whether answers are those of a chat */
    GenerateSettings settings(Device device, boolean chats) {
        int most = tokens != null ? tokens : chats ? 1000 : 100;
        SettingChecks.atLeast(1, "--tokens", most);
        Integer sequences = null;
        if (!batch.equals("auto")) {
            SettingChecks.require(batch.matches("[1-9][0-9]{0,5}"), "--batch", batch,
                    "auto, or a number of at least 1");
            sequences = Integer.valueOf(batch);
        }
        stops.forEach(stop -> SettingChecks.require(!stop.isEmpty(), "--stop", "nothing", "a text"));
        boolean own = device.freeMemory().isPresent();
        CacheType type = cache != null ? cache : own ? CacheType.F16 : CacheType.F32;
        return new GenerateSettings(most, new Sampling(temperature, topK, topP, repetition, seed), stops,
                ignoreStopTokens, logProbabilities, type, sequences, cacheBytes, own ? DType.F16 : DType.F32);
    }
}
