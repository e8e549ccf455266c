package dev.optgptq.formats.jinja;

/** A template that cannot be parsed or rendered; the message is for people and has no file name. */
public final class TemplateException extends RuntimeException {

    /** Of a message, which can hold text of the template. */
    private static final int MOST_CHARACTERS = 1000;

    private final boolean raised;

    TemplateException(String message) {
        this(message, false);
    }

    private TemplateException(String message, boolean raised) {
        super(message.length() <= MOST_CHARACTERS ? message : message.substring(0, MOST_CHARACTERS) + " ...");
        this.raised = raised;
    }

    /** As the template itself asked for, by raise_exception. */
    static TemplateException raised(String message) {
        return new TemplateException(message, true);
    }

    TemplateException at(int line) {
        TemplateException located = new TemplateException("line " + line + ": " + getMessage(), raised);
        located.initCause(this);
        return located;
    }

    /** Whether the template refused its input, which is no fault of the template. */
    public boolean isRaised() {
        return raised;
    }
}
