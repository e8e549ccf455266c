"""The attention reference inside whole forward passes, against fixtures of opt_gqa and mpt with key-value heads. Needs numpy.

    python3 tests/test_reference.py FIXTURES     # a folder with opt-gqa and mpt-gqa
"""

import json
import math
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from opt_gptq_vllm.alibi import attention, slopes  # noqa: E402

TYPES = {"F32": np.float32, "I64": np.int64, "BF16": np.uint16}


def read(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data[8 + length + begin:8 + length + end], TYPES[entry["dtype"]])
            if entry["dtype"] == "BF16":
                values = (values.astype(np.uint32) << 16).view(np.float32)
            tensors[name] = values.reshape(entry["shape"]).astype(np.int64 if entry["dtype"] == "I64" else np.float64)
    return tensors


def heads_of(x, count):
    return x.reshape(x.shape[0], count, -1)


def opt_gqa(config, w, ids):
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"]) * w[name + ".weight"]

    x = w["model.embed_tokens.weight"][ids]
    for i in range(config["num_hidden_layers"]):
        block = f"model.layers.{i}."
        y = norm(x, block + "input_layernorm")
        q, k, v = (heads_of(y @ w[f"{block}self_attn.{n}_proj.weight"].T, c) for n, c in (("q", heads), ("k", kv), ("v", kv)))
        found = attention(q, k, v, q.shape[-1] ** -0.5, slopes(heads, config.get("alibi_bias_max", 8)))
        x = x + found.reshape(len(ids), -1) @ w[block + "self_attn.o_proj.weight"].T
        y = norm(x, block + "post_attention_layernorm")
        gate = y @ w[block + "mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w[block + "mlp.up_proj.weight"].T)) @ w[block + "mlp.down_proj.weight"].T
    return norm(x, "model.norm") @ w["model.embed_tokens.weight"].T


def mpt(config, w, ids):
    a = config["attn_config"]
    heads, kv, width = config["n_heads"], a["kv_n_heads"], config["d_model"]
    size = width // heads

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w[name + ".weight"]

    x = w["transformer.wte.weight"][ids]
    erf = np.vectorize(math.erf)
    for i in range(config["n_layers"]):
        block = f"transformer.blocks.{i}."
        qkv = norm(x, block + "norm_1") @ w[block + "attn.Wqkv.weight"].T
        q, k, v = np.split(qkv, [width, width + kv * size], axis=-1)
        found = attention(heads_of(q, heads), heads_of(k, kv), heads_of(v, kv), size**-0.5, slopes(heads, a["alibi_bias_max"]))
        x = x + found.reshape(len(ids), -1) @ w[block + "attn.out_proj.weight"].T
        up = norm(x, block + "norm_2") @ w[block + "ffn.up_proj.weight"].T
        x = x + (up * 0.5 * (1 + erf(up / 2**0.5))) @ w[block + "ffn.down_proj.weight"].T
    return norm(x, "transformer.norm_f") @ w["transformer.wte.weight"].T


def main(fixtures):
    for name, model in (("opt-gqa", opt_gqa), ("mpt-gqa", mpt)):
        folder = pathlib.Path(fixtures) / name
        golden = read(folder / "golden.safetensors")
        weights = read(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        found = np.stack([model(config, weights, ids) for ids in golden["input_ids"]])
        worst = np.abs(found - golden["logits"]).max() / np.abs(golden["logits"]).max()
        print(f"{name}: largest difference / largest logit {worst:.1e}")
        assert worst < 1e-4, name


if __name__ == "__main__":
    main(sys.argv[1])
