"""opt_gqa (llama's form with ALiBi in place of rotary embeddings) and mpt with key-value heads, on vLLM's layers.

Linears take a quant_config, so that GPTQ checkpoints of opt-gptq are served packed.
"""

from collections.abc import Iterable

import torch
from torch import nn
from vllm.attention import Attention
from vllm.config import VllmConfig
from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size
from vllm.model_executor.layers.activation import SiluAndMul, get_act_fn
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.linear import (ColumnParallelLinear, MergedColumnParallelLinear, QKVParallelLinear,
                                               RowParallelLinear)
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, VocabParallelEmbedding
from vllm.model_executor.model_loader.weight_utils import default_weight_loader

from .alibi import slopes


class AlibiAttention(nn.Module):
    """Grouped-query attention with ALiBi; heads are shared out over ranks, and so are slopes."""

    def __init__(self, hidden: int, heads: int, kv_heads: int, max_bias: float, scale: float | None, bias: bool,
                 out_bias: bool, clip: float | None, names: tuple[str, str], vllm_config: VllmConfig, prefix: str):
        super().__init__()
        quant = vllm_config.quant_config
        self.head_dim = hidden // heads
        self.clip = clip
        self.qkv = QKVParallelLinear(hidden, self.head_dim, heads, kv_heads, bias=bias, quant_config=quant,
                                     prefix=f"{prefix}.{names[0]}")
        self.out = RowParallelLinear(hidden, hidden, bias=out_bias, quant_config=quant, prefix=f"{prefix}.{names[1]}")
        ranks, rank = get_tensor_model_parallel_world_size(), get_tensor_model_parallel_rank()
        own = heads // ranks
        own_kv = max(1, kv_heads // ranks)
        self.q_size, self.kv_size = own * self.head_dim, own_kv * self.head_dim
        self.attn = Attention(own, self.head_dim, scale or self.head_dim**-0.5, num_kv_heads=own_kv,
                              alibi_slopes=slopes(heads, max_bias)[rank * own:(rank + 1) * own],
                              cache_config=vllm_config.cache_config, quant_config=quant, prefix=f"{prefix}.attn")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv, _ = self.qkv(x)
        if self.clip is not None:
            qkv = qkv.clamp(-self.clip, self.clip)
        q, k, v = qkv.split([self.q_size, self.kv_size, self.kv_size], dim=-1)
        return self.out(self.attn(q, k, v))[0]


class OptGqaBlock(nn.Module):

    def __init__(self, vllm_config: VllmConfig, prefix: str):
        super().__init__()
        c, quant = vllm_config.model_config.hf_config, vllm_config.quant_config
        for name, known in (("position_type", "alibi"), ("norm_type", "rms_norm"), ("mlp_type", "gated"),
                            ("parallel_residual", False), ("mlp_norm", True), ("lm_head_bias", False)):
            if getattr(c, name, known) != known:
                raise ValueError(f"opt_gqa: expected {name} {known}, found {getattr(c, name)}")
        self.self_attn = AlibiAttention(c.hidden_size, c.num_attention_heads, c.num_key_value_heads,
                                        getattr(c, "alibi_bias_max", 8), None, c.attention_bias,
                                        getattr(c, "attention_output_bias", False), None,
                                        ("qkv_proj", "o_proj"), vllm_config, f"{prefix}.self_attn")
        self.gate_up_proj = MergedColumnParallelLinear(c.hidden_size, [c.intermediate_size] * 2, bias=c.mlp_bias,
                                                       quant_config=quant, prefix=f"{prefix}.mlp.gate_up_proj")
        self.down_proj = RowParallelLinear(c.intermediate_size, c.hidden_size, bias=c.mlp_bias, quant_config=quant,
                                           prefix=f"{prefix}.mlp.down_proj")
        self.input_layernorm = RMSNorm(c.hidden_size, eps=c.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, eps=c.rms_norm_eps)
        self.activation = SiluAndMul()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x))
        up, _ = self.gate_up_proj(self.post_attention_layernorm(x))
        return x + self.down_proj(self.activation(up))[0]


