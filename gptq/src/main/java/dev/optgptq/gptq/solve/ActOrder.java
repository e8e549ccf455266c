package dev.optgptq.gptq.solve;

import java.util.Locale;

/** The order in which the inputs of a linear are quantized, and what the groups are. */
public enum ActOrder {
    /** Inputs in their own order; groups of neighbours, fitted as they are reached. */
    NONE,
    /** By falling activation energy; groups of neighbours, fitted before. The written g_idx is sequential. */
    STATIC,
    /** By falling activation energy; groups in that order (desc_act): an irregular g_idx, slow kernels at inference. */
    GROUP;

    /** As the command line writes it. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
