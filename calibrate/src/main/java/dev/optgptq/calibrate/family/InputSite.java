package dev.optgptq.calibrate.family;

import java.util.Comparator;

/**
 * A place in a decoder block where an activation enters one or more linear layers; in the order of the forward pass.
 * Linears that share a site share one Hessian.
 *
 * @param expert whose; LinearSpec.NO_EXPERT where all tokens pass
 */
public record InputSite(Kind kind, int expert) implements Comparable<InputSite> {

    public static final InputSite ATTENTION_INPUT = of(Kind.ATTENTION_INPUT);
    public static final InputSite QUERY_LATENT = of(Kind.QUERY_LATENT);
    public static final InputSite KEY_VALUE_LATENT = of(Kind.KEY_VALUE_LATENT);
    public static final InputSite ATTENTION_OUTPUT = of(Kind.ATTENTION_OUTPUT);
    public static final InputSite MLP_INPUT = of(Kind.MLP_INPUT);
    public static final InputSite MLP_OUTPUT = of(Kind.MLP_OUTPUT);

    /** Experts pass one after the other, each with its input and its output. */
    private static final Comparator<InputSite> ORDER = Comparator
            .comparing((InputSite site) -> site.kind.ofExpert ? Kind.EXPERT_INPUT : site.kind)
            .thenComparingInt(InputSite::expert).thenComparing(InputSite::kind);

    /** Places by what enters, in the order of the forward pass. */
    public enum Kind {
        /** What the mixer reads: q, k, v, or the fused one. */
        ATTENTION_INPUT("attention input", false, false),
        /** The latents of latent attention, after their norms. */
        QUERY_LATENT("query latent", false, false), KEY_VALUE_LATENT("key-value latent", false, false),
        /** The mixer's output, all heads: input of the output projection. */
        ATTENTION_OUTPUT("attention output", false, false),
        /** What the MLP reads: gate and up; those of a shared expert, too. */
        MLP_INPUT("MLP input", true, false),
        /** After the activation: down; that of a shared expert, too. */
        MLP_OUTPUT("MLP output", true, false),
        /** The same of one expert, from the tokens that are sent to it. */
        EXPERT_INPUT("input of expert", true, true), EXPERT_OUTPUT("output of expert", true, true);

        private final String label;
        private final boolean ofMlp;
        private final boolean ofExpert;

        Kind(String label, boolean ofMlp, boolean ofExpert) {
            this.label = label;
            this.ofMlp = ofMlp;
            this.ofExpert = ofExpert;
        }
    }

    private static InputSite of(Kind kind) {
        return new InputSite(kind, LinearSpec.NO_EXPERT);
    }

    /** Whether it lies in the MLP or in an expert, and not in the mixer. */
    public boolean ofMlp() {
        return kind.ofMlp;
    }

    /** Whether only the tokens of one expert pass. */
    public boolean ofExpert() {
        return kind.ofExpert;
    }

    /** The same of whichever expert; itself where it is of none. */
    public InputSite ofAnyExpert() {
        return kind.ofExpert ? of(kind) : this;
    }

    /** For people. */
    public String label() {
        return kind.ofExpert && expert != LinearSpec.NO_EXPERT ? kind.label + " " + expert : kind.label;
    }

    @Override
    public int compareTo(InputSite other) {
        return ORDER.compare(this, other);
    }

    @Override
    public String toString() {
        return kind.ofExpert ? kind + "[" + expert + "]" : kind.toString();
    }
}
