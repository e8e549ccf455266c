"""Random small configurations of model families, as fields of their config classes in transformers.

Each function draws one configuration of a family: odd numbers of heads, heads that are not hidden / heads where the class
allows it, flags, windows, rotary scalings, routers. `FAMILIES` names them.
"""

from family_parts import Case, delta, dense, grouped, moe, multipliers, windows, with_partial


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


def mixtral(d):
    case, _, layers = dense(d, "mixtral")
    case.fields["sliding_window"] = d.choice([None, 9])
    return moe(d, case, layers, "num_local_experts", (), False)


def qwen2_moe(d):
    case = qwen2(d, "qwen2_moe", free_dim=False, head_dim=False, biases=("qkv_bias",))
    return moe(d, case, case.fields["num_hidden_layers"], sizes=("moe_intermediate_size", "shared_expert_intermediate_size"), sparse=True)


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


def qwen3_next(d):
    case, layers = with_partial(d, "qwen3_next", free_dim=True, head_dim=True, biases=("attention_bias",))
    return moe(d, delta(d, case, layers), layers,
               sizes=("moe_intermediate_size", "shared_expert_intermediate_size"), sparse=True)


def qwen3_5_text(d):
    case, layers = with_partial(d, "qwen3_5_text", free_dim=True, head_dim=True, biases=("attention_bias",), types=["default"])
    return delta(d, case, layers)


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

FAMILIES = {name: globals()[name] for name in (
    "llama mistral qwen2 qwen3 gemma2 gemma3_text phi phi3 glm4 olmo2 granite starcoder2 cohere2 smollm3 stablelm seed_oss "
    "exaone4 ernie4_5 gpt2 gpt_neox opt bloom falcon mpt mixtral qwen2_moe qwen3_moe olmoe granitemoe glm4_moe gpt_oss "
    "deepseek_v2 deepseek_v3 qwen3_next qwen3_5_text internlm2 baichuan opt_gqa").split()}
