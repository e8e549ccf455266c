#!/usr/bin/env python3
"""Compares the family descriptions of opt-gptq with transformers on random small configurations.

    pip install torch transformers safetensors
    samples/interop/check_families.py --count 20 --seed 1 [--families llama,qwen3_moe] [--gradients 0.2] [--keep DIR]

Each configuration becomes a model with random weights, saved by save_pretrained. Its config.json is then rewritten as
published checkpoints have it (rope_scaling, torch_dtype), fields are left out or set to null, and an unknown one may be
added. What transformers loads of that folder, in float32, is the golden value; `opt-gptq families --check` judges all
folders in one go. A case passes when logits (and gradients, of which the golden ones are in float64) are within
1e-4 of the largest entry, or when the model is refused with the name of a field that is expected to be refused. Exit code 1
where any does not.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from family_configs import FAMILIES
from family_layouts import LAYOUTS, logits_of
from family_parts import LENGTH, Draw, wide

TOLERANCE = 1e-4
ROUNDING = 3e-5  # of a gradient in float32, in transformers itself
UNKNOWN = "mystery_factor"
# Warnings that are true: of a flag that was left out, and of gemma3's scaling under the name that transformers ignores.
EXPECTED = ["declares them tied", "field rope_scaling."]
# Fields that a rewritten config.json keeps.
KEPT = {"model_type", "architectures", "vocab_size", "transformers_version", "auto_map"}


def randomised(model, seed):
    """Norms and biases are not trivial, and logits of the size of 1."""
    generator = torch.Generator().manual_seed(seed)
    tensors = list(model.named_parameters()) + [(n, b) for n, b in model.named_buffers()
                                                if n in model.state_dict() and b.is_floating_point()]
    for name, tensor in tensors:
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() < 2:
            tensor.data.add_(0.3 * noise)
        else:
            tensor.data.copy_(noise * (1.0 if "embed" in name or "wte" in name else 1.2 / tensor.shape[-1] ** 0.5))
    return model


def hub_style(d, config):
    """The names of transformers 4, as most published checkpoints have them."""
    rope = config.pop("rope_parameters", None)
    config["torch_dtype"] = config.pop("dtype", "float32")
    if not rope:
        return
    if "full_attention" in rope:
        config["rope_theta"] = rope["full_attention"].pop("rope_theta")
        config["rope_local_base_freq"] = rope["sliding_attention"].pop("rope_theta")
        rope = rope["full_attention"]
    else:
        theta = rope.pop("rope_theta")
        config["rotary_emb_base" if config["model_type"] == "gpt_neox" else "rope_theta"] = theta
        if "partial_rotary_factor" in rope:
            share = rope.pop("partial_rotary_factor")
            config["rotary_pct" if config["model_type"] == "gpt_neox" else "partial_rotary_factor"] = share
    if rope.get("rope_type") == "default":
        if d.flag():
            config["rope_scaling"] = None
        return
    if d.flag(0.3):
        rope["type"] = rope.pop("rope_type")
    elif d.flag(0.3):
        rope["type"] = rope["rope_type"]
    config["rope_scaling"] = rope


def rewritten(d, config):
    """Returns the config.json to try; transformers says whether it still is one of the same tensors."""
    config = json.loads(json.dumps(config))
    if d.flag():
        hub_style(d, config)
    for name in d.sample(sorted(set(config) - KEPT), d.choice([0, 0, 1, 2, 3])):
        if d.flag(0.7):
            del config[name]
        else:
            config[name] = None
    if d.flag(0.1):
        config[UNKNOWN] = 2.5
    return config


def load(folder, case, dtype):
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=case.attention,
                                                       experts_implementation="eager", output_loading_info=True)
    if any(info.get(key) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        raise ValueError(f"not the same tensors: {info}")
    return model.eval()


def loaded(folder, case, d, original):
    """Loads a rewritten config.json, or the one that was saved where that is of another model."""
    path = folder / "config.json"
    path.write_text(json.dumps(rewritten(d, original), indent=1))
    try:
        return load(folder, case, torch.float32)
    except Exception:  # whatever transformers says of a config that lacks a field
        path.write_text(json.dumps(original, indent=1))
        return load(folder, case, torch.float32)


def gradients_of(folder, case, ids, dtype):
    model = load(folder, case, dtype)
    logits = logits_of(model, case, ids)
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    return model, {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}


def write_gradients(folder, case, ids):
    """Gradients in float64 under the names on disk, which save_pretrained knows; none where float32 is too narrow for them."""
    model, exact = gradients_of(folder, case, ids, torch.float64)
    _, narrow = gradients_of(folder, case, ids, torch.float32)
    if any((narrow[name] - gradient).abs().max() > ROUNDING * gradient.abs().max().clamp(min=1e-6)
           for name, gradient in exact.items()):
        return
    for name, parameter in model.named_parameters():
        parameter.data = exact[name]
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        gradients = load_file(Path(scratch) / "model.safetensors")
    if case.layout:
        gradients = LAYOUTS[case.layout].tensors(gradients, model.config)
    save_file({name: tensor.float().contiguous() for name, tensor in gradients.items()
               if "e_score_correction" not in name}, folder / "golden-gradients.safetensors")


def write(folder, family, seed, options):
    """One case."""
    d = Draw(f"{family} {seed}")
    case = wide(FAMILIES[family](d)) if options.wide else FAMILIES[family](d)
    config = CONFIG_MAPPING[case.model_type](**case.fields)
    model = randomised(AutoModelForCausalLM.from_config(config, attn_implementation=case.attention), seed).eval()
    stored = torch.bfloat16 if d.flag() else torch.float32
    model.to(stored).save_pretrained(folder)
    original = json.loads((folder / "config.json").read_text())
    ids = torch.randint(3, config.vocab_size, (2, LENGTH), generator=torch.Generator().manual_seed(seed))
    as_saved = case.layout or options.wide
    model = load(folder, case, torch.float32) if as_saved else loaded(folder, case, d, original)
    with torch.no_grad():
        logits = logits_of(model, case, ids).contiguous()
    if not logits.isfinite().all():
        raise ValueError("transformers computes infinite logits")
    if d.random() < options.gradients:
        write_gradients(folder, case, ids)
    if case.layout:
        LAYOUTS[case.layout].rewrite(folder, d)
    save_file({"input_ids": ids, "logits": logits.float()}, folder / "golden.safetensors")
    return case


def judge(opt_gptq, folders):
    """What opt-gptq says of each folder; where it dies, of each alone."""
    command = [*opt_gptq, "families", "--json", "--device", "cpu", "--check", *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        if len(folders) == 1:
            return [{"folder": str(folders[0]), "error": "CRASH " + done.stderr[-800:], "check": None}]
        return [result for folder in folders for result in judge(opt_gptq, [folder])]
    if len(folders) == 1 and "checks" not in found:
        return [{"folder": str(folders[0]), "error": None, "check": found}]
    return found["checks"]


def verdict(case, folder, result):
    """(kind, what is wrong, distance of logits, distance of gradients)"""
    config = json.loads((folder / "config.json").read_text())
    if result["check"] is None:
        error = result["error"]
        expected = any(f"{name} is " in error for name in case.refused) or "CRASH" not in error and any(
            f"'{name}', found" in error for name in set(case.fields) | {"head_dim"} if config.get(name) is None)
        return ("refused" if expected else "FAULT"), error, 0, 0
    check = result["check"]
    logits = float(check["logits"]["relative"])
    gradients = max((float(g["relative"]) for g in check["gradients"]), default=0.0)
    warned = [text for text in check["warnings"] if not any(said in text for said in EXPECTED)]
    if not logits <= TOLERANCE or not gradients <= TOLERANCE:
        worst = max(check["gradients"], key=lambda g: float(g["relative"]), default=None)
        return "FAULT", f"logits {logits:.2g}, gradients {worst}, warnings {warned}", logits, gradients
    if (UNKNOWN in config) != any(UNKNOWN in text for text in warned):
        return "FAULT", "the unknown field is not named", logits, gradients
    other = [text for text in warned if UNKNOWN not in text]
    return ("FAULT", f"warns of {other}", logits, gradients) if other else ("equal", "", logits, gradients)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default=",".join(FAMILIES), help="separated by commas")
    parser.add_argument("--count", type=int, default=10, help="configurations of each family")
    parser.add_argument("--seed", type=int, default=1, help="of the first configuration; the others count on")
    parser.add_argument("--gradients", type=float, default=0.2, help="share of configurations with gradients")
    parser.add_argument("--opt-gptq", default=str(Path(__file__).parents[2] / "opt-gptq"), help="the program")
    parser.add_argument("--wide", action="store_true", help="widths of multiples of 32, for docs/results/families.sh and make formats-table")
    parser.add_argument("--keep", type=Path, help="folder for the models; else they are deleted")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    root = options.keep or Path(tempfile.mkdtemp(prefix="check-families-"))
    cases, failed = {}, []
    for family in options.families.split(","):
        for seed in range(options.seed, options.seed + options.count):
            folder = root / f"{family}-{seed}"
            shutil.rmtree(folder, ignore_errors=True)
            try:
                cases[folder] = (family, write(folder, family, seed, options))
            except Exception as e:
                failed.append(f"{family} {seed}: transformers cannot make it: {type(e).__name__} {str(e)[:200]}")
    results = {Path(r["folder"]): r for r in judge(options.opt_gptq.split(), list(cases))}
    faults = report(cases, results)
    print("\n".join(failed))
    if not options.keep:
        shutil.rmtree(root)
    return 1 if faults else 0


def report(cases, results):
    counts, worst, faults = {}, {}, []
    refusals = Counter()
    for folder, (family, case) in cases.items():
        kind, what, logits, gradients = verdict(case, folder, results[folder])
        counts.setdefault(family, Counter())[kind] += 1
        counts[family]["gradients"] += (folder / "golden-gradients.safetensors").exists() and kind == "equal"
        if kind == "equal":
            before = worst.get(family, (0, 0))
            worst[family] = (max(before[0], logits), max(before[1], gradients))
        elif kind == "refused":
            refusals[f"{family}: {what.split('config.json: ')[-1]}"] += 1
        else:
            faults.append(f"FAULT {folder.name}: {what}")
    print("| family | equal | with gradients | refused | faults | logits | gradients |\n|---|---|---|---|---|---|---|")
    for family, count in counts.items():
        logits, gradients = worst.get(family, (0, 0))
        print(f"| {family} | {count['equal']} | {count['gradients']} | {count['refused']} | {count['FAULT']} "
              f"| {logits:.1e} | {gradients:.1e} |")
    for text, count in refusals.items():
        print(f"refused {count}: {text}")
    print("\n".join(faults))
    return faults


if __name__ == "__main__":
    sys.exit(main())
