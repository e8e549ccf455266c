"""What configurations of model families are drawn from: sizes, rotary embeddings, windows, routers.

A `Case` is one configuration; a drawn field that a description refuses is listed under `refused`, by the name that the
message must have.
"""

import random
from dataclasses import dataclass, field

LENGTH = 48  # tokens of a sequence: longer than windows and than the rotary embedding's original context
ACTIVATIONS = ["silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu", "swish", "gelu_python", "gelu_accurate",
               "gelu_python_tanh"]
UNSUPPORTED_ACTIVATIONS = ["relu2", "quick_gelu", "tanh", "mish"]


@dataclass
class Case:
    model_type: str
    fields: dict
    refused: list = field(default_factory=list)
    attention: str = "eager"  # transformers' implementation that computes what the config says
    layout: str = ""  # a family without a class of its own: written from another's model


class Draw(random.Random):
    def flag(self, probability=0.5):
        return self.random() < probability

    def shape(self, free_dim=True, grouped=True, dims=(4, 6, 8, 12, 16)):
        """Sizes that every family has; with free_dim heads are not hidden / heads."""
        heads = self.choice([1, 2, 3, 4, 6, 8])
        kv = self.choice([n for n in range(1, heads + 1) if heads % n == 0]) if grouped else heads
        dim = self.choice(dims)
        hidden = heads * (self.choice([6, 8, 10, 12]) if free_dim else dim)
        return heads, kv, dim, hidden

    def eps(self):
        return self.choice([1e-6, 1e-5, 1e-3, 0.01])

    def activation(self, case_refused, name="hidden_act"):
        if self.flag(0.05):
            case_refused.append(name)
            return self.choice(UNSUPPORTED_ACTIVATIONS)
        return self.choice(ACTIVATIONS)

    def layer_types(self, layers, kinds=("sliding_attention", "full_attention")):
        return [self.choice(kinds) for _ in range(layers)]

    def rope(self, dim, partial=None, types=None):
        """rope_parameters as in version 5; dim is that of a head."""
        pairs = int(dim * (1 if partial is None else partial)) // 2
        kind = self.choice(types or ["default", "default", "linear", "dynamic", "llama3", "yarn", "yarn", "longrope"])
        rope = {"rope_type": kind, "rope_theta": self.choice([100.0, 10000.0, 500000.0, 1e6])}
        if partial is not None:
            rope["partial_rotary_factor"] = partial
        if kind == "dynamic" and pairs == 1:
            kind = rope["rope_type"] = "linear"  # its exponent is dim / (dim - 2)
        if kind != "default":
            rope["factor"] = self.choice([1.0, 1.5, 2.0, 4.0, 8.0])
        if kind in ("llama3", "yarn", "longrope"):
            rope["original_max_position_embeddings"] = self.choice([8, 16, 32, 64, 256])
        if kind == "llama3":
            rope["low_freq_factor"] = self.choice([0.5, 1.0, 2.0])
            rope["high_freq_factor"] = rope["low_freq_factor"] * self.choice([2.0, 4.0])
        if kind == "yarn":
            self.some(rope, beta_fast=self.choice([4.0, 16.0, 32]), beta_slow=self.choice([0.5, 1, 2.0]),
                      truncate=self.flag(), attention_factor=self.choice([0.8, 1.3]))
            if self.flag():
                self.some(rope, mscale=self.choice([0.707, 1.0]), mscale_all_dim=self.choice([0.707, 1.0, 0.5]))
        if kind == "longrope":
            rope["short_factor"] = [round(1 + self.random(), 2) for _ in range(pairs)]
            rope["long_factor"] = [round(1 + 5 * self.random(), 2) for _ in range(pairs)]
            self.some(rope, attention_factor=self.choice([0.9, 1.2]))
            if self.flag(0.3):
                del rope["factor"]
        return rope

    def some(self, into, **fields):
        """Each with even chance."""
        into.update({name: value for name, value in fields.items() if self.flag()})


def dense(d, model_type, free_dim=True, head_dim=True, rope=True, partial=None, biases=(), activation="hidden_act",
          eps="rms_norm_eps", grouped=True, dims=(4, 6, 8, 12, 16)):
    """What nearly all have."""
    heads, kv, dim, hidden = d.shape(free_dim, grouped, dims)
    layers = d.randint(2, 4)
    refused = []
    fields = dict(vocab_size=d.randint(53, 90), hidden_size=hidden, intermediate_size=d.choice([17, 24, 40, 64]),
                  num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv,
                  max_position_embeddings=d.choice([16, 32, 64, 128]), tie_word_embeddings=d.flag(),
                  pad_token_id=None, bos_token_id=1, eos_token_id=2)
    fields[eps] = d.eps()
    if activation:
        fields[activation] = d.activation(refused, activation)
    if not grouped:
        del fields["num_key_value_heads"]
    if head_dim:
        fields["head_dim"] = dim
    if rope:
        fields["rope_parameters"] = d.rope(dim, partial)
    for bias in biases:
        fields[bias] = d.flag()
    return Case(model_type, fields, refused), dim, layers


