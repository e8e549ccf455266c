package dev.optgptq.calibrate;

/**
 * Receives the progress of a long job. Called often, from the thread that runs the job; implementations limit what they
 * print.
 */
public interface Progress {

    /** Ignores all progress. */
    Progress SILENT = (phase, done, total) -> {};

    /**
     * @param phase the current phase, for people: "block 3/22: Hessians", "evaluate the quantized model"
     * @param done work units done of the phase's job as a whole, never falling within one job
     * @param total work units of the whole job, known from its start
     */
    void at(String phase, long done, long total);
}
