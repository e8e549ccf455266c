package dev.optgptq.formats.jinja;

/**
 * Bounds of one rendering, so that no template can take all time or memory. The longest known template takes some 100
 * steps for a message.
 */
final class Budget {

    static final long MOST_STEPS = 5_000_000;
    static final long MOST_CHARACTERS = 1L << 26;
    static final int MOST_DEPTH = 400;
    private static final int READ_AT_ONCE = 16;

    private long steps;
    private long characters;
    private int depth;

    /** One expression, statement or element. */
    void step() {
        steps(1);
    }

    void steps(long added) {
        steps += added;
        if (steps > MOST_STEPS) {
            throw new TemplateException("took more than " + MOST_STEPS + " steps");
        }
    }

    /** Text that is made or searched. Called before memory is taken for it. */
    void characters(long added) {
        characters += added;
        if (added > MOST_CHARACTERS || characters > MOST_CHARACTERS) {
            throw new TemplateException("made more than " + MOST_CHARACTERS + " characters of text");
        }
    }

    /** Text that is only read, which is faster by more than this. */
    void read(String text) {
        characters(text.length() / READ_AT_ONCE);
    }

    /** A search for a part of text, or for its characters: as many comparisons as both lengths multiplied, at worst. */
    void search(String text, String part) {
        characters((long) text.length() * Math.max(1, part.length()) / READ_AT_ONCE);
    }

    void enter() {
        if (++depth > MOST_DEPTH) {
            throw new TemplateException("is nested deeper than " + MOST_DEPTH + " levels");
        }
    }

    void leave() {
        depth--;
    }
}