def windows(d, case, layers, kinds=("sliding_attention", "full_attention")):
    case.fields.update(sliding_window=d.randint(3, 20), layer_types=d.layer_types(layers, kinds))


WIDE = dict(hidden_size=64, n_embd=64, d_model=64, word_embed_proj_dim=64, head_dim=16, num_attention_heads=4, n_head=4,
            n_heads=4, num_key_value_heads=2, num_kv_heads=2, intermediate_size=96, ffn_dim=96, ffn_hidden_size=96, n_inner=96,
            moe_intermediate_size=32, shared_expert_intermediate_size=32, q_lora_rank=32, kv_lora_rank=32,
            qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=16, linear_num_key_heads=2, linear_num_value_heads=4,
            linear_key_head_dim=16, linear_value_head_dim=16, vocab_size=96, max_position_embeddings=128, n_positions=128,
            max_seq_len=128, num_experts_per_tok=2, n_group=2, topk_group=1, scale_attn_weights=True, clip_qkv=None,
            scale_attn_by_inverse_layer_idx=False, layer_norm_elementwise_affine=True, _remove_final_layer_norm=False,
            apply_residual_connection_post_layernorm=False, tie_word_embeddings=False)


def wide(case):
    """The same in widths of multiples of 32, which can be packed; with the family's activation and plain rotary embedding."""
    case.fields = {name: WIDE.get(name, value) for name, value in case.fields.items()
                   if name not in ("hidden_act", "activation", "activation_function", "hidden_activation")}
    if case.model_type in ("deepseek_v2", "deepseek_v3"):
        case.fields["num_key_value_heads"] = 4
    if case.layout == "baichuan" or case.model_type == "falcon" and not case.fields["new_decoder_architecture"]:
        case.fields.update({n: 4 for n in ("num_key_value_heads", "num_kv_heads") if n in case.fields})
    rope = case.fields.get("rope_parameters")
    if rope and "full_attention" not in rope:
        share = {"partial_rotary_factor": 0.5} if "partial_rotary_factor" in rope else {}
        case.fields["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0, **share}
    elif rope:
        case.fields["rope_parameters"] = {kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in rope}
    return case


def partial_of(d, dim):
    return d.choice([n for n in (0.25, 0.4, 0.5, 0.75, 1.0) if int(dim * n) >= 2 and int(dim * n) % 2 == 0])


def with_partial(d, model_type, free_dim=False, head_dim=False, dims=(8, 12, 16), types=None, **more):
    case, dim, layers = dense(d, model_type, free_dim, head_dim, rope=False, dims=dims, **more)
    case.fields["rope_parameters"] = d.rope(dim, partial_of(d, dim), types)
    return case, layers


def multipliers(d, case):
    case.fields.update(embedding_multiplier=d.choice([1.0, 3.5]), residual_multiplier=d.choice([1.0, 0.22]),
                       attention_multiplier=d.choice([0.1, 0.3]), logits_scaling=d.choice([1.0, 2.5]))
    return case


def moe(d, case, layers, count="num_experts", sizes=("moe_intermediate_size",), renormalise=True, sparse=False):
    experts = d.choice([3, 4, 6])
    case.fields.update({count: experts, "num_experts_per_tok": d.randint(1, experts)})
    case.fields.update({size: d.choice([9, 16, 20]) for size in sizes})
    if renormalise:
        case.fields["norm_topk_prob"] = d.flag()
    if sparse:
        case.fields.update(decoder_sparse_step=d.choice([1, 1, 2]), mlp_only_layers=[n for n in range(layers) if d.flag(0.2)])
    return case


def grouped(d, fields):
    groups = d.choice([1, 2, 4])
    active = d.randint(1, groups)
    fields.update(n_routed_experts=8, n_group=groups, topk_group=active, num_experts_per_tok=d.randint(1, 8 // groups * active),
                  n_shared_experts=d.choice([1, 2]), norm_topk_prob=d.flag(), routed_scaling_factor=d.choice([1.0, 2.5]),
                  moe_intermediate_size=d.choice([9, 16]), first_k_dense_replace=d.randint(0, 2))


def delta(d, case, layers):
    if d.flag(0.8):
        case.fields["hidden_act"] = "silu"
    if case.fields["hidden_act"] not in ("silu", "swish"):
        case.refused.append("hidden_act")  # it is the convolution's, too
    keys = d.choice([1, 2, 3])
    case.fields.update(linear_num_key_heads=keys, linear_num_value_heads=keys * d.choice([1, 2, 3]),
                       linear_key_head_dim=d.choice([4, 8]), linear_value_head_dim=d.choice([4, 6]),
                       linear_conv_kernel_dim=d.choice([2, 4]),
                       layer_types=d.layer_types(layers - 1, ("linear_attention", "full_attention")) + ["full_attention"])
    return case
