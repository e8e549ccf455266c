#!/usr/bin/env python3
"""Converts small random models of many families with opt-gptq convert-gqa, and compares the results with transformers.

    pip install torch transformers safetensors tokenizers
    samples/interop/check_converted.py [--families bloom,gemma2] [--convert "--ratio 2"] [--program ./opt-gptq]

Every model has a key-value head for each of its 8 query heads, and weights, norms and biases that are random. The converted
model is loaded by transformers (trust_remote_code for opt_gqa), in float32, and must give the logits of `opt-gptq eval logits` within
1e-4 of the largest. Prints a line for each family; exit code 1 where one is refused or differs.
"""

import argparse
import random
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

TOLERANCE = 1e-4
VOCABULARY, HIDDEN = 288, 64
USUAL = dict(vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=96, num_hidden_layers=2, num_attention_heads=8,
             num_key_value_heads=8, max_position_embeddings=128, pad_token_id=0, bos_token_id=256, eos_token_id=256)
GPT2 = dict(vocab_size=VOCABULARY, bos_token_id=256, eos_token_id=256)
EXPERTS = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
FAMILIES = {
    "llama": ("llama", {}), "qwen2": ("qwen2", {}), "mistral": ("mistral", dict(sliding_window=None)),
    "qwen3": ("qwen3", dict(head_dim=8)), "phi": ("phi", {}), "phi3": ("phi3", dict(sliding_window=None)),
    "gemma2": ("gemma2", dict(head_dim=8, query_pre_attn_scalar=8, sliding_window=32)),
    "gemma3": ("gemma3_text", dict(head_dim=8, query_pre_attn_scalar=8, sliding_window=32)),
    "olmo2": ("olmo2", {}), "olmoe": ("olmoe", dict(num_experts=4, num_experts_per_tok=2)),
    "stablelm": ("stablelm", {}), "stablelm-parallel": ("stablelm", dict(use_parallel_residual=True, use_qkv_bias=True)),
    "stablelm-norms": ("stablelm", dict(qk_layernorm=True)), "starcoder2": ("starcoder2", dict(sliding_window=None)),
    "granite": ("granite", dict(attention_multiplier=0.3, residual_multiplier=0.3, embedding_multiplier=2.0, logits_scaling=2.0)),
    "cohere2": ("cohere2", dict(sliding_window=32)), "glm4": ("glm4", dict(head_dim=8)),
    "exaone4": ("exaone4", dict(sliding_window=32, sliding_window_pattern=2)), "smollm3": ("smollm3", {}),
    "seed_oss": ("seed_oss", dict(head_dim=8)), "ernie4_5": ("ernie4_5", dict(head_dim=8)),
    "mixtral": ("mixtral", dict(num_local_experts=4, num_experts_per_tok=2, sliding_window=None)),
    "qwen2_moe": ("qwen2_moe", dict(shared_expert_intermediate_size=64, decoder_sparse_step=1, **EXPERTS)),
    "qwen3_moe": ("qwen3_moe", dict(head_dim=8, **EXPERTS)),
    "granitemoe": ("granitemoe", dict(num_local_experts=4, num_experts_per_tok=2)),
    "gpt_neox": ("gpt_neox", dict(rotary_pct=0.5)), "gpt_neox-serial": ("gpt_neox", dict(use_parallel_residual=False)),
    "gpt2": ("gpt2", dict(n_embd=HIDDEN, n_layer=2, n_head=8, n_positions=128)), "bloom": ("bloom", dict(n_layer=2, n_head=8)),
    "falcon-rw": ("falcon", dict(alibi=True, multi_query=False, parallel_attn=False, new_decoder_architecture=False, bias=True)),
    "falcon-new": ("falcon", dict(new_decoder_architecture=True, num_kv_heads=8)),
    "opt": ("opt", dict(ffn_dim=96, word_embed_proj_dim=HIDDEN, pad_token_id=1)),
}


def write_model(name, folder):
    model_type, own = FAMILIES[name]
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**{**(GPT2 if name == "gpt2" else USUAL), **own})).float()
    generator = torch.Generator().manual_seed(5)
    for parameter_name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() < 2:
            parameter.data.add_(0.2 * noise)
        else:
            embedding = "embed" in parameter_name or "wte" in parameter_name
            parameter.data.copy_(noise * (0.7 if embedding else 1.2 / parameter.shape[-1] ** 0.5))
    model.tie_weights()
    model.save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = letters + [f"<{i}>" for i in range(len(letters), VOCABULARY)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))


def run(*command):
    found = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if found.returncode != 0:
        raise RuntimeError(found.stderr.strip().splitlines()[-1])


def check(name, options, program, folder):
    model, converted, logits = folder / "model", folder / "converted", folder / "logits.safetensors"
    write_model(name, model)
    run(*program, "convert-gqa", model, "--output", converted, "--calibration", folder.parent / "text.txt", "--eval", "none",
        "--samples", 16, "--sequence-length", 32, "--device", "cpu", *options)
    run(*program, "eval", "logits", converted, "--input", folder.parent / "ids.safetensors", "--output", logits, "--device", "cpu")
    theirs = AutoModelForCausalLM.from_pretrained(converted, trust_remote_code=True, dtype=torch.float32,
                                                  attn_implementation="eager")
    with torch.no_grad():
        expected = theirs(load_file(folder.parent / "ids.safetensors")["input_ids"]).logits
    ours = load_file(logits)["logits"].reshape(expected.shape)
    return theirs.config.model_type, ((ours - expected).abs().max() / expected.abs().max()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--convert", default="--ratio 2", help="options of convert-gqa")
    parser.add_argument("--program", default=str(Path(__file__).parents[2] / "opt-gptq"))
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        words = random.Random(1).choices("the rain in spain on station anna model heads share keys values".split(), k=6000)
        (root / "text.txt").write_text(" ".join(words))
        generator = torch.Generator().manual_seed(3)
        save_file({"input_ids": torch.randint(0, 256, (2, 40), generator=generator)}, root / "ids.safetensors")
        for name in args.families.split(","):
            folder = root / name
            folder.mkdir()
            try:
                family, error = check(name, shlex.split(args.convert), shlex.split(args.program), folder)
                failed += error > TOLERANCE
                print(f"{name:18} {family:12} {error:.1e}{'' if error <= TOLERANCE else ' DIFFERS'}", flush=True)
            except RuntimeError as refused:
                failed += 1
                print(f"{name:18} {refused}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
