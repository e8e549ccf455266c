package dev.optgptq.gptq.run.progress;

import dev.optgptq.formats.packed.PackedGrid;
import dev.optgptq.gptq.recipe.ModuleGrids;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.InputSite;
import dev.optgptq.calibrate.family.LinearSpec;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.family.Projection;
import dev.optgptq.calibrate.gradient.NextToken;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.model.ModelDirectory;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.gptq.run.TinyRun;
import dev.optgptq.gptq.settings.RunTexts;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.gptq.solve.Calibrator;
import dev.optgptq.gptq.solve.SolveSettings;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.gptq.tune.ModelTuner;
import dev.optgptq.kernels.ops.Grid;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Against counts by hand for the tiny llama: two blocks, hidden 128, 4 heads of 32 with 2 for keys and values, inner 384,
 * vocabulary 288; 9 sequences of 16 tokens, of which one is held out.
 */
class WorkCountTest {

    private static final int LENGTH = 16;
    private static final int TOKENS = 9 * LENGTH;
    private static final int TRAINED = 8 * LENGTH;
    private static final int JUDGED = LENGTH;
    private static final TokenSequences CALIBRATION = new TokenSequences(new int[TOKENS], 9, LENGTH);

    /** Of a block: q and the attention's output 128 x 128, k and v 64 x 128, gate and up 384 x 128. */
    private static final double BUT_DOWN = 2 * (2 * 128 * 128 + 2 * 64 * 128 + 2 * 384 * 128);
    private static final double DOWN = 2 * 128 * 384;
    /** 1 + 2 + ... + 16 pairs, two dot products of width 128 for each. */
    private static final double ATTENTION = 136 * 2 * 2 * 128;
    private static final double BLOCK = BUT_DOWN + DOWN + ATTENTION / LENGTH;
    /** A triangle and its mirror: three sites of 128 inputs, one of 384. */
    private static final double HESSIANS = 3 * 128 * 128 + 384 * 384;
    /** Feedback n^2 m and measuring 2 n^2 m, errors and energy by a triangle: 1024 outputs of 128 inputs, 128 of 384. */
    private static final double SOLVES = 3.0 * (128 * 128 * (128 + 64 + 64 + 128 + 384 + 384) + 384 * 384 * 128);
    private static final double HEAD = 2 * 128 * 288;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    private static final ModuleGrids GRIDS = ModuleGrids.uniform(new PackedGrid(4, 32, true, false));

    @SuppressWarnings("NullAway.Init") // set before each test
    private ModelSpec spec;
    @SuppressWarnings("NullAway.Init") // set before each test
    private WorkCount work;
    @SuppressWarnings("NullAway.Init") // set before each test
    private TinyRun run;

    @BeforeEach
    void aModel() {
        Path model = TinyModel.LLAMA.write(folder.resolve("model"));
        try (ModelDirectory directory = ModelDirectory.open(model)) {
            spec = ModelSpec.resolve(directory.config());
        }
        work = new WorkCount(spec, GRIDS, false);
        run = new TinyRun(model, folder);
    }

    @Test
    void a_block_is_its_linears_and_causal_attention() {
        assertEquals(397_568, BLOCK);
        assertEquals(BLOCK, work.blockPerRow(LENGTH));
    }

    @Test
    void a_capture_stops_before_the_linears_of_its_last_site() {
        assertEquals(0, work.capturePerRow(Set.of(InputSite.ATTENTION_INPUT), LENGTH));
        assertEquals(2 * (128 * 128 + 2 * 64 * 128) + ATTENTION / LENGTH,
                work.capturePerRow(Set.of(InputSite.ATTENTION_OUTPUT), LENGTH));
        assertEquals(BLOCK - DOWN, work.capturePerRow(spec.block(0).sites(), LENGTH));
    }

    @Test
    void a_hessian_is_a_triangle_for_each_token() {
        assertEquals(10 * 384 * 384, work.hessian(InputSite.MLP_OUTPUT, 10));
    }

    @Test
    void a_linear_is_solved_and_its_error_measured_or_only_rounded() {
        LinearSpec query = spec.linears(0).stream().filter(linear -> linear.projection() == Projection.QUERY)
                .findFirst().orElseThrow();
        assertEquals(3 * 128 * 128 * 128, work.solve(query, true));
        assertEquals(128 * 128, work.solve(query, false));
    }

