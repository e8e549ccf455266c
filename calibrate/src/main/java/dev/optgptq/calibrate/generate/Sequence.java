package dev.optgptq.calibrate.generate;

import dev.optgptq.formats.tokenizer.Tokenizer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** One request in progress: its tokens, its pages while it runs, and its answer. */
final class Sequence {

    private final int index;
    private final Request request;
    private final int positions;
    private final Sampler sampler;
    private final AnswerText text;
    private int[] tokens;
    private int length;
    private double[] logProbabilities = new double[0];
    private PageTable.@Nullable Pages pages;
    private @Nullable Finish finish;

    /** @param positions the longest sequence */
    Sequence(int index, Request request, Tokenizer tokenizer, int positions) {
        this.index = index;
        this.request = request;
        this.positions = positions;
        this.sampler = new Sampler(request.sampling(), request.stream());
        this.sampler.see(request.prompt());
        this.text = new AnswerText(tokenizer, request.stopTexts());
        this.tokens = request.prompt().clone();
        this.length = tokens.length;
    }

    int index() {
        return index;
    }

    /** The prompt and what was chosen since: the first length() of them. */
    int[] tokens() {
        return tokens;
    }

    int length() {
        return length;
    }

    void begin(PageTable.Pages found) {
        pages = found;
    }

    PageTable.Pages pages() {
        if (pages == null) {
            throw new IllegalStateException("sequence " + index + " is not running");
        }
        return pages;
    }

    boolean hasBegun() {
        return length > request.prompt().length;
    }

    /** Whether its next token is the likeliest, and no more is asked for. */
    boolean takesLikeliest() {
        return request.sampling().isArgmax() && !request.logProbabilities();
    }

    @Nullable
    Finish finish() {
        return finish;
    }

    /** @param logits of the whole vocabulary; returns what the answer grew by */
    String choose(float[] logits) {
        int token = sampler.choose(logits);
        if (request.logProbabilities() && !request.stopTokens().contains(token)) {
            logProbabilities = Arrays.copyOf(logProbabilities, logProbabilities.length + 1);
            logProbabilities[logProbabilities.length - 1] = Sampler.logProbability(logits, token);
        }
        return add(token);
    }

    String add(int token) {
        if (request.stopTokens().contains(token)) {
            finish = Finish.STOP_TOKEN;
            return text.finish();
        }
        if (length == tokens.length) {
            tokens = Arrays.copyOf(tokens, Math.min(positions, 2 * length + 16));
        }
        tokens[length++] = token;
        sampler.see(token);
        String added = text.add(token);
        if (text.isStopped()) {
            finish = Finish.STOP_TEXT;
        } else if (length - request.prompt().length == request.maxTokens()) {
            finish = Finish.LENGTH;
        } else if (length == positions) {
            finish = Finish.CONTEXT;
        }
        return finish == null ? added : added + text.finish();
    }

    void interrupt() {
        finish = Finish.INTERRUPTED;
        text.finish();
    }

    Answer answer() {
        if (finish == null) {
            throw new IllegalStateException("sequence " + index + " has not ended");
        }
        return new Answer(Arrays.copyOfRange(tokens, request.prompt().length, length), text.text(), logProbabilities,
                finish);
    }
}
