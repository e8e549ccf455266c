package dev.optgptq.formats.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.IntPredicate;

/** Strings as Python has them: sequences of code points. */
final class Texts {

    /** Of a text that becomes a list: each takes 50 bytes. */
    private static final int MOST_CHARACTERS = 1 << 20;

    private Texts() {}

    static boolean isSpace(int character) {
        return Character.isWhitespace(character) || Character.isSpaceChar(character) || character == 0x85;
    }

    static String stripRight(String text) {
        return stripRight(text, Texts::isSpace);
    }

    /** Whether a character is one of some. */
    static IntPredicate anyOf(String characters) {
        return character -> characters.indexOf(character) >= 0;
    }

    static String stripLeft(String text, IntPredicate stripped) {
        int from = 0;
        while (from < text.length() && stripped.test(text.codePointAt(from))) {
            from += Character.charCount(text.codePointAt(from));
        }
        return text.substring(from);
    }

    static String stripRight(String text, IntPredicate stripped) {
        int to = text.length();
        while (to > 0 && stripped.test(text.codePointBefore(to))) {
            to -= Character.charCount(text.codePointBefore(to));
        }
        return text.substring(0, to);
    }

    static int length(String text) {
        return text.codePointCount(0, text.length());
    }

    /** Characters [from, to). */
    static String part(String text, int from, int to) {
        int start = text.offsetByCodePoints(0, from);
        return text.substring(start, text.offsetByCodePoints(start, to - from));
    }

    /** Each character. */
    static List<Value> characters(String text) {
        if (text.length() > MOST_CHARACTERS) {
            throw new TemplateException("a text of " + text.length() + " characters is too long to take apart");
        }
        return text.codePoints().mapToObj(character -> (Value) new Value.Text(Character.toString(character))).toList();
    }

    static boolean isAll(String text, IntPredicate wanted) {
        return !text.isEmpty() && text.codePoints().allMatch(wanted);
    }

    /** At runs of white space, without empty parts. */
    static List<String> words(String text, long most, Budget budget) {
        List<String> parts = new ArrayList<>();
        int from = spaceEnd(text, 0);
        while (from < text.length()) {
            budget.step();
            if (most >= 0 && parts.size() == most) {
                parts.add(text.substring(from));
                break;
            }
            int end = from;
            while (end < text.length() && !isSpace(text.charAt(end))) {
                end++;
            }
            parts.add(text.substring(from, end));
            from = spaceEnd(text, end);
        }
        return parts;
    }

    private static int spaceEnd(String text, int from) {
        int end = from;
        while (end < text.length() && isSpace(text.charAt(end))) {
            end++;
        }
        return end;
    }

    /** @param most splits; negative for all */
    static List<String> split(String text, String separator, long most, Budget budget) {
        if (separator.isEmpty()) {
            throw new TemplateException("split needs a separator that is not empty");
        }
        budget.search(text, separator);
        List<String> parts = new ArrayList<>();
        int from = 0;
        int found = text.indexOf(separator);
        while (found >= 0 && (most < 0 || parts.size() < most)) {
            budget.step();
            parts.add(text.substring(from, found));
            from = found + separator.length();
            found = text.indexOf(separator, from);
        }
        parts.add(text.substring(from));
        return parts;
    }

    /** From the end. */
    static List<String> splitRight(String text, String separator, long most, Budget budget) {
        if (separator.isEmpty()) {
            throw new TemplateException("rsplit needs a separator that is not empty");
        }
        budget.search(text, separator);
        List<String> parts = new ArrayList<>();
        int to = text.length();
        int found = text.lastIndexOf(separator);
        while (found >= 0 && (most < 0 || parts.size() < most)) {
            budget.step();
            parts.add(text.substring(found + separator.length(), to));
            to = found;
            found = found == 0 ? -1 : text.lastIndexOf(separator, found - separator.length());
        }
        parts.add(text.substring(0, to));
        return parts.reversed();
    }

    /** The first letter of each word large, the others small. */
    static String title(String text) {
        StringBuilder titled = new StringBuilder();
        boolean inWord = false;
        for (int i = 0; i < text.length(); i += Character.charCount(text.codePointAt(i))) {
            int character = text.codePointAt(i);
            titled.appendCodePoint(inWord ? Character.toLowerCase(character) : Character.toTitleCase(character));
            inWord = Character.isLetter(character);
        }
        return titled.toString();
    }

    static String capitalize(String text) {
        return text.isEmpty()
                ? text
                : Character.toString(Character.toTitleCase(text.codePointAt(0)))
                        + text.substring(text.offsetByCodePoints(0, 1)).toLowerCase(Locale.ROOT);
    }
}
