package dev.optgptq.calibrate.weights;

/** Kinds of parameters: gradients are computed for the requested ones. */
public enum ParameterKind {
    /** Weights and biases of linears, and the head's matrix. */
    LINEAR,
    /** Weights and biases of norms. */
    NORM,
    /** Routers, sinks, convolutions and the like. */
    OTHER
}
