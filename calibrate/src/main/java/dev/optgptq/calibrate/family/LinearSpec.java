package dev.optgptq.calibrate.family;

/**
 * One linear layer of a decoder block.
 *
 * @param module its name without ".weight": "model.layers.0.mlp.up_proj"; its packed tensors are named after it
 * @param role its name within a block: "mlp.up_proj"
 * @param projection what it computes
 * @param expert which expert's; -1 for none
 * @param inputs columns of its weight
 * @param outputs rows of its weight
 * @param bias whether it has a bias
 * @param view the layout of its weight on disk
 */
public record LinearSpec(String module, String role, Projection projection, int expert, int inputs, int outputs,
        boolean bias, WeightView view) {

    /** No expert's. */
    public static final int NO_EXPERT = -1;

    /** The site of its input. */
    public InputSite site() {
        return new InputSite(projection.site(), expert);
    }

    /** The tensor that holds its weight, alone or among others. */
    public String weightTensor() {
        return view.weight();
    }

    /** The tensor that holds its bias, where it has one. */
    public String biasTensor() {
        return view.biasTensor();
    }
}