class MptBlock(nn.Module):

    def __init__(self, vllm_config: VllmConfig, prefix: str):
        super().__init__()
        c, quant = vllm_config.model_config.hf_config, vllm_config.quant_config
        a = c.attn_config if isinstance(c.attn_config, dict) else c.attn_config.to_dict()
        if not a.get("alibi") or a.get("qk_ln"):
            raise ValueError("mpt: expected ALiBi and no norms of queries and keys, found "
                             f"alibi={a.get('alibi')}, qk_ln={a.get('qk_ln')}")
        bias = not c.no_bias
        kv_heads = 1 if a.get("attn_type") == "multiquery_attention" else a.get("kv_n_heads") or c.n_heads
        self.norm_1 = nn.LayerNorm(c.d_model, bias=bias)
        self.norm_2 = nn.LayerNorm(c.d_model, bias=bias)
        self.attn = AlibiAttention(c.d_model, c.n_heads, kv_heads, a.get("alibi_bias_max", 8), a.get("softmax_scale"),
                                   bias, bias, a.get("clip_qkv"), ("Wqkv", "out_proj"), vllm_config, f"{prefix}.attn")
        inner = c.expansion_ratio * c.d_model
        self.up_proj = ColumnParallelLinear(c.d_model, inner, bias=bias, quant_config=quant, prefix=f"{prefix}.ffn.up_proj")
        self.down_proj = RowParallelLinear(inner, c.d_model, bias=bias, quant_config=quant,
                                           prefix=f"{prefix}.ffn.down_proj")
        self.activation = get_act_fn("gelu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm_1(x))
        up, _ = self.up_proj(self.norm_2(x))
        return x + self.down_proj(self.activation(up))[0]


class _Decoder(nn.Module):
    """Embedding, blocks, norm, head, and the names on disk."""

    # Names on disk to names here; a third entry is the shard of a merged linear.
    RENAMED: list[tuple[str, str]] = []
    MERGED: list[tuple[str, str, str | int]] = []

    def __init__(self, vllm_config: VllmConfig, block: type, blocks: int, hidden: int, vocabulary: int, norm: nn.Module,
                 tied: bool, prefix: str):
        super().__init__()
        self.embedding = VocabParallelEmbedding(vocabulary, hidden)
        self.blocks = nn.ModuleList(block(vllm_config, f"{prefix}.{i}") for i in range(blocks))
        self.norm = norm
        self.head = self.embedding if tied else ParallelLMHead(vocabulary, hidden)
        self.tied = tied
        self.logits_processor = LogitsProcessor(vocabulary)

    def get_input_embeddings(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.embedding(input_ids)

    def forward(self, input_ids, positions, intermediate_tensors=None, inputs_embeds=None) -> torch.Tensor:
        x = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def compute_logits(self, hidden_states: torch.Tensor, *unused) -> torch.Tensor:
        return self.logits_processor(self.head, hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        parameters = dict(self.named_parameters())
        loaded: set[str] = set()
        for name, tensor in weights:
            if self.tied and name.startswith("lm_head."):
                continue
            for here, there in self.RENAMED:
                name = name.replace(here, there)
            for part, merged, shard in self.MERGED:
                if part in name:
                    name = name.replace(part, merged)
                    parameters[name].weight_loader(parameters[name], tensor, shard)
                    break
            else:
                loader = getattr(parameters[name], "weight_loader", default_weight_loader)
                loader(parameters[name], tensor)
            loaded.add(name)
        return loaded


class OptGqaForCausalLM(_Decoder):
    packed_modules_mapping = {"qkv": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}
    RENAMED = [("model.embed_tokens", "embedding"), ("model.layers", "blocks"), ("model.norm", "norm"), ("lm_head", "head"),
               (".mlp.", "."), ("self_attn.o_proj", "self_attn.out")]
    MERGED = [("self_attn.q_proj", "self_attn.qkv", "q"), ("self_attn.k_proj", "self_attn.qkv", "k"),
              ("self_attn.v_proj", "self_attn.qkv", "v"), ("gate_proj", "gate_up_proj", 0), (".up_proj", ".gate_up_proj", 1)]

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = ""):
        c = vllm_config.model_config.hf_config
        super().__init__(vllm_config, OptGqaBlock, c.num_hidden_layers, c.hidden_size, c.vocab_size,
                         RMSNorm(c.hidden_size, eps=c.rms_norm_eps), c.tie_word_embeddings, "model.layers")


class MptForCausalLM(_Decoder):
    RENAMED = [("transformer.wte", "embedding"), ("transformer.blocks", "blocks"), ("transformer.norm_f", "norm"),
               (".ffn.", "."), ("attn.Wqkv", "attn.qkv"), ("attn.out_proj", "attn.out")]

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = ""):
        c = vllm_config.model_config.hf_config
        super().__init__(vllm_config, MptBlock, c.n_layers, c.d_model, c.vocab_size,
                         nn.LayerNorm(c.d_model, bias=not c.no_bias), True, "transformer.blocks")
