package dev.optgptq.gptq.run.memory;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.family.ModelSpec;
import dev.optgptq.calibrate.model.ModelMemory;
import dev.optgptq.gptq.refine.Refinement;
import dev.optgptq.kernels.ranks.Crew;

/**
 * How the calibration is divided into batches and parts and where the residual stream is kept, with their memory in
 * bytes.
 *
 * @param cut the batches and parts
 * @param forward buffers of one batch
 * @param waiting partial Hessian sums, kept so that several devices sum in the same order as one
 * @param refining device memory of refining and tuning without the streams, in place of weights,
 *     Hessians, solving and forward; 0 where blocks are not refined
 * @param place where the residual stream is kept between blocks
 * @param share bytes of the stream on the first of several devices, which holds the most
 * @param ahead prefetched blocks in their stored dtype, beside quantizing; 0 if there is no room or the device shares
 *     host memory
 * @param behind a block's packed tensors, until they are copied to the host beside computing; 0 as ahead
 */
public record Placement(Cut cut, long forward, long waiting, long refining, Place place, long share, long ahead,
        long behind) {

    /** Without a calibration. */
    static final Placement NONE = new Placement(new Cut(0, 1, 1, 1), 0, 0, 0, Place.HOST, 0, 0, 0);

    /** Where the residual stream lies between blocks. */
    public enum Place {
        DEVICE, HOST, FILE
    }

    /**
     * How the calibration is divided.
     *
     * @param batchRows tokens that run at once; 0 without a calibration
     * @param parts the most devices that can share it
     * @param devices how many do
     * @param ofOneProcess the most of them that one process has
     */
    public record Cut(int batchRows, int parts, int devices, int ofOneProcess) {}

    /**
     * On one device.
     *
     * @param tokens of a batch, about
     * @param needs with the bytes of the residual stream
     */
    static Placement of(MemoryJob job, TokenSequences calibration, int tokens, int parts, Place place,
            MemoryNeeds needs) {
        ModelSpec model = job.model();
        int rows = CalibrationBatch.rows(tokens, calibration.length(), calibration.count());
        long buffers = 4L * rows * model.hiddenSize()
                + ModelMemory.workspaceBytes(model, job.matmulDtype(), rows, calibration.length());
        Refinement refinement = job.refinement();
        long refined = refinement == null
                ? 0
                : RefineMemory.of(job, refinement, needs.experts(), calibration, rows, parts).peak();
        long waiting = MemoryNeeds.hessians(model, needs.experts(), parts) - needs.hessians();
        return new Placement(new Cut(rows, parts, 1, 1), buffers, waiting, refined, place, needs.stream(), 0, 0);
    }

    /** @param most bytes of the stream that the first of the devices holds */
    Placement shared(Crew crew, long most) {
        return new Placement(new Cut(cut.batchRows(), cut.parts(), crew.devices(), crew.most()), forward, waiting,
                refining, place, most,
                ahead, behind);
    }

    Placement at(Place other) {
        return new Placement(cut, forward, waiting, refining, other, share, ahead, behind);
    }

    Placement copyingBeside(long prefetched, long packed) {
        return new Placement(cut, forward, waiting, refining, place, share, prefetched, packed);
    }

    /** Bytes of the stream on the first device. */
    long onDevice() {
        return place == Place.DEVICE ? share : 0;
    }
}
