package dev.optgptq.gptq.refine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.calibrate.model.InputTap;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.calibrate.weights.BlockWeights;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.gptq.testing.TinyModel;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Learned rounding of a block of 3 bits. */
class BlockTunerTest {

    private static final int STEPS = 30;

    @TempDir
    @SuppressWarnings("NullAway.Init") // JUnit fills it in
    Path folder;

    /**
     * From rounding to nearest there is much to gain. Not from GPTQ here: the few letters of the tiny text span so few
     * directions that it fits them almost exactly, which single roundings then can only undo.
     */
    @ParameterizedTest
    @EnumSource(TinyModel.Family.class)
    void the_block_comes_closer_to_the_original_on_the_sequences_it_learns_from(TinyModel.Family family) {
        try (TinyBlock block = new TinyBlock(TinyModel.of(family), folder.resolve("model"))) {
            block.solve(Variants.PLAIN).close();
            try (Candidate start = block.nearest(); Candidate learned = tune(block, start, STEPS)) {
                double before = trainingLoss(block, start.weights());
                double after = trainingLoss(block, learned.weights());

                assertTrue(after < 0.8 * before, () -> before + " before, " + after + " after");
            }
        }
    }

    @ParameterizedTest
    @EnumSource(TinyModel.Family.class)
    void codes_stay_in_the_grid_and_the_start_is_left_as_it_was(TinyModel.Family family) {
        try (TinyBlock block = new TinyBlock(TinyModel.of(family), folder.resolve("model"));
                Candidate start = block.solve(Variants.PLAIN)) {
            List<byte[]> codes = codes(block, start);
            List<float[]> scales = scales(block, start);
            List<float[]> weights = weights(block, start);

            try (Candidate learned = tune(block, start, STEPS)) {
                boolean moved = false;
                for (int i = 0; i < codes.size(); i++) {
                    byte[] found = codes(block, learned).get(i);
                    moved |= !Arrays.equals(codes.get(i), found);
                    for (byte code : found) {
                        assertTrue(code >= 0 && code <= TinyBlock.INT3.maxCode(), "code " + code);
                    }
                }
                assertTrue(moved, "some codes were learned");
            }
            for (int i = 0; i < codes.size(); i++) {
                assertArrayEquals(codes.get(i), codes(block, start).get(i));
                assertArrayEquals(scales.get(i), scales(block, start).get(i));
                assertArrayEquals(weights.get(i), weights(block, start).get(i));
            }
        }
    }

    /** Latents begin inside their codes' intervals, wherever feedback had moved the weights that were rounded. */
    @ParameterizedTest
    @EnumSource(TinyModel.Family.class)
    void without_a_step_codes_scales_and_weights_are_those_it_began_with(TinyModel.Family family) {
        try (TinyBlock block = new TinyBlock(TinyModel.of(family), folder.resolve("model"));
                Candidate start = block.solve(Variants.PLAIN);
                TensorArena arena = block.device.arena()) {
            for (SolvedLinear linear : start.linears()) {
                LatentLinear latent = new LatentLinear(block.device, arena, TinyBlock.INT3, linear.linear(),
                        linear.solution());
                Tensor expected = start.weights().weight(linear.linear());
                Tensor computed = arena.matrix(DType.F32, expected.rows(), expected.columns());

                QuantizedWeight finished = latent.finish(arena, computed);

                assertArrayEquals(block.bytes(linear.solution().weight().codes()), block.bytes(finished.codes()));
                assertArrayEquals(block.floats(linear.solution().weight().scales()),
                        block.floats(finished.scales()));
                assertArrayEquals(block.floats(expected), block.floats(computed), linear.linear().module());
            }
        }
    }

    @ParameterizedTest
    @EnumSource(TinyModel.Family.class)
    void what_was_learned_is_computed_with_in_the_scales_that_a_file_holds(TinyModel.Family family) {
        try (TinyBlock block = new TinyBlock(TinyModel.of(family), folder.resolve("model"));
                Candidate start = block.solve(Variants.PLAIN);
                Candidate learned = tune(block, start, 5)) {
            List<float[]> scales = scales(block, learned);
            assertFalse(Arrays.equals(scales(block, start).getFirst(), scales.getFirst()), "scales were learned");
            for (float[] of : scales) {
                for (float scale : of) {
                    assertEquals(Float.float16ToFloat(Float.floatToFloat16(scale)), scale);
                }
            }
        }
    }

    private static Candidate tune(TinyBlock block, Candidate start, int steps) {
        BlockTuner tuner = new BlockTuner(block.model, block.streams, linear -> TinyBlock.INT3,
                Schedule.of(steps, block.streams.trained(), 1), TinyBlock.SILENT);
        TensorArena arena = block.device.arena();
        BlockWeights weights = block.model.loadBlock(0, arena);
        return new Candidate(weights, tuner.tune(start, weights, arena), arena);
    }

    /** The squared distance to the original's output over all sequences that may be learned from. */
    private static double trainingLoss(TinyBlock block, BlockWeights weights) {
        try (TensorArena arena = block.device.arena()) {
            int rows = (int) block.streams.trainedRows();
            Transformer.Workspace workspace = block.model.workspace(arena, rows, TinyBlock.LENGTH);
            Tensor y = arena.matrix(DType.F32, rows, TinyModel.HIDDEN);
            Tensor expected = arena.matrix(DType.F32, rows, TinyModel.HIDDEN);
            block.streams.quantized().read(block.device, 0, y);
            block.streams.original().read(block.device, 0, expected);
            block.model.forward(weights, y, workspace, InputTap.NONE);
            float[] found = block.floats(y);
            float[] wanted = block.floats(expected);
            double sum = 0;
            for (int i = 0; i < found.length; i++) {
                sum += Math.pow(found[i] - wanted[i], 2);
            }
            return sum;
        }
    }

    private static List<byte[]> codes(TinyBlock block, Candidate candidate) {
        return candidate.linears().stream().map(linear -> block.bytes(linear.solution().weight().codes())).toList();
    }

    private static List<float[]> scales(TinyBlock block, Candidate candidate) {
        return candidate.linears().stream().map(linear -> block.floats(linear.solution().weight().scales())).toList();
    }

    private static List<float[]> weights(TinyBlock block, Candidate candidate) {
        return candidate.linears().stream().map(linear -> block.floats(candidate.weights().weight(linear.linear())))
                .toList();
    }
}
