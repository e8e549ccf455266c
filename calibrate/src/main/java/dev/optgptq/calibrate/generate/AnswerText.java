package dev.optgptq.calibrate.generate;

import dev.optgptq.formats.tokenizer.Tokenizer;
import java.util.List;

/** The text of an answer up to a stop text, which may come in pieces: a possible beginning of one is held back. */
final class AnswerText {

    private final TokenText tokens;
    private final List<String> stops;
    private int told;
    private int end = -1;

    AnswerText(Tokenizer tokenizer, List<String> stops) {
        this.tokens = new TokenText(tokenizer);
        this.stops = stops;
    }

    boolean isStopped() {
        return end >= 0;
    }

    /** The text to emit after one more token. */
    String add(int token) {
        int from = tokens.text().length();
        tokens.add(token);
        findStop(from);
        String text = tokens.text();
        return tell(isStopped() ? end : text.length() - beginningOfStop(text));
    }

    /** The rest. */
    String finish() {
        if (!isStopped()) {
            int from = tokens.text().length();
            tokens.finish();
            findStop(from);
        }
        return tell(isStopped() ? end : tokens.text().length());
    }

    String text() {
        return isStopped() ? tokens.text().substring(0, end) : tokens.text();
    }

    private String tell(int to) {
        String added = to > told ? tokens.text().substring(told, to) : "";
        told = Math.max(told, to);
        return added;
    }

    private void findStop(int from) {
        String text = tokens.text();
        for (String stop : stops) {
            int at = text.indexOf(stop, Math.max(0, from - stop.length() + 1));
            if (at >= 0 && (end < 0 || at < end)) {
                end = at;
            }
        }
    }

    /** Characters at the end that a stop text begins with, most of them. */
    private int beginningOfStop(String text) {
        int most = 0;
        for (String stop : stops) {
            for (int length = Math.min(stop.length() - 1, text.length()); length > most; length--) {
                if (text.endsWith(stop.substring(0, length))) {
                    most = length;
                }
            }
        }
        return most;
    }
}
