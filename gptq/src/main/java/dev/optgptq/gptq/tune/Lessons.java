package dev.optgptq.gptq.tune;

import dev.optgptq.calibrate.data.TokenSequences;
import dev.optgptq.calibrate.gradient.Teacher;

/** What each step of a distillation learns from. The same step always gives the same, so that a resumed run meets what it would have met. */
@FunctionalInterface
public interface Lessons {

    /** Of a step, counted from 0. What it holds may become invalid with the next call. */
    Lesson of(int step);

    /**
     * A batch.
     *
     * @param teacher of all its sequences, in their order
     */
    record Lesson(TokenSequences text, Teacher teacher) {}
}
