package dev.optgptq.calibrate.generate;

import dev.optgptq.kernels.ops.CachePages;
import java.util.ArrayDeque;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Which pages of the pool belong to which sequence (Kwon et al., arXiv 2309.06180, section 4.2 and 4.4). Pages are
 * shared by reference counting: by forks, and by sequences that begin with the same tokens. Copy-on-write.
 */
final class PageTable {

    private static final int TOKENS = CachePages.TOKENS;

    /** Free pages, the last freed one on top, since it may still be cached. */
    private final Deque<Integer> free = new ArrayDeque<>();
    private final int[] references;
    /** Whole pages by their tokens and the page before. */
    private final Map<Prefix, Integer> known = new HashMap<>();
    private final Map<Integer, Prefix> prefixOf = new HashMap<>();

    PageTable(int pages) {
        references = new int[pages];
        for (int page = pages - 1; page >= 0; page--) {
            free.push(page);
        }
    }

    /**
     * Key of a whole page. Since it includes the page before, it identifies all tokens up to the page's end.
     *
     * @param before the page before it, -1 for the first
     */
    private record Prefix(int before, List<Integer> tokens) {}

    /** The pages of one sequence. */
    static final class Pages {
        private final List<Integer> pages = new ArrayList<>();
        /** Them as an array, for copies: a long sequence has thousands, and gains one in 16 steps. Null when they have changed. */
        private int @Nullable [] numbers;
        private int tokens;

        /** Tokens that have a place. */
        int tokens() {
            return tokens;
        }

        int count() {
            return pages.size();
        }

        int page(int index) {
            return pages.get(index);
        }

        /** Writes the pages' numbers, then zeros: width of them, from an index on. */
        void copyTo(MemorySegment target, int index, int width) {
            int[] own = numbers;
            if (own == null) {
                own = pages.stream().mapToInt(Integer::intValue).toArray();
                numbers = own;
            }
            int count = Math.min(width, own.length);
            MemorySegment.copy(own, 0, target, ValueLayout.JAVA_INT, (long) index * Integer.BYTES, count);
            target.asSlice((long) (index + count) * Integer.BYTES, (long) (width - count) * Integer.BYTES)
                    .fill((byte) 0);
        }

        /** Where token i is stored: page * 16 + place. */
        int slot(int i) {
            return pages.get(i / TOKENS) * TOKENS + i % TOKENS;
        }
    }

    /** A page to be copied before it is written. */
    record Copy(int from, int to) {}

    /** Pages that tokens need when none is shared. */
    static int pagesFor(int tokens) {
        return Math.ceilDiv(tokens, TOKENS);
    }

    int free() {
        return free.size();
    }

    int size() {
        return references.length;
    }

    /**
     * Whole pages that other sequences hold and that the tokens begin with; the last token is left, as it must be computed.
     *
     * @param length tokens that count
     */
    Pages open(int[] tokens, int length) {
        Pages opened = new Pages();
        int before = -1;
        for (int from = 0; from + TOKENS < length; from += TOKENS) {
            Integer page = known.get(prefix(before, tokens, from));
            if (page == null) {
                break;
            }
            references[page]++;
            opened.pages.add(page);
            opened.tokens += TOKENS;
            before = page;
        }
        return opened;
    }

    /**
     * Allocates places for more tokens. Null if the pool has too few pages, without a change; else the pages to copy
     * first.
     */
    @Nullable
    List<Copy> grow(Pages sequence, int tokens) {
        boolean copies = tokens > 0 && sequence.tokens % TOKENS != 0
                && references[sequence.pages.getLast()] > 1;
        int more = pagesFor(sequence.tokens + tokens) - sequence.pages.size();
        if (more + (copies ? 1 : 0) > free.size()) {
            return null;
        }
        List<Copy> toCopy = new ArrayList<>();
        if (copies || more > 0) {
            sequence.numbers = null;
        }
        if (copies) {
            int shared = sequence.pages.removeLast();
            int own = take();
            release(shared);
            sequence.pages.add(own);
            toCopy.add(new Copy(shared, own));
        }
        for (int i = 0; i < more; i++) {
            sequence.pages.add(take());
        }
        sequence.tokens += tokens;
        return toCopy;
    }

    /** Another sequence with the same tokens, in the same pages. */
    Pages fork(Pages sequence) {
        Pages fork = new Pages();
        fork.pages.addAll(sequence.pages);
        fork.tokens = sequence.tokens;
        fork.pages.forEach(page -> references[page]++);
        return fork;
    }

    /** Publishes its whole pages for sharing; their computation has been issued to the device. */
    void publish(Pages sequence, int[] tokens) {
        int before = -1;
        for (int from = 0; from + TOKENS <= sequence.tokens; from += TOKENS) {
            int page = sequence.page(from / TOKENS);
            if (!prefixOf.containsKey(page)) {
                Prefix prefix = prefix(before, tokens, from);
                if (known.putIfAbsent(prefix, page) != null) {
                    return; // the same tokens were computed twice; the first is found
                }
                prefixOf.put(page, prefix);
            }
            before = page;
        }
    }

    /** Frees all its pages. */
    void close(Pages sequence) {
        sequence.pages.reversed().forEach(this::release);
        sequence.pages.clear();
        sequence.numbers = null;
        sequence.tokens = 0;
    }

    private int take() {
        int page = free.pop();
        references[page] = 1;
        return page;
    }

    private void release(int page) {
        if (--references[page] == 0) {
            Prefix prefix = prefixOf.remove(page);
            if (prefix != null) {
                known.remove(prefix);
            }
            free.push(page);
        }
    }

    private static Prefix prefix(int before, int[] tokens, int from) {
        return new Prefix(before, Arrays.stream(tokens, from, from + TOKENS).boxed().toList());
    }
}
