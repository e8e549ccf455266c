package dev.optgptq.gptq.run.resume;

import dev.optgptq.gptq.allocate.Budget;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.data.WeightedFile;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.calibrate.gradient.SampledLabels;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.run.TinyRun;
import dev.optgptq.gptq.serving.TargetName;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.settings.SettingsTable;
import dev.optgptq.gptq.testing.TinyModel;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A setting that decides the result and is not part of the identity would let a run resume from foreign blocks. */
class RunIdentityTest {

    /**
     * These count through the tokens, the dtype or the grids of modules that they choose, decide nothing of the result, or follow from another one: the
     * refinement's seed is the calibration's.
     */
    private static final Set<String> OTHERS = Set.of("model", "calibration.text", "calibration.sampling",
            "calibration.samples", "calibration.sequenceLength", "calibration.precision", "calibration.expertsAtOnce",
            "refinement.seed",
            "evaluation.wanted", "evaluation.text", "evaluation.window", "output.directory", "output.overwrite",
            "output.fresh", "threads", "target.runtime", "target.ranks", "modules.overrides", "modules.skips",
            "modules.file", "modules.recipe");

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /** "grid.bits": every component of the settings, those of its groups one by one. */
    static Stream<String> settings() {
        return Arrays.stream(QuantizeSettings.class.getRecordComponents())
                .flatMap(group -> group.getType().isRecord()
                        ? Arrays.stream(group.getType().getRecordComponents())
                                .map(setting -> group.getName() + "." + setting.getName())
                        : Stream.of(group.getName()));
    }

    @ParameterizedTest
    @MethodSource("settings")
    void every_setting_is_part_of_it_for_some_calibrator_or_known_to_decide_nothing(String name)
            throws ReflectiveOperationException {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.refinement = new Refinement(true, new NextToken(), true, 5, 0);
        boolean counts = false;
        for (CalibratorKind calibrator : CalibratorKind.values()) {
            run.calibrator = calibrator;
            QuantizeSettings settings = run.settings();
            counts |= !SettingsTable.deciding(settings)
                    .equals(SettingsTable.deciding(changed(settings, List.of(name.split("\\.")))));
        }

        assertEquals(!OTHERS.contains(name), counts, name);
    }

    @Test
    void whether_norms_are_learned_is_part_of_it_where_anything_is() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT;

        assertEquals(1, identities(run, 0).size());
        assertEquals(2, identities(run, 5).size());
    }

    /** With norms and without. */
    private static Set<Map<String, String>> identities(TinyRun run, int tuneSteps) {
        Set<Map<String, String>> found = new HashSet<>();
        for (boolean norms : new boolean[] {false, true}) {
            run.refinement = new Refinement(true, new NextToken(), true, tuneSteps, 0).tuningNorms(norms);
            found.add(SettingsTable.deciding(run.settings()));
        }
        return found;
    }

    @Test
    void what_rounding_to_nearest_does_not_read_is_not_part_of_it() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.RTN;
        var before = SettingsTable.deciding(run.settings());
        run.damp = 0.5;

        assertEquals(before, SettingsTable.deciding(run.settings()));
    }

    @Test
    void tokens_are_told_apart_by_every_id_and_by_their_division() {
        String tokens = new TokenSequences(new int[] {1, 2, 3, 4}, 2, 2).digest();

        assertEquals(tokens, new TokenSequences(new int[] {1, 2, 3, 4}, 2, 2).digest());
        assertNotEquals(tokens, new TokenSequences(new int[] {1, 2, 3, 5}, 2, 2).digest());
        assertNotEquals(tokens, new TokenSequences(new int[] {1, 2, 3, 4}, 1, 4).digest());
    }

    /** The same record but for one component, whatever its type. */
    private static <T extends Record> T changed(T record, List<String> path) throws ReflectiveOperationException {
        @SuppressWarnings("unchecked")
        Class<T> type = (Class<T>) record.getClass();
        RecordComponent[] components = type.getRecordComponents();
        Object[] values = new Object[components.length];
        Class<?>[] types = new Class<?>[components.length];
        for (int i = 0; i < components.length; i++) {
            types[i] = components[i].getType();
            Object value = components[i].getAccessor().invoke(record);
            values[i] = components[i].getName().equals(path.getFirst())
                    ? another(value, ofFiles(components[i]) ? WeightedFile.class : types[i],
                            path.subList(1, path.size()))
                    : value;
        }
        return type.getDeclaredConstructor(types).newInstance(values);
    }

    private static boolean ofFiles(RecordComponent component) {
        return component.getGenericType() instanceof ParameterizedType list
                && list.getActualTypeArguments()[0] == WeightedFile.class;
    }

    /** What may stand where nothing did. */
    private static Object of(Class<?> type) {
        if (type == Path.class) {
            return Path.of("other");
        }
        if (type == Budget.class) {
            return new Budget.AverageBits(3);
        }
        return type == Integer.class ? 1 : TargetName.VLLM;
    }

    /** @param path of the component to change in it; empty for any */
    private static Object another(@Nullable Object value, Class<?> type, List<String> path)
            throws ReflectiveOperationException {
        return switch (value) {
            case null -> of(type);
            case Boolean flag -> !flag;
            case Integer number -> number + 1;
            case Long number -> number + 1;
            case Double number -> number + 0.5;
            case Path file -> file.resolve("other");
            case Enum<?> choice -> Arrays.stream(choice.getDeclaringClass().getEnumConstants())
                    .filter(other -> !other.equals(choice)).findFirst().orElseThrow();
            case List<?> values ->
                List.of(type == WeightedFile.class ? WeightedFile.parse("another.jsonl") : "another");
            case NextToken labels -> new SampledLabels(0);
            case Record record when path.isEmpty() ->
                changed(record, List.of(record.getClass().getRecordComponents()[0].getName()));
            case Record record -> changed(record, path);
            default -> throw new AssertionError("a setting of an unknown type: " + value);
        };
    }
}
