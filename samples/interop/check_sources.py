#!/usr/bin/env python3
"""Compares models as published checkpoints store them, where check_families.py compares what they compute.

    samples/interop/check_sources.py --seed 1 [--families llama,qwen3_moe] [--keep DIR]

One random configuration of each family becomes several folders: shards with an index; a multimodal checkpoint whose text part has a
`text_config` and a prefix, under both prefixes in use; a tied head that is stored all the same; linears in FP8 with a scale for each
block. The golden logits are those of transformers, of the weights that the FP8 values stand for. Exit code 1 where any folder differs by
more than 1e-4 of the largest logit, or is refused.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file

from check_families import TOLERANCE, judge, load, write
from family_layouts import logits_of

# model_type and class of a published multimodal model with such a text part.
OUTER = {"llama": ("llava", "LlavaForConditionalGeneration"),
         "mistral": ("mistral3", "Mistral3ForConditionalGeneration"),
         "gemma3_text": ("gemma3", "Gemma3ForConditionalGeneration"),
         "qwen2": ("qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration"),
         "qwen3_moe": ("qwen3_vl_moe", "Qwen3VLMoeForConditionalGeneration"),
         "qwen3_5_text": ("qwen3_5", "Qwen3_5ForConditionalGeneration"),
         "glm4_moe": ("glm4v_moe", "Glm4vMoeForConditionalGeneration")}
FP8 = ["llama", "qwen3", "qwen3_moe", "glm4_moe", "deepseek_v3"]
LARGEST = 448  # of float8_e4m3fn


def copied(folder, what):
    target = folder.with_name(f"{folder.name}-{what}")
    shutil.copytree(folder, target)
    return target, load_file(target / "model.safetensors"), json.loads((target / "config.json").read_text())


def shards(folder):
    target, tensors, _ = copied(folder, "shards")
    (target / "model.safetensors").unlink()
    where = {}
    for i in range(3):
        file = f"model-0000{i + 1}-of-00003.safetensors"
        part = {name: tensors[name] for name in sorted(tensors)[i::3]}
        save_file(part, target / file)
        where.update(dict.fromkeys(part, file))
    (target / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return target


def multimodal(folder, family, prefix):
    target, tensors, config = copied(folder, prefix.replace(".", "-"))
    if prefix == "model.language_model":
        text = {name.replace("model.", f"{prefix}.", 1) if name.startswith("model.") else name: tensor
                for name, tensor in tensors.items()}
    else:
        text = {f"language_model.{name}": tensor for name, tensor in tensors.items()}
    save_file({**text, "model.visual.patch_embed.proj.weight": torch.randn(4, 4)}, target / "model.safetensors")
    model_type, architecture = OUTER[family]
    del config["architectures"]
    (target / "config.json").write_text(json.dumps(
        {"model_type": model_type, "architectures": [architecture], "text_config": config, "vision_config": {},
         "tie_word_embeddings": config.get("tie_word_embeddings", False)}))
    return target


def make_golden(folder, case):
    """Of the folder as it is now."""
    golden = load_file(folder / "golden.safetensors")
    with torch.no_grad():
        golden["logits"] = logits_of(load(folder, case, torch.float32), case, golden["input_ids"]).contiguous().float()
    save_file(golden, folder / "golden.safetensors")


def with_head(folder, case):
    target, tensors, config = copied(folder, "head")
    config["tie_word_embeddings"] = True
    (target / "config.json").write_text(json.dumps(config))
    del tensors["lm_head.weight"]
    save_file(tensors, target / "model.safetensors")
    make_golden(target, case)
    save_file({**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, target / "model.safetensors")
    return target


def in_fp8(weight, rows, columns):
    """Values, scales, and what they stand for."""
    scales = torch.zeros(-(-weight.shape[0] // rows), -(-weight.shape[1] // columns))
    wide = torch.zeros_like(weight)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            scales[i, j] = weight[i * rows:(i + 1) * rows, j * columns:(j + 1) * columns].abs().max() / LARGEST
            wide[i * rows:(i + 1) * rows, j * columns:(j + 1) * columns] = scales[i, j]
    values = (weight / wide).to(torch.float8_e4m3fn)
    return values, scales, values.float() * wide


def fp8(folder, case, rows, columns):
    target, tensors, config = copied(folder, f"fp8-{rows}x{columns}")
    plain, scaled = {}, {}
    for name, tensor in tensors.items():
        plain[name] = scaled[name] = tensor
        if ".layers." in name and name.endswith("proj.weight") and tensor.dim() == 2:
            scaled[name], scaled[name + "_scale_inv"], plain[name] = in_fp8(tensor.float(), rows, columns)
    save_file(plain, target / "model.safetensors")
    make_golden(target, case)
    save_file(scaled, target / "model.safetensors")
    config["quantization_config"] = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
                                     "weight_block_size": [rows, columns]}
    (target / "config.json").write_text(json.dumps(config))
    return target


def folders(root, family, seed):
    folder = root / f"{family}-{seed}"
    case = write(folder, family, seed, SimpleNamespace(wide=True, gradients=0))
    yield shards(folder)
    yield with_head(folder, case)
    if family in OUTER:
        yield multimodal(folder, family, "model.language_model")
        yield multimodal(folder, family, "language_model.model")
    if family in FP8:
        yield fp8(folder, case, 128, 128)
        yield fp8(folder, case, 32, 16)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default=",".join(sorted({*OUTER, *FP8, "gemma2", "starcoder2"})))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--opt-gptq", default=str(Path(__file__).parents[2] / "opt-gptq"), help="the program")
    parser.add_argument("--keep", type=Path, help="folder for the models; else they are deleted")
    options = parser.parse_args()
    root = options.keep or Path(tempfile.mkdtemp(prefix="check-sources-"))
    made = [made for family in options.families.split(",") for made in folders(root, family, options.seed)]
    faults = 0
    for result in judge(options.opt_gptq.split(), made):
        relative = float(result["check"]["logits"]["relative"]) if result["check"] else float("inf")
        faults += not relative <= TOLERANCE
        print(f"{Path(result['folder']).name}: {result['error'] or f'{relative:.1e}'}")
    print(f"{len(made) - faults} of {len(made)} equal")
    if not options.keep:
        shutil.rmtree(root)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
