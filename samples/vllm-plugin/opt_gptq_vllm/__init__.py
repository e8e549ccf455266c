"""Registers opt_gqa and mpt (with key-value heads) with vLLM, through the entry point vllm.general_plugins."""


def register() -> None:
    from transformers import AutoConfig, PretrainedConfig
    from vllm import ModelRegistry

    class OptGqaConfig(PretrainedConfig):
        model_type = "opt_gqa"

    if "opt_gqa" not in getattr(AutoConfig, "_registered", {}):
        AutoConfig.register("opt_gqa", OptGqaConfig, exist_ok=True)
    # By name: vLLM imports the module in a process of its own.
    ModelRegistry.register_model("OptGqaForCausalLM", "opt_gptq_vllm.models:OptGqaForCausalLM")
    ModelRegistry.register_model("MPTForCausalLM", "opt_gptq_vllm.models:MptForCausalLM")
