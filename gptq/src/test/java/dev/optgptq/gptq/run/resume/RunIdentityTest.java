package dev.optgptq.gptq.run.resume;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.run.TinyRun;
import dev.optgptq.gptq.settings.QuantizeSettings.CalibratorKind;
import dev.optgptq.gptq.settings.QuantizeSettings;
import dev.optgptq.gptq.testing.TinyModel;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A setting that decides the result and is not part of the identity would let a run go on from foreign blocks. */
class RunIdentityTest {

    /** These count through the tokens or the dtype that they choose, or decide nothing of the result. */
    private static final Set<String> OTHERS = Set.of("model", "output", "calibration", "sampling", "samples",
            "sequenceLength", "seed", "precision", "evaluation", "evaluate", "evaluationWindow", "overwrite", "fresh",
            "threads");

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    static Stream<String> settings() {
        return Arrays.stream(QuantizeSettings.class.getRecordComponents()).map(RecordComponent::getName);
    }

    @ParameterizedTest
    @MethodSource("settings")
    void every_setting_is_part_of_it_or_known_to_decide_nothing(String name) throws ReflectiveOperationException {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.GRADIENT; // which reads every setting
        QuantizeSettings settings = run.settings();

        boolean same = RunIdentity.settings(settings).equals(RunIdentity.settings(changed(settings, name)));

        assertEquals(OTHERS.contains(name), same, name);
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
            found.add(RunIdentity.settings(run.settings()));
        }
        return found;
    }

    @Test
    void what_rounding_to_nearest_does_not_read_is_not_part_of_it() {
        TinyRun run = new TinyRun(TinyModel.LLAMA.write(folder.resolve("model")), folder);
        run.calibrator = CalibratorKind.RTN;
        var before = RunIdentity.settings(run.settings());
        run.damp = 0.5;

        assertEquals(before, RunIdentity.settings(run.settings()));
    }

    @Test
    void tokens_are_told_apart_by_every_id_and_by_their_division() {
        String tokens = RunIdentity.tokens(new TokenSequences(new int[] {1, 2, 3, 4}, 2, 2));

        assertEquals(tokens, RunIdentity.tokens(new TokenSequences(new int[] {1, 2, 3, 4}, 2, 2)));
        assertNotEquals(tokens, RunIdentity.tokens(new TokenSequences(new int[] {1, 2, 3, 5}, 2, 2)));
        assertNotEquals(tokens, RunIdentity.tokens(new TokenSequences(new int[] {1, 2, 3, 4}, 1, 4)));
    }

    /** The same record but for one component, whatever its type. */
    private static <T extends Record> T changed(T record, String name) throws ReflectiveOperationException {
        @SuppressWarnings("unchecked")
        Class<T> type = (Class<T>) record.getClass();
        RecordComponent[] components = type.getRecordComponents();
        Object[] values = new Object[components.length];
        Class<?>[] types = new Class<?>[components.length];
        for (int i = 0; i < components.length; i++) {
            types[i] = components[i].getType();
            Object value = components[i].getAccessor().invoke(record);
            values[i] = components[i].getName().equals(name) ? another(value) : value;
        }
        return type.getDeclaredConstructor(types).newInstance(values);
    }

    private static Object another(Object value) throws ReflectiveOperationException {
        return switch (value) {
            case Boolean flag -> !flag;
            case Integer number -> number + 1;
            case Long number -> number + 1;
            case Double number -> number + 0.5;
            case Path path -> path.resolve("other");
            case Enum<?> choice -> Arrays.stream(choice.getDeclaringClass().getEnumConstants())
                    .filter(other -> !other.equals(choice)).findFirst().orElseThrow();
            case Record record -> changed(record, record.getClass().getRecordComponents()[0].getName());
            default -> throw new AssertionError("a setting of an unknown type: " + value);
        };
    }
}
