package dev.optgptq.calibrate.family;

/**
 * One linear layer of a decoder block.
 *
 * @param module its name on disk without ".weight": "model.layers.0.mlp.up_proj"
 * @param role its name within a block, the same in every block: "mlp.up_proj"
 * @param projection what it computes
 * @param inputs columns of its weight
 * @param outputs rows of its weight
 * @param bias whether a bias stands beside it
 */
public record LinearSpec(String module, String role, Projection projection, int inputs, int outputs, boolean bias) {

    /** Where its input comes from. */
    public InputSite site() {
        return projection.site();
    }
}
