package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import dev.optgptq.gptq.convert.RateTrials.Trial;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.tune.Distillation;
import dev.optgptq.gptq.tune.Distillation.Looks;
import dev.optgptq.gptq.tune.Distillation.State;
import dev.optgptq.gptq.tune.WeightStudent;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Distils a converted model from its original: minimizes the KL divergence of its predictions, by AdamW with warm-up
 * and cosine decay. The state with the smallest divergence on held-out text is kept. The state is saved at every
 * validation, so that an interrupted run resumes from there with the same bytes.
 *
 * @param source the model as it was before conversion, under the names that it will have
 */
record Healing(ModelDirectory source, TeacherText text, Heal settings, ConvertJournal journal, Progress progress,
        Consumer<String> log) {

    private static final String STATE = "heal-state";
    private static final String RESULT = "healed";
    private static final JsonMapper JSON = JsonMapper.shared();
    /** Approximate number of validations, and how many without gain stop the training. */
    private static final int LOOKS = 10;
    private static final int PATIENCE = 5;

    /**
     * One validation.
     *
     * @param step number of steps done
     * @param divergence KL(original || it), nats per token
     */
    record Look(int step, double divergence) {}

    /**
     * Saved beside the tensors.
     *
     * @param trials none where the rate was given
     */
    record Saved(State state, List<Look> curve, List<Trial> trials) {}

    /**
     * The healed parameters as stored, and the course of the healing.
     *
     * @param tokensPerSecond of a step, the median; null where this run took none
     */
    record Healed(Part part, Saved saved, @Nullable Double tokensPerSecond) {}

    /** Heals a converted model. */
    Healed heal(ModelDirectory converted) {
        Optional<Part> finished = journal.find(RESULT);
        if (finished.isPresent()) {
            return new Healed(finished.get(), JSON.treeToValue(finished.get().note(), Saved.class), null);
        }
        Transformer student = Transformer.open(converted, device());
        RateTrials rates = new RateTrials(text, settings, progress, log);
        try (WeightStudent learner = new WeightStudent(student, text.products(), name -> converted.tensor(name).dtype(),
                settings.scope(), settings.decay())) {
            Looks looks = new Looks(text.heldOut(), Math.max(1, settings.steps() / LOOKS), PATIENCE, true);
            Distillation distillation = text.distillation(student, learner.learnedBytes());
            try (HealLessons lessons = rates.lessons()) {
                Saved begun = begin(distillation, learner, looks, rates, lessons);
                Follow follow = new Follow(learner, begun);
                State end = distillation.learn(learner, rates.schedule(settings.steps()), lessons, looks,
                        begun.state(), follow);
                Saved saved = follow.saved(end);
                return new Healed(write(RESULT, learner.kept(), saved), saved, follow.tokensPerSecond());
            }
        }
    }

    private Device device() {
        return text.original().device();
    }

    private Saved begin(Distillation distillation, WeightStudent learner, Looks looks, RateTrials rates,
            HealLessons lessons) {
        Optional<Part> earlier = journal.find(STATE);
        if (earlier.isEmpty()) {
            State begun = distillation.begin(learner, looks);
            List<Look> curve = List.of(new Look(0, begun.before()));
            Double given = settings.rate();
            if (given != null) {
                return new Saved(begun.at(given), curve, List.of());
            }
            List<Trial> trials = rates.run(distillation, learner, lessons);
            Trial best = RateTrials.best(trials);
            log.accept(String.format(Locale.ROOT, "healing with rate %.0e", best.rate()));
            Saved saved = new Saved(begun.at(best.rate()), curve, trials);
            write(STATE, learner.state(), saved);
            return saved;
        }
        Saved saved = JSON.treeToValue(earlier.get().note(), Saved.class);
        try (SafetensorsFile file = earlier.get().open()) {
            learner.state().forEach((name, tensor) -> {
                TensorView view = file.tensors().get(name);
                if (view == null) {
                    throw new IllegalStateException("the saved state lacks " + name);
                }
                device().upload(view.data(), tensor);
            });
            learner.restored();
            device().synchronize();
        }
        log.accept("healing resumes after step " + saved.state().done() + " of " + settings.steps());
        return saved;
    }

    /** Saves the state at each validation, and reports the speed. */
    private final class Follow implements Distillation.Watcher {
        private final WeightStudent learner;
        private final List<Look> curve;
        private final List<Trial> trials;
        private final List<Double> rates = new ArrayList<>();
        private long since = System.nanoTime();

        private Follow(WeightStudent learner, Saved begun) {
            this.learner = learner;
            this.curve = new ArrayList<>(begun.curve());
            this.trials = begun.trials();
        }

        private @Nullable Double tokensPerSecond() {
            return rates.isEmpty() ? null : rates.stream().sorted().toList().get(rates.size() / 2);
        }

        private Saved saved(State state) {
            return new Saved(state, List.copyOf(curve), trials);
        }

        @Override
        public void stepped(int done, double loss) {
            long now = System.nanoTime();
            double rate = (double) settings.batch() * text.tokens().length() / ((now - since) * 1e-9);
            since = now;
            rates.add(rate);
            progress.at(String.format(Locale.ROOT, "healing, step %d/%d, loss %.4f, %.0f tokens/s", done,
                    settings.steps(), loss, rate), done, settings.steps());
        }

        @Override
        public void looked(State state, double divergence) {
            curve.add(new Look(state.done(), divergence));
            write(STATE, learner.state(), saved(state));
            since = System.nanoTime();
            log.accept(
                    String.format(Locale.ROOT, "healing, after step %d: KL divergence %.5f on held-out text, best %.5f",
                            state.done(), divergence, state.best()));
        }

        @Override
        public void reverted(State state) {
            log.accept(
                    "healing, step " + state.done() + ": the loss is not finite; resuming from the best weights so "
                            + "far, with half the learning rate");
        }

        @Override
        public void returned(State state) {
            log.accept(String.format(Locale.ROOT,
                    "healing, step %d: worse than at first; resuming from the best weights so far, with rate %.1e",
                    state.done(), state.factor()));
        }
    }

    private Part write(String name, SequencedMap<String, Tensor> tensors, Saved note) {
        List<TensorSpec> specs = tensors.entrySet().stream().map(entry -> {
            Tensor tensor = entry.getValue();
            String parameter = entry.getKey();
            return new TensorSpec(parameter, tensor.dtype(),
                    isRow(parameter) ? Shape.of(tensor.columns()) : Shape.of(tensor.rows(), tensor.columns()));
        }).toList();
        return journal.write(name, specs,
                (spec, arena) -> download(Objects.requireNonNull(tensors.get(spec.name())), arena),
                (ObjectNode) JSON.valueToTree(note));
    }

    /** Whether a parameter has one dimension on disk: the conversion changes no tensor's rank. */
    private boolean isRow(String name) {
        String parameter = name.indexOf('|') < 0 ? name : name.substring(0, name.indexOf('|'));
        return source.tensor(parameter).shape().rank() == 1;
    }

    private MemorySegment download(Tensor tensor, Arena arena) {
        MemorySegment bytes = arena.allocate(tensor.elements() * tensor.dtype().bytes(), Double.BYTES);
        device().download(tensor, bytes);
        return bytes;
    }
}
