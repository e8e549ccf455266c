package dev.optgptq.calibrate.generate;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.tokenizer.Tokenizer;
import dev.optgptq.kernels.Tensor;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Answers many requests together (continuous batching; Yu et al., OSDI 2022): a prompt is computed as soon as there is
 * room for it, and every running sequence gets one token per step. When the pool is full the newest sequence is
 * preempted: it frees its pages and waits; its tokens are kept, and are recomputed with its prompt.
 */
public final class Generator {

    private final PagedModel model;
    private final PageTable table;
    private final Tokenizer tokenizer;
    private final GenerationListener listener;
    /** Preempted ones come before those not begun. */
    private final Deque<Sequence> waiting = new ArrayDeque<>();
    private final List<Sequence> running = new ArrayList<>();
    private final List<@Nullable Answer> answers = new ArrayList<>();
    private final boolean keepsLast;
    /** Pages of the sequence that finished last, for one that begins with the same tokens. */
    private PageTable.@Nullable Pages kept;
    private int preemptions;
    private int reused;

    public Generator(PagedModel model, Tokenizer tokenizer, GenerationListener listener) {
        this(model, tokenizer, listener, false);
    }

    /**
     * For a conversation, request by request: the pages of the last answer are kept as long as there is room, so that
     * the next prompt, which begins with the same tokens, is computed from where they differ.
     */
    public static Generator forConversation(PagedModel model, Tokenizer tokenizer, GenerationListener listener) {
        return new Generator(model, tokenizer, listener, true);
    }

    private Generator(PagedModel model, Tokenizer tokenizer, GenerationListener listener, boolean keepsLast) {
        this.model = model;
        this.table = new PageTable(model.limits().pages());
        this.tokenizer = tokenizer;
        this.listener = listener;
        this.keepsLast = keepsLast;
    }

    /**
     * The answers in the order of the requests; those not begun when the listener stopped are null. UserError
     * BAD_TEXT for a prompt that does not fit the model, MEMORY where the pool cannot hold a sequence, NUMERIC where logits are
     * not finite. Answers finished before an error have been passed to the listener.
     */
    public List<@Nullable Answer> run(List<Request> requests) {
        answers.clear();
        for (int i = 0; i < requests.size(); i++) {
            check(requests.get(i), i);
            waiting.add(new Sequence(i, requests.get(i), tokenizer, model.limits().positions()));
            answers.add(null);
        }
        while (!(waiting.isEmpty() && running.isEmpty()) && !listener.isInterrupted()) {
            admit();
            step();
        }
        breakOff();
        return new ArrayList<>(answers);
    }

    /** Number of preemptions. */
    public int preemptions() {
        return preemptions;
    }

    /** Tokens of prompts that were not computed again, since another sequence held them. */
    int reused() {
        return reused;
    }

    /** Pages that some sequence holds. */
    int pagesInUse() {
        return table.size() - table.free();
    }

    private void check(Request request, int index) {
        int length = request.prompt().length;
        int positions = model.limits().positions();
        if (length >= positions) {
            throw new UserError(UserError.Code.BAD_TEXT, "prompt " + (index + 1) + ": expected fewer than " + positions
                    + " tokens, the model's context, found " + length + "; shorten it");
        }
        for (int token : request.prompt()) {
            if (token < 0 || token >= model.spec().vocabSize()) {
                throw new UserError(UserError.Code.BAD_TOKENIZER,
                        "prompt " + (index + 1) + ": token " + token + " is outside the model's vocabulary of "
                                + model.spec().vocabSize() + "; the tokenizer is not this model's");
            }
        }
        int most = (int) Math.min((long) length + request.maxTokens(), positions);
        int needed = PageTable.pagesFor(most);
        if (needed > table.size()) {
            throw new UserError(UserError.Code.MEMORY, "prompt " + (index + 1) + ": with its answer it can have " + most
                    + " tokens, which take " + needed + " pages of the cache; found room for " + table.size()
                    + ". Give the cache more memory, ask for fewer tokens, or use a smaller --cache type");
        }
    }

