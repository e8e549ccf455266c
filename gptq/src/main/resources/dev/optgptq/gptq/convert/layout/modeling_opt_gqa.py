"""Opt-GQA in plain PyTorch, for transformers (trust_remote_code). Written by opt-gptq convert-gqa.

Query head h uses key-value head h // (heads / kvHeads). Scores are computed in float32.
"""

import math

import torch
from torch import nn
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_opt_gqa import OptGqaConfig


def alibi_slopes(heads: int, max_bias: float) -> list[float]:
    """One slope for each query head (Press et al. 2021); heads that are no power of two take every second of the next one."""
    power = 1 << max(0, math.ceil(math.log2(heads)))
    steps = [k + 1 for k in range(power)]
    if power != heads:
        steps = (steps[1::2] + steps[0::2])[:heads]
    return [2.0 ** (-max_bias * step / power) for step in steps]


def rotary_frequencies(config: OptGqaConfig) -> torch.Tensor:
    """float32 [pairs]: radians per position (Su et al. 2021)."""
    width = int(config.head_dim * config.partial_rotary_factor)
    frequencies = config.rope_theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    scaling = config.rope_scaling or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "linear":
        frequencies = frequencies / scaling["factor"]
    elif kind == "llama3":
        # Waves longer than the original context are stretched, short ones kept, those between in proportion.
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        waves = scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)
        kept = ((waves - low) / (high - low)).clamp(0, 1)
        frequencies = kept * frequencies + (1 - kept) * frequencies / scaling["factor"]
    elif kind != "default":
        raise ValueError(f"rope_type is {kind!r}; expected default, linear or llama3")
    return frequencies.float()


def rotate(x, angles):
    """x [B, heads, T, head_dim]: pairs half of what turns apart; angles float32 [B, T, pairs]."""
    pairs = angles.shape[-1]
    cos, sin = angles.cos()[:, None].to(x.dtype), angles.sin()[:, None].to(x.dtype)
    a, b, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), -1)


class OptGqaRMSNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def make_norm(config: OptGqaConfig) -> nn.Module:
    if config.norm_type == "layer_norm":
        return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=config.norm_bias)
    return OptGqaRMSNorm(config.hidden_size, config.rms_norm_eps)


class OptGqaAttention(nn.Module):
    def __init__(self, config: OptGqaConfig, layer: int):
        super().__init__()
        counts = config.num_key_value_heads
        self.layer = layer
        self.heads = config.num_attention_heads
        self.kv_heads = counts[layer] if isinstance(counts, (list, tuple)) else counts
        self.head_dim = config.head_dim
        hidden, bias = config.hidden_size, config.attention_bias
        self.q_proj = nn.Linear(hidden, self.heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(self.heads * self.head_dim, hidden, bias=config.attention_output_bias)

    def forward(self, x, bias, angles, cache):
        """x [B, T, hidden]; bias float32 [B or 1, heads or 1, T, K], -inf where a query does not look; angles None or [B, T, pairs]."""
        batch, tokens, _ = x.shape
        q = self.q_proj(x).view(batch, tokens, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, tokens, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, tokens, self.kv_heads, self.head_dim).transpose(1, 2)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        scores = (q @ k.transpose(-1, -2)).float() * self.head_dim**-0.5 + bias
        out = scores.softmax(-1).to(v.dtype) @ v
        return self.o_proj(out.transpose(1, 2).reshape(batch, tokens, -1))


class OptGqaMLP(nn.Module):
    def __init__(self, config: OptGqaConfig):
        super().__init__()
        hidden, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        if config.mlp_type == "gated":
            self.gate_proj = nn.Linear(hidden, inner, bias=bias)
        self.up_proj = nn.Linear(hidden, inner, bias=bias)
        self.down_proj = nn.Linear(inner, hidden, bias=bias)
        self.gated = config.mlp_type == "gated"
        self.act = ACT2FN[config.hidden_act]

    def forward(self, x):
        if self.gated:
            return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))
        return self.down_proj(self.act(self.up_proj(x)))


class OptGqaBlock(nn.Module):
    def __init__(self, config: OptGqaConfig, layer: int):
        super().__init__()
        self.input_layernorm = make_norm(config)
        self.self_attn = OptGqaAttention(config, layer)
        if config.mlp_norm:
            self.post_attention_layernorm = make_norm(config)
        self.parallel, self.mlp_norm = config.parallel_residual, config.mlp_norm
        self.mlp = OptGqaMLP(config)

    def forward(self, x, bias, angles, cache):
        normed = self.input_layernorm(x)
        attended = x + self.self_attn(normed, bias, angles, cache)
        if self.mlp_norm:
            normed = self.post_attention_layernorm(x if self.parallel else attended)
        elif not self.parallel:
            normed = attended
        return attended + self.mlp(normed)


class OptGqaPreTrainedModel(PreTrainedModel):
    config_class = OptGqaConfig
    base_model_prefix = "model"
    _no_split_modules = ["OptGqaBlock"]


class OptGqaModel(OptGqaPreTrainedModel):
    def __init__(self, config: OptGqaConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.position_type == "learned":
            self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(OptGqaBlock(config, i) for i in range(config.num_hidden_layers))
        self.norm = make_norm(config)
        self.post_init()

    def slopes(self, device):
        """float32 [heads, 1, 1]; 0 where there is no ALiBi."""
        config = self.config
        if config.position_type != "alibi":
            values = [0.0] * config.num_attention_heads
        elif config.alibi_slopes is not None:
            values = config.alibi_slopes
        else:
            values = alibi_slopes(config.num_attention_heads, config.alibi_bias_max)
        return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]

    def bias(self, mask, past, tokens, device):
        """float32 [B or 1, heads, T, K]: ALiBi, and -inf for keys that come later or are padding."""
        keys = torch.arange(past + tokens, device=device)
        distance = keys[None, :] - keys[past:, None]
        bias = (self.slopes(device) * distance)[None]
        hidden = distance[None, None] > 0
        if mask is not None:
            # A row of padding sees itself, so that no softmax is empty.
            hidden = hidden | ((mask[:, None, None, : past + tokens] == 0) & (distance != 0))
        return bias.masked_fill(hidden, float("-inf"))

    def forward(self, input_ids, mask, cache):
        past = cache.get_seq_length() if cache is not None else 0
        tokens = input_ids.shape[1]
        x = self.embed_tokens(input_ids)
        positions = torch.arange(past, past + tokens, device=x.device)[None]
        if mask is not None:
            positions = (mask.long().cumsum(-1) - 1).clamp(min=0)[:, past:]
        angles = None
        if self.config.position_type == "learned":
            x = x + self.embed_positions(positions)
        elif self.config.position_type == "rotary":
            angles = positions[..., None].float() * rotary_frequencies(self.config).to(x.device)
        bias = self.bias(mask, past, tokens, x.device)
        for layer in self.layers:
            x = layer(x, bias, angles, cache)
        return self.norm(x)


class OptGqaForCausalLM(OptGqaPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: OptGqaConfig):
        super().__init__(config)
        self.model = OptGqaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=config.lm_head_bias)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=None, labels=None, **unused):
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        hidden = self.model(input_ids, attention_mask, past_key_values if use_cache else None)
        logits = self.lm_head(hidden)
        loss = None
        if labels is not None:
            wanted = labels[:, 1:].reshape(-1)
            loss = nn.functional.cross_entropy(logits[:, :-1].float().reshape(len(wanted), -1), wanted)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values if use_cache else None)
