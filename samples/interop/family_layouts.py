"""Families without a class in transformers, written from a llama that computes the same.

internlm2 is a llama with other names and fused rows; baichuan and opt_gqa one whose positions are ALiBi, which llama
computes when every token has position 0 and the mask holds the biases.
"""

import json
import math

import torch
from safetensors.torch import load_file, save_file


def slopes(heads):
    """Press et al. 2021: those of the power of two below, then every other one of the power above."""
    power = 2 ** math.floor(math.log2(heads))
    first = [2 ** (-8 * (n + 1) / power) for n in range(power)]
    more = [2 ** (-8 * (n + 1) / (2 * power)) for n in range(2 * power)][::2]
    return first + more[: heads - power]


def alibi(ids, heads, dtype):
    length = ids.shape[1]
    at = torch.arange(length)
    distance = (at[None, :] - at[:, None]).to(dtype)
    bias = torch.tensor(slopes(heads), dtype=dtype)[:, None, None] * distance
    return bias.masked_fill(distance > 0, torch.finfo(dtype).min)[None].expand(ids.shape[0], -1, -1, -1)


def logits_of(model, case, ids):
    if case.layout in ("baichuan", "opt_gqa"):
        dtype = model.get_input_embeddings().weight.dtype
        return model(input_ids=ids, attention_mask=alibi(ids, model.config.num_attention_heads, dtype),
                     position_ids=torch.zeros_like(ids), use_cache=False).logits
    return model(input_ids=ids, use_cache=False).logits


class Layout:
    """How a llama's tensors and config.json become those of another family."""

    def __init__(self, model_type, architecture, names=(), fuse=None, config=None):
        self.model_type, self.architecture, self.names = model_type, architecture, names
        self.fuse, self.config = fuse, config

    def tensors(self, tensors, config):
        if self.fuse:
            tensors = self.fuse(dict(tensors), config)
        renamed = {}
        for name, tensor in tensors.items():
            for old, new in self.names:
                name = name.replace(old, new)
            renamed[name] = tensor.contiguous()
        return renamed

    def rewrite(self, folder, d):
        config = json.loads((folder / "config.json").read_text())
        named = type("Config", (), config)
        weights = folder / "model.safetensors"
        save_file(self.tensors(load_file(weights), named), weights.with_suffix(".new"), metadata={"format": "pt"})
        weights.with_suffix(".new").replace(weights)
        config.update(model_type=self.model_type, architectures=[self.architecture])
        for name in ("head_dim", "attention_bias", "mlp_bias", "pretraining_tp"):
            if self.model_type != "opt_gqa":
                config.pop(name, None)
        if self.config:
            self.config(config)
        (folder / "config.json").write_text(json.dumps(config, indent=1))


def by_group(tensors, config):
    """[q .. q k v] for each key-value head."""
    kv, heads = config.num_key_value_heads, config.num_attention_heads
    for name in [n for n in tensors if n.endswith("q_proj.weight")]:
        q, k, v = (tensors.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj"))
        q, k, v = q.view(kv, heads // kv, -1, q.shape[-1]), k.view(kv, 1, -1, q.shape[-1]), v.view(kv, 1, -1, q.shape[-1])
        tensors[name.replace("q_proj", "wqkv")] = torch.cat([q, k, v], 1).flatten(0, 2)
    return tensors


def packed(tensors, config):
    for name in [n for n in tensors if n.endswith("q_proj.weight")]:
        parts = [tensors.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        tensors[name.replace("q_proj", "W_pack")] = torch.cat(parts)
    return tensors


def without_bias(config):
    config["bias"] = False


def without_rope(config):
    config.pop("rope_parameters", None)


def thirteen_billion(config):
    without_rope(config)
    config.pop("num_key_value_heads")


def own(config):
    without_rope(config)
    config.update(position_type="alibi", attention_output_bias=config["attention_bias"])
    config.pop("pretraining_tp", None)


LAYOUTS = {
    "internlm2": Layout("internlm2", "InternLM2ForCausalLM", [
        ("embed_tokens", "tok_embeddings"), ("self_attn.o_proj", "attention.wo"), ("self_attn", "attention"),
        ("post_attention_layernorm", "ffn_norm"), ("input_layernorm", "attention_norm"), ("mlp.gate_proj", "feed_forward.w1"),
        ("mlp.up_proj", "feed_forward.w3"), ("mlp.down_proj", "feed_forward.w2"), ("lm_head", "output")], by_group, without_bias),
    "baichuan": Layout("baichuan", "BaichuanForCausalLM", [], packed, thirteen_billion),
    "opt_gqa": Layout("opt_gqa", "OptGqaForCausalLM", [], None, own),
}
