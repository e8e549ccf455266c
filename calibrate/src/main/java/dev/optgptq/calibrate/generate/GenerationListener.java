package dev.optgptq.calibrate.generate;

/** Hears of answers as they grow, on the thread that generates. */
public interface GenerationListener {

    /** @param added to the answer of a request; a stop text that has begun is held back */
    void text(int request, String added);

    void finished(int request, Answer answer);

    /** Asked before every step; when it says so, answers end as they are. */
    boolean isInterrupted();
}
