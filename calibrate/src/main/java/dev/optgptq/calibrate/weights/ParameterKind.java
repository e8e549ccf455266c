package dev.optgptq.calibrate.weights;

/** Parameters of a model by what they belong to: gradients are computed for those that are asked for. */
public enum ParameterKind {
    /** Weights and biases of linears, and the head's matrix. */
    LINEAR,
    /** Weights and biases of norms. */
    NORM,
    /** Routers, sinks, convolutions and the like. */
    OTHER
}
