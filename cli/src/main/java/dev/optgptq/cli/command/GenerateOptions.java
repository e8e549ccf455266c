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

/** How answers are made. */
final class GenerateOptions {

    @Option(names = "--tokens", paramLabel = "N", description = "Tokens of an answer at most. Default: ${DEFAULT-VALUE}", defaultValue = "100")
    private int tokens = 100;

    @Option(names = "--temperature", paramLabel = "X", description = "Divides the logits before a token is drawn; 0 takes the likeliest. Default: ${DEFAULT-VALUE}", defaultValue = "0")
    private double temperature;

    @Option(names = "--top-k", paramLabel = "N", description = "Draw from the N likeliest tokens; 0 for all. Default: ${DEFAULT-VALUE}", defaultValue = "0")
    private int topK;

    @Option(names = "--top-p", paramLabel = "X", description = "Draw from the likeliest tokens that have this share of the probability together. Default: ${DEFAULT-VALUE}", defaultValue = "1")
    private double topP = 1;

    @Option(names = "--repetition-penalty", paramLabel = "X", description = "Makes tokens that are there already less likely; 1 does not. Default: ${DEFAULT-VALUE}", defaultValue = "1")
    private double repetition = 1;

    @Option(names = "--seed", paramLabel = "N", description = "Of the draws; the same seed draws the same tokens. Default: ${DEFAULT-VALUE}", defaultValue = "0")
    private long seed;

    @Option(names = "--stop", paramLabel = "TEXT", description = "End an answer where this text appears; may be given several times.")
    private List<String> stops = List.of();

    @Option(names = "--ignore-eos", description = "Go on where the model ends its answer.")
    private boolean ignoreStopTokens;

    @Option(names = "--log-probabilities", description = "Write the model's log-probability of each token of an answer, in nats.")
    private boolean logProbabilities;

    @Option(names = "--cache", paramLabel = "TYPE", description = "What keys and values are kept as: float32, float16, bfloat16, int8 or int4. Default: float32 on cpu and reference, else float16", converter = CacheTypeConverter.class)
    private @Nullable CacheType cache;

    @Option(names = "--cache-memory", paramLabel = "SIZE", description = "For the cache, such as 512M or 8G. Default: what the prompts can use of what is free", converter = BytesConverter.class)
    private @Nullable Long cacheBytes;

    @Option(names = "--batch", paramLabel = "N", description = "Sequences that are computed together; auto is as many as fit, up to 64. Default: auto")
    private String batch = "auto";

    GenerateSettings settings(Device device) {
        SettingChecks.atLeast(1, "--tokens", tokens);
        Integer sequences = null;
        if (!batch.equals("auto")) {
            SettingChecks.require(batch.matches("[1-9][0-9]{0,5}"), "--batch", batch,
                    "auto, or a number of at least 1");
            sequences = Integer.valueOf(batch);
        }
        stops.forEach(stop -> SettingChecks.require(!stop.isEmpty(), "--stop", "nothing", "a text"));
        boolean own = device.freeMemory().isPresent();
        CacheType type = cache != null ? cache : own ? CacheType.F16 : CacheType.F32;
        return new GenerateSettings(tokens, new Sampling(temperature, topK, topP, repetition, seed), stops,
                ignoreStopTokens, logProbabilities, type, sequences, cacheBytes, own ? DType.F16 : DType.F32);
    }
}