    /** Forward and back; attention goes back in five products where forward has two; the head both ways. */
    @Test
    void gradients_are_two_passes_through_the_linears_and_three_and_a_half_through_attention() {
        double sequence = 2 * (2 * LENGTH * (BUT_DOWN + DOWN) + 3.5 * ATTENTION) + 2 * LENGTH * HEAD;

        assertEquals(9 * sequence, work.gradients(CALIBRATION));
    }

    @Test
    void where_blocks_are_computed_again_gradients_are_a_pass_forward_more() {
        assertEquals(work.gradients(CALIBRATION) + 2 * TOKENS * BLOCK,
                new WorkCount(spec, GRIDS, true).gradients(CALIBRATION));
    }

    @Test
    void evaluating_is_all_blocks_and_the_head() {
        assertEquals(TOKENS * (2 * BLOCK + HEAD), work.evaluation(CALIBRATION));
    }

    @Test
    void plain_gptq_captures_and_solves_each_block_and_passes_through_all_but_the_last() {
        double block = SOLVES + TOKENS * (HESSIANS + BLOCK - DOWN);

        assertEquals(2 * block + TOKENS * BLOCK, total(new Calibrator.Gptq(solving(), false)));
        assertEquals(block, finished(1, new Calibrator.Gptq(solving(), false)));
    }

    @Test
    void rounding_to_nearest_touches_each_weight() {
        double weights = (BUT_DOWN + DOWN) / 2;

        assertEquals(2 * weights, work.run(new RunTexts(null, null, "none"), new Calibrator.RoundToNearest(solving()),
                run.settings()));
    }

    /** Two variants; the original and plain GPTQ's blocks run only what is held out. */
    @Test
    void gradient_calibration_without_further_steps_adds_the_judges_passes_to_what_plain_gptq_does() {
        run.refinement = new Refinement(false, new NextToken(), false, 0, 0);
        double block = 2 * SOLVES + TRAINED * (HESSIANS + BLOCK - DOWN) + JUDGED * BLOCK * (1 + 2 + 1);

        assertEquals(2 * block + (TOKENS + JUDGED) * BLOCK, total(gradient()));
    }

    /** Five variants; weighted Hessians, cross moments of twice their size, and all sequences through the original. */
    @Test
    void the_default_adds_the_pass_back_the_other_moments_and_the_original_stream() {
        double block = 5 * SOLVES + TRAINED * (4 * HESSIANS + BLOCK - DOWN) + TOKENS * BLOCK + JUDGED * BLOCK * (5 + 1);

        assertEquals(2 * block + (TOKENS + JUDGED) * BLOCK + work.gradients(CALIBRATION), total(gradient()));
    }

    /** Ten steps of eight sequences, forward and backward, in each block and then in all of them. */
    @Test
    void learning_is_three_passes_for_every_sequence_of_a_step_and_a_judges_more() {
        double without = total(gradient());
        run.refinement = new Refinement(true, new NextToken(), true, 10, 0);
        double learning = 3 * 10 * 8 * LENGTH * BLOCK;

        assertEquals(without + 2 * (learning + JUDGED * BLOCK)
                + 2 * (learning + ModelTuner.LOOKS * JUDGED * BLOCK), total(gradient()), 1);
    }

    /** It runs once more in both models, and then on nobody follows plain GPTQ. */
    @Test
    void a_finished_block_spares_all_but_the_passes_for_the_inputs_of_the_next() {
        double block = 5 * SOLVES + TRAINED * (4 * HESSIANS + BLOCK - DOWN) + 2 * TOKENS * BLOCK + JUDGED * BLOCK * 5;

        assertEquals(block - 2 * TOKENS * BLOCK + 2 * JUDGED * BLOCK, finished(1, gradient()));
        assertEquals(0, finished(0, gradient()));
    }

    private double total(Calibrator calibrator) {
        return work.run(new RunTexts(CALIBRATION, null, "none"), calibrator, run.settings());
    }

    private double finished(int blocks, Calibrator calibrator) {
        return work.finished(blocks, new RunTexts(CALIBRATION, null, "none"), calibrator, run.settings());
    }

    private static Calibrator gradient() {
        return new Calibrator.Gradient(solving());
    }

    private static SolveSettings solving() {
        return new SolveSettings(new Grid(4, true, false, DType.F16), 32, ActOrder.NONE, 0.01);
    }
}
