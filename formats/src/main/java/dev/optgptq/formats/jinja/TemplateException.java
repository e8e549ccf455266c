package dev.optgptq.formats.jinja;

/** A template that cannot be parsed or rendered; the message is for people and has no file name. */
public final class TemplateException extends RuntimeException {

    private final boolean raised;

    TemplateException(String message) {
        this(message, false);
    }

    private TemplateException(String message, boolean raised) {
        super(message);
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
