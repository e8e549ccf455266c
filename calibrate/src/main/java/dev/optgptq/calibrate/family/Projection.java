package dev.optgptq.calibrate.family;

/** What a linear layer computes in a decoder block, in the order of the forward pass. A block has those that its family lists. */
public enum Projection {
    QUERY(InputSite.ATTENTION_INPUT), KEY(InputSite.ATTENTION_INPUT), VALUE(InputSite.ATTENTION_INPUT),
    /** All three in one: the rows of every query head, then of every key head, then of every value head. */
    QUERY_KEY_VALUE(InputSite.ATTENTION_INPUT), ATTENTION_OUTPUT(InputSite.ATTENTION_OUTPUT),
    /** Goes through the activation and multiplies UP. */
    GATE(InputSite.MLP_INPUT), UP(InputSite.MLP_INPUT), DOWN(InputSite.MLP_OUTPUT);

    private final InputSite site;

    Projection(InputSite site) {
        this.site = site;
    }

    /** Where its input comes from. */
    public InputSite site() {
        return site;
    }
}
