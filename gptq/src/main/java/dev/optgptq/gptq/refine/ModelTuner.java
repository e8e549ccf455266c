package dev.optgptq.gptq.refine;

import dev.optgptq.calibrate.capture.ActivationStore;
import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.GradientStream;
import dev.optgptq.calibrate.model.LinearSpec;
import dev.optgptq.calibrate.model.Transformer;
import dev.optgptq.gptq.solve.QuantizedWeight;
import dev.optgptq.kernels.Grid;
import dev.optgptq.kernels.TensorArena;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;

/** Collects the blocks of a quantized model, and in the end learns their scales together. */
public final class ModelTuner implements AutoCloseable {

    private final Transformer model;
    private final Grid grid;
    private final Refinement refinement;
    private final long memoryLimit;
    private final Phases phases;
    private final List<BlockArchive> blocks = new ArrayList<>();

    /** @param memoryLimit bytes of codes above which they go to a temporary file */
    public ModelTuner(Transformer model, Grid grid, Refinement refinement, long memoryLimit, Phases phases) {
        this.model = model;
        this.grid = grid;
        this.refinement = refinement;
        this.memoryLimit = memoryLimit;
        this.phases = phases;
    }

    /** Takes the next block. */
    public void add(List<RefinedLinear> linears) {
        blocks.add(new BlockArchive(model.device(), linears, memoryLimit / model.spec().blocks()));
    }

    /**
     * Learns the scales.
     *
     * @param text the calibration sequences
     * @param teacher the output of the original model's last block for them
     * @param limits how much of a batch is done at once
     * @param tuned takes every linear, in order, while it is on the device
     */
    public StepOutcome tune(TokenSequences text, ActivationStore teacher, GradientStream.Limits limits,
            BiConsumer<LinearSpec, QuantizedWeight> tuned) {
        int trained = text.count() - Refinement.heldOut(text.count());
        Schedule schedule = Schedule.of(refinement.tuneSteps(), trained, refinement.seed() - 1);
        try (Student student = new Student(model, grid, blocks)) {
            StepOutcome outcome = new ScaleTuner(model, text, teacher, schedule, limits, phases).tune(student);
            for (int block = 0; block < blocks.size(); block++) {
                List<LinearSpec> linears = blocks.get(block).linears();
                for (int linear = 0; linear < linears.size(); linear++) {
                    try (TensorArena arena = model.device().arena()) {
                        tuned.accept(linears.get(linear), student.kept(block, linear, arena));
                    }
                }
            }
            return outcome;
        }
    }

    @Override
    public void close() {
        blocks.forEach(BlockArchive::close);
    }
}