    /** Begins as many sequences as there is room for; those that run keep a page each to grow. */
    private void admit() {
        while (!waiting.isEmpty() && running.size() < model.limits().sequences() && !listener.isInterrupted()) {
            Sequence next = waiting.element();
            PageTable.Pages pages = table.open(next.tokens(), next.length());
            int there = pages.tokens();
            boolean room = table.free() >= PageTable.pagesFor(next.length()) - pages.count() + running.size();
            List<PageTable.Copy> copies = room ? table.grow(pages, next.length() - there) : null;
            if (copies == null) {
                table.close(pages);
                if (freeKept()) {
                    continue;
                }
                return;
            }
            reused += there;
            waiting.remove();
            copies.forEach(model::copyPage);
            next.begin(pages);
            running.add(next);
            prefill(next, there);
        }
    }

    /** In parts at fixed boundaries that do not depend on other sequences, each by itself. */
    private void prefill(Sequence sequence, int there) {
        int[] tokens = sequence.tokens();
        int rows = model.limits().rows();
        for (int from = there; from < sequence.length();) {
            int to = Math.min(sequence.length(), from / rows * rows + rows);
            model.compute(List.of(new PagedModel.Part(tokens, from, to, sequence.pages())));
            from = to;
        }
        table.publish(sequence.pages(), tokens);
        choose(List.of(sequence));
    }

    /** One token for every sequence that runs. */
    private void step() {
        makeRoom();
        if (running.isEmpty()) {
            return;
        }
        List<Sequence> batch = List.copyOf(running);
        model.compute(batch.stream()
                .map(sequence -> new PagedModel.Part(sequence.tokens(), sequence.length() - 1, sequence.length(),
                        sequence.pages()))
                .toList());
        choose(batch);
    }

    private void makeRoom() {
        for (int i = 0; i < running.size();) {
            List<PageTable.Copy> copies = table.grow(running.get(i).pages(), 1);
            if (copies != null) {
                copies.forEach(model::copyPage);
                i++;
                continue;
            }
            if (freeKept()) {
                continue;
            }
            Sequence newest = running.removeLast();
            table.close(newest.pages());
            waiting.addFirst(newest);
            preemptions++;
        }
    }

    /** False if there were none. */
    private boolean freeKept() {
        if (kept == null) {
            return false;
        }
        table.close(kept);
        kept = null;
        return true;
    }

    private void choose(List<Sequence> batch) {
        Tensor logits = model.lastLogits(batch.size());
        boolean allOnDevice = batch.stream().allMatch(Sequence::takesLikeliest);
        int[] likeliest = model.likeliest(logits);
        for (int i = 0; i < batch.size(); i++) {
            Sequence sequence = batch.get(i);
            if (likeliest[i] < 0) {
                throw new UserError(UserError.Code.NUMERIC,
                        "prompt " + (sequence.index() + 1) + ": the model's output at token " + sequence.length()
                                + " is not finite; its weights overflow the matmul dtype, or were damaged");
            }
            String added = allOnDevice || sequence.takesLikeliest()
                    ? sequence.add(likeliest[i])
                    : sequence.choose(model.download(logits.rows(i, 1)));
            if (!added.isEmpty()) {
                listener.text(sequence.index(), added);
            }
            if (sequence.finish() != null) {
                finish(sequence);
            }
        }
    }

    private void finish(Sequence sequence) {
        if (keepsLast) {
            table.publish(sequence.pages(), sequence.tokens());
            freeKept();
            kept = sequence.pages();
        } else {
            table.close(sequence.pages());
        }
        running.remove(sequence);
        Answer answer = sequence.answer();
        answers.set(sequence.index(), answer);
        listener.finished(sequence.index(), answer);
    }

    private void breakOff() {
        for (Sequence sequence : List.copyOf(running)) {
            sequence.interrupt();
            finish(sequence);
        }
        waiting.stream().filter(Sequence::hasBegun).forEach(sequence -> {
            sequence.interrupt();
            answers.set(sequence.index(), sequence.answer());
            listener.finished(sequence.index(), sequence.answer());
        });
        waiting.clear();
    }
}
