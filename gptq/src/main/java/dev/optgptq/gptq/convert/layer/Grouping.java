package dev.optgptq.gptq.convert.layer;

/** Which heads of a layer come to share keys and values. */
public enum Grouping {
    /** neighbours */
    CONTIGUOUS,
    /** those that lose least together by their moments, where that is better on held-out sequences; they become neighbours */
    BEST
}
