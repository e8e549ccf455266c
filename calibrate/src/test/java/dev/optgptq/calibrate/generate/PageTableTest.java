package dev.optgptq.calibrate.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class PageTableTest {

    private static final int[] TOKENS = IntStream.range(0, 100).toArray();

    @Test
    void aSequenceTakesAPageForEvery16Tokens() {
        PageTable table = new PageTable(4);
        PageTable.Pages pages = table.open(TOKENS, 10);
        assertTrue(grow(table, pages, 16).isEmpty());
        assertEquals(3, table.free());
        grow(table, pages, 1);
        assertEquals(2, table.free());
        assertEquals(pages.page(1) * 16, pages.slot(16));
        table.close(pages);
        assertEquals(4, table.free());
    }

    @Test
    void whereThePoolHasNotEnoughPagesNothingChanges() {
        PageTable table = new PageTable(2);
        PageTable.Pages pages = table.open(TOKENS, 10);
        grow(table, pages, 20);
        assertNull(table.grow(pages, 13));
        assertEquals(20, pages.tokens());
        assertEquals(0, table.free());
    }

    @Test
    void aForkSharesPagesUntilOneOfThemWrites() {
        PageTable table = new PageTable(6);
        PageTable.Pages first = table.open(TOKENS, 10);
        grow(table, first, 20);
        PageTable.Pages fork = table.fork(first);
        assertEquals(4, table.free());
        List<PageTable.Copy> copies = grow(table, fork, 1);
        assertEquals(List.of(new PageTable.Copy(first.page(1), fork.page(1))), copies);
        assertEquals(first.page(0), fork.page(0));
        assertTrue(grow(table, first, 1).isEmpty(), "the page is its own again");
        table.close(first);
        table.close(fork);
        assertEquals(6, table.free());
    }

    @Test
    void sequencesThatBeginAlikeShareWholePagesWhileOneOfThemIsThere() {
        PageTable table = new PageTable(8);
        PageTable.Pages first = table.open(TOKENS, 40);
        grow(table, first, 40);
        table.publish(first, TOKENS);
        PageTable.Pages second = table.open(TOKENS, 40);
        assertEquals(32, second.tokens());
        assertEquals(first.page(1), second.page(1));
        table.close(first);
        assertEquals(32, table.open(TOKENS, 33).tokens(), "the last token is always computed");
        int[] other = TOKENS.clone();
        other[17] = 99;
        PageTable.Pages third = table.open(other, 40);
        assertEquals(16, third.tokens());
    }

    @Test
    void aPageThatWasGivenBackIsNotFoundAnyMore() {
        PageTable table = new PageTable(4);
        PageTable.Pages first = table.open(TOKENS, 40);
        grow(table, first, 40);
        table.publish(first, TOKENS);
        table.close(first);
        assertEquals(0, table.open(TOKENS, 40).tokens());
    }

    @Test
    void noPageIsLostOrGivenTwiceInALongLife() {
        long seed = 20261130;
        SplittableRandom random = new SplittableRandom(seed);
        PageTable table = new PageTable(2000);
        List<PageTable.Pages> open = new ArrayList<>();
        long tokens = 0;
        long places = 0;
        for (int step = 0; step < 5_000; step++) {
            if (!open.isEmpty() && random.nextInt(3) == 0) {
                table.close(open.remove(random.nextInt(open.size())));
            } else if (!open.isEmpty() && random.nextInt(4) == 0) {
                open.add(table.fork(open.get(random.nextInt(open.size()))));
            } else {
                int[] prompt = random.ints(1 + random.nextInt(1000), 0, 2).toArray();
                PageTable.Pages pages = table.open(prompt, prompt.length);
                if (table.grow(pages, prompt.length - pages.tokens()) == null) {
                    table.close(pages);
                } else {
                    table.publish(pages, prompt);
                    open.add(pages);
                    tokens += prompt.length;
                    places += pages.count() * 16L;
                }
            }
            assertEquals(distinct(open), table.size() - table.free(), "seed " + seed + ", step " + step);
        }
        open.forEach(table::close);
        assertEquals(2000, table.free());
        assertNotEquals(0, tokens);
        assertTrue(places - tokens < 0.04 * places, "waste " + (places - tokens) / (double) places);
    }

    private static long distinct(List<PageTable.Pages> open) {
        return open.stream().flatMap(pages -> IntStream.range(0, pages.count()).mapToObj(pages::page)).distinct()
                .count();
    }

    private static List<PageTable.Copy> grow(PageTable table, PageTable.Pages pages, int tokens) {
        List<PageTable.Copy> copies = table.grow(pages, tokens);
        assertNotNull(copies);
        assertFalse(copies.size() > 1);
        return copies;
    }
}
