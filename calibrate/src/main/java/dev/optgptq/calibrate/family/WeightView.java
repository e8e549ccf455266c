package dev.optgptq.calibrate.family;

/**
 * Layout of a linear's weight on disk.
 *
 * @param weight the tensor's full name
 * @param biasTensor full name of the bias's tensor, where there is one
 * @param rows how the parts that it computes share its rows
 * @param stored its orientation
 * @param index which matrix of the tensor it is
 * @param matrices that the tensor holds: 1, or all experts' in one
 */
public record WeightView(String weight, String biasTensor, RowOrder rows, Stored stored, int index, int matrices) {

    /** Orientation of a weight: [out, in] as in torch's Linear, or [in, out] as in gpt2's Conv1D. */
    public enum Stored {
        OUT_IN, IN_OUT
    }

    /** Order of rows, as in a description. */
    public enum Rows {
        /** Part after part; or one part alone. */
        CONCATENATED,
        /** Every query head's rows of each part, head after head: [q k v] [q k v] ... */
        PER_HEAD,
        /** Every key-value head's rows of each part: [q .. q k v] [q .. q k v] ... */
        PER_KV_GROUP,
        /** Row about of two parts: gate, up, gate, up ... */
        INTERLEAVED_PAIRS
    }

    /** Whether the tensor holds the matrices of several linears. */
    public boolean shared() {
        return matrices > 1;
    }
}
