package dev.optgptq.calibrate;

/** Hears how far a long job is. Called often, from the thread that runs the job; implementations limit what they print. */
public interface Progress {

    /** Listens to nothing. */
    Progress SILENT = (phase, done, total) -> {};

    /**
     * @param phase what is being done, as people would say it: "block 3/22: Hessians", "evaluate the quantized model"
     * @param done work units done of the phase's job as a whole, never falling within one job
     * @param total work units of the whole job, known from its start
     */
    void at(String phase, long done, long total);
}
