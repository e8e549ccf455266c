package dev.optgptq.gptq.solve;

import java.util.Locale;

/** The order in which the inputs of a linear are quantized, and how they are grouped. */
public enum ActOrder {
    /** Inputs as stored; groups of neighbours, each fitted when its first input is reached. */
    NONE,
    /** By falling activation energy; groups of neighbours, fitted beforehand. The written g_idx is sequential. */
    STATIC,
    /** By falling activation energy; groups in that order (desc_act): an irregular g_idx, slow kernels at inference. */
    GROUP;

    /** As the command line writes it. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
