"""Opt-GQA: grouped-query attention with ALiBi, or with learned or rotary positions. Written by opt-gptq convert-gqa."""

from transformers import PretrainedConfig


class OptGqaConfig(PretrainedConfig):
    model_type = "opt_gqa"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self,
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=None,  # a number, or a list with one for each layer
        head_dim=None,
        max_position_embeddings=2048,
        position_type="alibi",  # or "learned": a table added to the embeddings; or "rotary"
        alibi_bias_max=8,
        alibi_slopes=None,  # one for each query head; None for those of the paper
        rope_theta=10000.0,
        rope_scaling=None,  # rope_type "linear" or "llama3", and its numbers
        partial_rotary_factor=1.0,  # the first elements of a head that turn, as a share
        norm_type="rms_norm",  # or "layer_norm"
        rms_norm_eps=1e-6,
        layer_norm_eps=1e-5,
        norm_bias=True,  # of layer_norm
        mlp_type="gated",  # down(f(gate(x)) * up(x)); or "plain": down(f(up(x)))
        hidden_act="silu",
        attention_bias=False,  # of queries, keys and values
        attention_output_bias=False,
        mlp_bias=False,
        parallel_residual=False,  # x + attention(norm(x)) + mlp(norm(x))
        mlp_norm=True,  # a norm of the MLP's own; without one it reads what attention reads
        lm_head_bias=False,
        use_cache=True,
        tie_word_embeddings=False,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_attention_heads if num_key_value_heads is None else num_key_value_heads
        self.head_dim = hidden_size // num_attention_heads if head_dim is None else head_dim
        self.max_position_embeddings = max_position_embeddings
        self.position_type = position_type
        self.alibi_bias_max = alibi_bias_max
        self.alibi_slopes = alibi_slopes
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self.partial_rotary_factor = partial_rotary_factor
        self.norm_type = norm_type
        self.rms_norm_eps = rms_norm_eps
        self.layer_norm_eps = layer_norm_eps
        self.norm_bias = norm_bias
        self.mlp_type = mlp_type
        self.hidden_act = hidden_act
        self.attention_bias = attention_bias
        self.attention_output_bias = attention_output_bias
        self.mlp_bias = mlp_bias
        self.parallel_residual = parallel_residual
        self.mlp_norm = mlp_norm
        self.lm_head_bias = lm_head_bias
        self.use_cache = use_cache
        for name, known in (
            ("position_type", ("alibi", "learned", "rotary")),
            ("norm_type", ("rms_norm", "layer_norm")),
            ("mlp_type", ("gated", "plain")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {known}")
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
