package dev.optgptq.gptq.serving;

/** A runtime that rules are known of; its file of rules has the name that the command line writes. */
public enum TargetName {
    VLLM("vllm"), VLLM_ROCM("vllm-rocm"), DCU("dcu"), TRANSFORMERS("transformers"), LLAMA_CPP("llama.cpp"), MLX("mlx");

    private final String label;

    TargetName(String label) {
        this.label = label;
    }

    /** As the command line writes it. */
    @Override
    public String toString() {
        return label;
    }
}
