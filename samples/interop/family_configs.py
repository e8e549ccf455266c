"""Random small configurations of model families, as fields of their config classes in transformers.

Each function draws one configuration of a family: odd numbers of heads, heads that are not hidden / heads where the class
allows it, flags, windows, rotary scalings, routers. `FAMILIES` names them. A drawn field that a description refuses
is listed under `refused`, by the name that the message must have.
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


def llama(d):
    return dense(d, "llama", head_dim=True, biases=("attention_bias", "mlp_bias"))[0]


def mistral(d):
    case = dense(d, "mistral")[0]
    case.fields["sliding_window"] = d.choice([None, 5, 16])
    return case


def qwen2(d, model_type="qwen2", **more):
    case, _, layers = dense(d, model_type, **more)
    if d.flag():
        windows(d, case, layers)
        case.fields["use_sliding_window"] = True
        if d.flag():
            del case.fields["layer_types"]
            case.fields["max_window_layers"] = d.randint(0, layers)
    return case


def qwen3(d):
    return qwen2(d, "qwen3", biases=("attention_bias",))


def gemma2(d, model_type="gemma2", **more):
    case, _, layers = dense(d, model_type, biases=("attention_bias",), activation="hidden_activation", **more)
    case.fields.update(query_pre_attn_scalar=d.choice([7, 16, 144]))
    windows(d, case, layers)
    case.fields.update(attn_logit_softcapping=d.choice([None, 2.0, 50.0]),
                       final_logit_softcapping=d.choice([None, 3.0, 30.0]))
    return case


def gemma3_text(d):
    case = gemma2(d, "gemma3_text", rope=False)
    dim = case.fields["head_dim"]
    case.fields["rope_parameters"] = {"full_attention": d.rope(dim, types=["default", "linear", "yarn", "dynamic"]),
                                      "sliding_attention": d.rope(dim, types=["default", "default", "linear"])}
    return case


def partial_of(d, dim):
    return d.choice([n for n in (0.25, 0.4, 0.5, 0.75, 1.0) if int(dim * n) >= 2 and int(dim * n) % 2 == 0])


def with_partial(d, model_type, free_dim=False, head_dim=False, dims=(8, 12, 16), types=None, **more):
    case, dim, layers = dense(d, model_type, free_dim, head_dim, rope=False, dims=dims, **more)
    case.fields["rope_parameters"] = d.rope(dim, partial_of(d, dim), types)
    return case, layers


def phi(d):
    case, _ = with_partial(d, "phi", eps="layer_norm_eps")
    case.fields["qk_layernorm"] = d.flag()
    return case


def phi3(d):
    case, _ = with_partial(d, "phi3", types=["default", "longrope", "longrope"])
    rope = case.fields["rope_parameters"]
    case.fields["sliding_window"] = d.choice([None, 7])
    case.fields["original_max_position_embeddings"] = rope.get("original_max_position_embeddings", 32)
    return case


def glm4(d):
    return with_partial(d, "glm4", free_dim=True, head_dim=True, biases=("attention_bias",))[0]


def olmo2(d):
    return dense(d, "olmo2", free_dim=False, head_dim=False, biases=("attention_bias",))[0]


def granite(d):
    case = dense(d, "granite", free_dim=False, head_dim=False, biases=("attention_bias", "mlp_bias"))[0]
    return multipliers(d, case)


def multipliers(d, case):
    case.fields.update(embedding_multiplier=d.choice([1.0, 3.5]), residual_multiplier=d.choice([1.0, 0.22]),
                       attention_multiplier=d.choice([0.1, 0.3]), logits_scaling=d.choice([1.0, 2.5]))
    return case


def starcoder2(d):
    case = dense(d, "starcoder2", free_dim=False, head_dim=False, eps="norm_epsilon", biases=("use_bias",))[0]
    case.fields["sliding_window"] = d.choice([None, 9])
    return case


def cohere2(d):
    case, _, layers = dense(d, "cohere2", free_dim=False, head_dim=False, eps="layer_norm_eps", biases=("attention_bias",))
    windows(d, case, layers)
    case.fields["logit_scale"] = d.choice([0.0625, 1.0, 0.4])
    return case


def smollm3(d):
    case, _, layers = dense(d, "smollm3", free_dim=False, head_dim=False, biases=("attention_bias", "mlp_bias"))
    d.some(case.fields, no_rope_layers=[d.randint(0, 1) for _ in range(layers)], no_rope_layer_interval=d.choice([2, 3]))
    if d.flag():
        case.fields.update(use_sliding_window=True, sliding_window=11)
        d.some(case.fields, layer_types=d.layer_types(layers))
    return case


def stablelm(d):
    case, _ = with_partial(d, "stablelm", eps="layer_norm_eps", biases=("use_qkv_bias", "qk_layernorm",
                                                                        "use_parallel_residual"))
    return case


def seed_oss(d):
    return dense(d, "seed_oss", biases=("attention_bias", "attention_out_bias", "mlp_bias"))[0]


def exaone4(d):
    case, _, layers = dense(d, "exaone4", free_dim=False, head_dim=False)
    if d.flag(0.7):
        windows(d, case, layers)
        if d.flag(0.3):
            del case.fields["layer_types"]
            case.fields["sliding_window_pattern"] = d.choice([2, 3])
    else:
        case.fields.update(sliding_window=None, layer_types=["full_attention"] * layers)
    return case


def ernie4_5(d):
    return dense(d, "ernie4_5", biases=("use_bias",))[0]


def gpt2(d):
    refused = []
    heads, _, dim, hidden = d.shape(False, False)
    fields = dict(vocab_size=d.randint(53, 90), n_embd=hidden, n_head=heads, n_layer=d.randint(2, 4), n_positions=64,
                  n_inner=d.choice([None, 24, 40]), activation_function=d.activation(refused, "activation_function"),
                  layer_norm_epsilon=d.eps(), tie_word_embeddings=d.flag(), scale_attn_weights=d.flag(0.8),
                  scale_attn_by_inverse_layer_idx=d.flag(0.2), bos_token_id=1, eos_token_id=2)
    refused += ["scale_attn_weights"] * (not fields["scale_attn_weights"])
    refused += ["scale_attn_by_inverse_layer_idx"] * fields["scale_attn_by_inverse_layer_idx"]
    return Case("gpt2", fields, refused)


def gpt_neox(d):
    case, _ = with_partial(d, "gpt_neox", eps="layer_norm_eps", grouped=False, biases=("attention_bias",
                                                                                      "use_parallel_residual"))
    return case


def opt(d):
    refused = []
    heads, _, dim, hidden = d.shape(False, False)
    fields = dict(vocab_size=d.randint(53, 90), hidden_size=hidden, num_attention_heads=heads, ffn_dim=d.choice([24, 40]),
                  num_hidden_layers=d.randint(2, 4), max_position_embeddings=64, tie_word_embeddings=True,
                  activation_function=d.activation(refused, "activation_function"), do_layer_norm_before=d.flag(0.6),
                  word_embed_proj_dim=d.choice([hidden, hidden, 12, 20]), enable_bias=d.flag(0.7),
                  layer_norm_elementwise_affine=d.flag(0.9), _remove_final_layer_norm=d.flag(0.1),
                  pad_token_id=1, bos_token_id=2, eos_token_id=2)
    refused += ["layer_norm_elementwise_affine"] * (not fields["layer_norm_elementwise_affine"])
    refused += ["_remove_final_layer_norm"] * fields["_remove_final_layer_norm"]
    return Case("opt", fields, refused)


def bloom(d):
    heads, _, dim, hidden = d.shape(False, False)
    fields = dict(vocab_size=d.randint(53, 90), hidden_size=hidden, n_head=heads, n_layer=d.randint(2, 4),
                  layer_norm_epsilon=d.eps(), tie_word_embeddings=d.flag(),
                  apply_residual_connection_post_layernorm=d.flag(0.3), slow_but_exact=False)
    refused = ["apply_residual_connection_post_layernorm"] if fields["apply_residual_connection_post_layernorm"] else []
    return Case("bloom", fields, refused)


def falcon(d):
    refused = []
    heads, kv, dim, hidden = d.shape(False)
    fields = dict(vocab_size=d.randint(53, 90), hidden_size=hidden, num_attention_heads=heads, num_hidden_layers=d.randint(2, 4),
                  layer_norm_epsilon=d.eps(), tie_word_embeddings=d.flag(), bias=d.flag(), alibi=d.flag(0.4),
                  new_decoder_architecture=d.flag(), multi_query=d.flag(), parallel_attn=d.flag(0.7), num_kv_heads=kv,
                  num_ln_in_parallel_attn=d.choice([None, 1, 2]), ffn_hidden_size=d.choice([24, 40]),
                  activation=d.activation(refused, "activation"), max_position_embeddings=d.choice([32, 64]),
                  apply_residual_connection_post_layernorm=d.flag(0.2), rope_parameters=d.rope(dim))
    if fields["new_decoder_architecture"]:
        fields["parallel_attn"] = True  # transformers has no other
    else:
        fields["num_ln_in_parallel_attn"] = None
        if not fields["multi_query"]:
            fields["num_kv_heads"] = heads
    return Case("falcon", fields, refused, attention="sdpa" if fields["alibi"] else "eager")


def mpt(d):
    """Only what transformers does not ignore; the rest follows llm-foundry."""
    heads, _, dim, hidden = d.shape(False, False)
    fields = dict(vocab_size=d.randint(53, 90), d_model=hidden, n_heads=heads, n_layers=d.randint(2, 4), max_seq_len=64,
                  layer_norm_epsilon=1e-5, tie_word_embeddings=True,
                  attn_config=dict(alibi=True, clip_qkv=d.choice([None, 0.7]), softmax_scale=d.choice([None, 0.3])))
    return Case("mpt", fields, ["attn_config.alibi"])  # absent, it is no for llm-foundry


def moe(d, case, layers, count="num_experts", sizes=("moe_intermediate_size",), renormalise=True, sparse=False):
    experts = d.choice([3, 4, 6])
    case.fields.update({count: experts, "num_experts_per_tok": d.randint(1, experts)})
    case.fields.update({size: d.choice([9, 16, 20]) for size in sizes})
    if renormalise:
        case.fields["norm_topk_prob"] = d.flag()
    if sparse:
        case.fields.update(decoder_sparse_step=d.choice([1, 1, 2]), mlp_only_layers=[n for n in range(layers) if d.flag(0.2)])
    return case


def mixtral(d):
    case, _, layers = dense(d, "mixtral")
    case.fields["sliding_window"] = d.choice([None, 9])
    return moe(d, case, layers, "num_local_experts", (), False)


def qwen2_moe(d):
    case, _, layers = dense(d, "qwen2_moe", free_dim=False, head_dim=False, biases=("qkv_bias",))
    if d.flag():
        windows(d, case, layers)
        case.fields["use_sliding_window"] = True
        if d.flag():
            del case.fields["layer_types"]
            case.fields["max_window_layers"] = d.randint(0, layers)
    return moe(d, case, layers, sizes=("moe_intermediate_size", "shared_expert_intermediate_size"), sparse=True)


def qwen3_moe(d):
    case, _, layers = dense(d, "qwen3_moe", biases=("attention_bias",))
    if d.flag(0.4):
        case.fields.update(use_sliding_window=True, sliding_window=9)
    return moe(d, case, layers, sparse=True)


def olmoe(d):
    case, _, layers = dense(d, "olmoe", free_dim=False, head_dim=False, biases=("attention_bias",))
    case.fields["clip_qkv"] = d.choice([None, 0.8])
    return moe(d, case, layers, sizes=())


def granitemoe(d):
    case, _, layers = dense(d, "granitemoe", free_dim=False, head_dim=False, biases=("attention_bias",))
    return moe(d, multipliers(d, case), layers, "num_local_experts", (), False)


def grouped(d, fields):
    groups = d.choice([1, 2, 4])
    active = d.randint(1, groups)
    fields.update(n_routed_experts=8, n_group=groups, topk_group=active, num_experts_per_tok=d.randint(1, 8 // groups * active),
                  n_shared_experts=d.choice([1, 2]), norm_topk_prob=d.flag(), routed_scaling_factor=d.choice([1.0, 2.5]),
                  moe_intermediate_size=d.choice([9, 16]), first_k_dense_replace=d.randint(0, 2))


def glm4_moe(d):
    case, _ = with_partial(d, "glm4_moe", free_dim=True, head_dim=True, biases=("attention_bias", "use_qk_norm"))
    grouped(d, case.fields)
    return case


def gpt_oss(d):
    case, _, layers = dense(d, "gpt_oss", activation=None, biases=("attention_bias",))
    windows(d, case, layers)
    return moe(d, case, layers, "num_local_experts", (), False)


def deepseek_v2(d, model_type="deepseek_v2"):
    case, _, layers = dense(d, model_type, head_dim=False, rope=False, grouped=False, biases=("attention_bias",))
    rotary = d.choice([4, 8])
    case.fields.update(q_lora_rank=d.choice([None, 10]), kv_lora_rank=d.choice([12, 20]), qk_nope_head_dim=d.choice([6, 8]),
                       qk_rope_head_dim=rotary, v_head_dim=d.choice([4, 10]),
                       num_key_value_heads=case.fields["num_attention_heads"],
                       rope_parameters=d.rope(rotary, types=["default", "yarn", "yarn", "linear"]))
    grouped(d, case.fields)
    if model_type == "deepseek_v2":
        case.fields.update(topk_method=d.choice(["greedy", "group_limited_greedy"]), mlp_bias=d.flag(0.3))
    return case


def deepseek_v3(d):
    case = deepseek_v2(d, "deepseek_v3")
    case.fields["rope_interleave"] = d.flag()
    return case


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


def qwen3_next(d):
    case, layers = with_partial(d, "qwen3_next", free_dim=True, head_dim=True, biases=("attention_bias",))
    case = moe(d, delta(d, case, len_of(case)), len_of(case),
               sizes=("moe_intermediate_size", "shared_expert_intermediate_size"), sparse=True)
    return case


def qwen3_5_text(d):
    case, _ = with_partial(d, "qwen3_5_text", free_dim=True, head_dim=True, biases=("attention_bias",), types=["default"])
    return delta(d, case, len_of(case))


def len_of(case):
    return case.fields["num_hidden_layers"]


def from_llama(layout, **more):
    """Families without a class in transformers, which compute what llama does with other tensors or positions."""
    def draw(d):
        case = dense(d, "llama", free_dim=False, head_dim=False, **more)[0]
        case.layout = layout
        return case
    return draw


internlm2 = from_llama("internlm2")
baichuan = from_llama("baichuan", grouped=False, rope=False)
opt_gqa = from_llama("opt_gqa", rope=False, biases=("attention_bias", "mlp_bias"))

FAMILIES = {draw.__name__ if draw.__name__ != "draw" else name: draw for name, draw in list(globals().items()) if name in (
    "llama mistral qwen2 qwen3 gemma2 gemma3_text phi phi3 glm4 olmo2 granite starcoder2 cohere2 smollm3 stablelm seed_oss "
    "exaone4 ernie4_5 gpt2 gpt_neox opt bloom falcon mpt mixtral qwen2_moe qwen3_moe olmoe granitemoe glm4_moe gpt_oss "
    "deepseek_v2 deepseek_v3 qwen3_next qwen3_5_text internlm2 baichuan opt_gqa").split()}
