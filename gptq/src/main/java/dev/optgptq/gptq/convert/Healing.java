package dev.optgptq.gptq.convert;

import dev.optgptq.calibrate.Progress;
import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.formats.safetensors.SafetensorsFile;
import dev.optgptq.formats.safetensors.TensorSpec;
import dev.optgptq.formats.safetensors.TensorView;
import dev.optgptq.gptq.convert.ConvertSettings.Heal;
import dev.optgptq.gptq.journal.Part;
import dev.optgptq.gptq.refine.Schedule;
import dev.optgptq.gptq.tune.Distillation;
import dev.optgptq.gptq.tune.Distillation.Looks;
import dev.optgptq.gptq.tune.Distillation.State;
import dev.optgptq.gptq.tune.WeightStudent;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Consumer;
import tools.jackson.databind.json.JsonMapper;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ObjectNode;

/**
 * Distils a converted model from its original: the divergence of its predictions is what is made small, by AdamW with warm-up
 * and half a cosine. What diverges least on held-out text is kept. Its state is on disk each time that was looked at, so that an
 * interrupted run goes on from there with the same bytes.
 *
 * @param source the original's directory
 * @param original the teacher
 */
record Healing(ModelDirectory source, Transformer original, HealTokens tokens, Heal settings, ConvertJournal journal,
        Progress progress,
        Consumer<String> log) {

    private static final String STATE = "heal-state";
    private static final String RESULT = "healed";
    private static final JsonMapper JSON = JsonMapper.shared();
    /** How often the held-out sequences are looked at, about, and after how many looks without gain learning ends. */
    private static final int LOOKS = 10;
    private static final int PATIENCE = 5;
    private static final int WARM_UP = 20;
    private static final int BATCH_TOKENS = 2048;
    /** Each rate is tried for one of so many steps, and no longer than is needed to tell. */
    private static final int PROBE_SHARE = 25;
    private static final int LONGEST_PROBE = 40;

    /**
     * One look at the held-out sequences.
     *
     * @param step behind which
     * @param divergence KL(original || it), nats per token
     */
    record Look(int step, double divergence) {}

    /**
     * A rate that was tried.
     *
     * @param divergence KL(original || it) on the held-out sequences behind a short schedule; null where it was not finite
     */
    record Trial(double rate, @Nullable Double divergence) {}

    /**
     * What is saved beside the tensors.
     *
     * @param trials none where the rate was given
     */
    record Saved(State state, List<Look> curve, List<Trial> trials) {}

    /** The healed parameters, as they will be stored, and how it went. */
    record Healed(Part part, Saved saved) {}

    /** Heals a converted model. */
    Healed heal(ModelDirectory converted) {
        Optional<Part> finished = journal.find(RESULT);
        if (finished.isPresent()) {
            return new Healed(finished.get(), JSON.treeToValue(finished.get().note(), Saved.class));
        }
        Device device = original.device();
        Transformer student = Transformer.open(converted, device);
        try (ActivationStore teacher = outputs();
                WeightStudent learner = new WeightStudent(student, name -> converted.tensor(name).dtype(),
                        settings.scope(), settings.decay())) {
            Looks looks = new Looks(tokens.heldOut(), Math.max(1, settings.steps() / LOOKS), PATIENCE, true);
            Distillation distillation = new Distillation(student, tokens.text(), teacher,
                    GradientStream.Limits.DEFAULT);
            Saved begun = begin(distillation, learner, looks);
            Follow follow = new Follow(learner, begun);
            State end = distillation.learn(learner, schedule(settings.steps()), looks, begun.state(), follow);
            Saved saved = follow.saved(end);
            return new Healed(write(RESULT, learner.kept(), saved), saved);
        }
    }

    private Schedule schedule(int steps) {
        return new Schedule(steps, tokens.trained(), Math.min(settings.batch(), tokens.trained()), settings.seed(),
                Math.min(WARM_UP, Math.max(1, steps / 5)));
    }

    private Saved begin(Distillation distillation, WeightStudent learner, Looks looks) {
        Optional<Part> earlier = journal.find(STATE);
        if (earlier.isEmpty()) {
            State begun = distillation.begin(learner, looks);
            List<Look> curve = List.of(new Look(0, begun.before()));
            Double given = settings.rate();
            if (given != null) {
                return new Saved(begun.at(given), curve, List.of());
            }
            List<Trial> trials = trials(distillation, learner);
            Saved saved = new Saved(begun.at(best(trials)), curve, trials);
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
                original.device().upload(view.data(), tensor);
            });
            original.device().synchronize();
        }
        log.accept("healing continues behind step " + saved.state().done() + " of " + settings.steps());
        return saved;
    }

    /**
     * What a short schedule makes of the held-out text with each rate. Too large a rate undoes what merging kept, and how large
     * that is differs twentyfold between models. Rates fall until one heals less than the one before.
     */
    private List<Trial> trials(Distillation distillation, WeightStudent learner) {
        int steps = Math.clamp(settings.steps() / PROBE_SHARE, 1, LONGEST_PROBE);
        List<Trial> trials = new ArrayList<>();
        double least = Double.POSITIVE_INFINITY;
        for (double rate : settings.rates()) {
            progress.at(String.format(Locale.ROOT, "healing, trying rate %.0e", rate), 0, settings.steps());
            double found = distillation.probe(learner, schedule(steps), rate, tokens.heldOut());
            trials.add(new Trial(rate, Double.isFinite(found) ? found : null));
            log.accept(String.format(Locale.ROOT, "healing, rate %.0e: divergence %.5f behind %d steps", rate, found,
                    steps));
            if (found > least) {
                break;
            }
            least = found;
        }
        log.accept(String.format(Locale.ROOT, "healing with rate %.0e", best(trials)));
        return List.copyOf(trials);
    }

    /** The rate that healed most; the least one where none gave finite numbers. */
    private static double best(List<Trial> trials) {
        return trials.stream().filter(trial -> trial.divergence() != null)
                .min(Comparator.comparingDouble(trial -> Objects.requireNonNull(trial.divergence())))
                .orElse(trials.getLast()).rate();
    }

    /** Writes down each look, and says how fast it goes. */
    private final class Follow implements Distillation.Watcher {
        private final WeightStudent learner;
        private final List<Look> curve;
        private final List<Trial> trials;
        private long since = System.nanoTime();

        private Follow(WeightStudent learner, Saved begun) {
            this.learner = learner;
            this.curve = new ArrayList<>(begun.curve());
            this.trials = begun.trials();
        }

        private Saved saved(State state) {
            return new Saved(state, List.copyOf(curve), trials);
        }

        @Override
        public void stepped(int done, double loss) {
            long now = System.nanoTime();
            double rate = (double) settings.batch() * tokens.text().length() / ((now - since) * 1e-9);
            since = now;
            progress.at(String.format(Locale.ROOT, "healing, step %d/%d, loss %.4f, %.0f tokens/s", done,
                    settings.steps(), loss, rate), done, settings.steps());
        }

        @Override
        public void looked(State state, double divergence) {
            curve.add(new Look(state.done(), divergence));
            write(STATE, learner.state(), saved(state));
            log.accept(
                    String.format(Locale.ROOT, "healing, behind step %d: divergence %.5f on held-out text, best %.5f",
                            state.done(), divergence, state.best()));
        }

        @Override
        public void reverted(State state) {
            log.accept(
                    "healing, step " + state.done() + ": the loss is not finite; goes on from the best weights so far, "
                            + "with half the learning rate");
        }

        @Override
        public void returned(State state) {
            log.accept(String.format(Locale.ROOT,
                    "healing, step %d: worse than at first; goes on from the best weights so far, with rate %.1e",
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
        original.device().download(tensor, bytes);
        return bytes;
    }

    /** What the original's last block puts out for all sequences. */
    private ActivationStore outputs() {
        TokenSequences text = tokens.text();
        ActivationStore store = Streams.embedded(original, text, BATCH_TOKENS);
        try (TensorArena arena = original.device().arena()) {
            int together = Math.clamp(BATCH_TOKENS / text.length(), 1, text.count());
            Tensor buffer = arena.matrix(DType.F32, (long) together * text.length(), original.spec().hiddenSize());
            Transformer.Workspace workspace = original.workspace(arena, together * text.length(), text.length());
            for (int index = 0; index < original.spec().blocks(); index++) {
                progress.at("original model, block " + (index + 1) + "/" + original.spec().blocks(), index,
                        original.spec().blocks());
                try (TensorArena weights = original.device().arena()) {
                    BlockWeights block = original.loadBlock(index, weights);
                    for (int first = 0; first < text.count(); first += together) {
                        long n = (long) Math.min(together, text.count() - first) * text.length();
                        store.update(original.device(), (long) first * text.length(), buffer.rows(0, n),
                                x -> original.forward(block, x, workspace, InputTap.NONE));
                    }
                    original.device().synchronize();
                }
            }
            return store;
        } catch (RuntimeException e) {
            store.close();
            throw e;
        }
    }
}
