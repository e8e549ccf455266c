package dev.optgptq.calibrate.generate;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.eval.Logits;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.testing.CharacterTokenizer;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.ops.CacheType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.function.Function;

/** Runs of a fixture, and requests for it. */
final class Generation {

    static final int POSITIONS = 96;
    static final int VOCABULARY = 320;

    /** What came of it, and what it took. */
    record Outcome(List<Answer> answers, List<String> told, int preemptions, int pagesInUse) {}

    private Generation() {}

    static <T> T with(String fixture, String deviceName, Function<Transformer, T> use) {
        try (Device device = Devices.open(deviceName, 2);
                ModelDirectory directory = ModelDirectory.open(Fixture.directory(fixture))) {
            return use.apply(Transformer.open(directory, ModelSpec.resolve(directory), device));
        }
    }

    static PageLimits limits(CacheType cache, int pages, int sequences) {
        return new PageLimits(cache, pages, sequences, 16, POSITIONS, 16);
    }

    static Outcome run(Transformer model, PageLimits limits, List<Request> requests) {
        return run(model, limits, requests, Integer.MAX_VALUE);
    }

    /** @param patience answers after which it is broken off */
    static Outcome run(Transformer model, PageLimits limits, List<Request> requests, int patience) {
        List<StringBuilder> told = requests.stream().map(request -> new StringBuilder()).toList();
        int[] finished = {0};
        GenerationListener listener = new GenerationListener() {
            @Override
            public void text(int request, String added) {
                told.get(request).append(added);
            }

            @Override
            public void finished(int request, Answer answer) {
                finished[0]++;
            }

            @Override
            public boolean isInterrupted() {
                return finished[0] >= patience;
            }
        };
        return PagedModel.use(model, limits, paged -> {
            Generator generator = new Generator(paged, new CharacterTokenizer(), listener);
            List<Answer> answers = new ArrayList<>();
            generator.run(requests).stream().filter(Objects::nonNull).forEach(answers::add);
            return new Outcome(answers, told.stream().map(StringBuilder::toString).toList(), generator.preemptions(),
                    generator.pagesInUse());
        });
    }

    /** A listener that does nothing. */
    static GenerationListener silent() {
        return new GenerationListener() {
            @Override
            public void text(int request, String added) {}

            @Override
            public void finished(int request, Answer answer) {}

            @Override
            public boolean isInterrupted() {
                return false;
            }
        };
    }

    static Request greedy(int[] prompt, int tokens) {
        return new Request(prompt, tokens, Sampling.GREEDY, 0, Set.of(), List.of(), false);
    }

    static int[] prompt(long seed, int length) {
        SplittableRandom random = new SplittableRandom(seed);
        int[] prompt = new int[length];
        Arrays.setAll(prompt, i -> random.nextInt(VOCABULARY));
        return prompt;
    }

    /** [tokens, vocabulary] by the forward pass that knows no cache. */
    static float[][] logits(Transformer model, int[] tokens) {
        int vocabulary = model.spec().vocabSize();
        try (Arena arena = Arena.ofShared()) {
            MemorySegment found = arena.allocate(ValueLayout.JAVA_FLOAT, (long) tokens.length * vocabulary);
            Logits.compute(model, new TokenSequences(tokens, 1, tokens.length), found, Progress.SILENT);
            float[][] rows = new float[tokens.length][vocabulary];
            for (int row = 0; row < rows.length; row++) {
                MemorySegment.copy(found, ValueLayout.JAVA_FLOAT, (long) row * vocabulary * Float.BYTES, rows[row], 0,
                        vocabulary);
            }
            return rows;
        }
    }

    static int[] joined(int[] first, int[] second) {
        int[] both = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, both, first.length, second.length);
        return both;
    }
}
