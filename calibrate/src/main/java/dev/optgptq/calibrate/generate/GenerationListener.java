package dev.optgptq.calibrate.generate;

/** Receives answers as they grow, on the generating thread. */
public interface GenerationListener {

    /** @param added to the answer of a request; a stop text that has begun is held back */
    void text(int request, String added);

    void finished(int request, Answer answer);

    /** Asked before every step; if true, answers end as they are. */
    boolean isInterrupted();
}
