"""The peer of docs/results/speed.md: the same job in PyTorch, block by block, on the CPU in float32, not part of the product.

    OMP_NUM_THREADS=2 taskset -c 0,1 python3 docs/results/peer.py quantize|eval SHARED_DIR

quantize: wiki-llama-14m on 128 x 512 tokens with the GPTQ authors' steps (4 bits, one scale per row: grids cost nothing), nothing
written. eval: perplexity over the test text in windows of 1,024. Needs torch, transformers, tokenizers.
"""
import math
import sys
import time

started = time.time()
import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

mode, shared = sys.argv[1], sys.argv[2]
path = shared + "/models/wiki-llama-14m"
BATCH = 4
torch.set_num_threads(2)
torch.set_grad_enabled(False)


def ids(name):
    text = open(f"{shared}/data/{name}").read()
    return torch.tensor(Tokenizer.from_file(path + "/tokenizer.json").encode(text, add_special_tokens=False).ids)


def solve(weight, hessian):
    """GPTQ, algorithm 1, in blocks of 128 inputs."""
    hessian.diagonal().add_(0.01 * torch.diag(hessian).mean())
    u = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    w, q = weight.clone(), torch.zeros_like(weight)
    for a in range(0, w.shape[1], 128):
        b = min(a + 128, w.shape[1])
        block, errors, pivots = w[:, a:b].clone(), torch.zeros(w.shape[0], b - a), u[a:b, a:b]
        scale = 2 * block.abs().amax(1, keepdim=True) / 15
        for i in range(b - a):
            column = block[:, i : i + 1]
            q[:, a + i : a + i + 1] = rounded = scale * (torch.clamp(torch.round(column / scale) + 8, 0, 15) - 8)
            errors[:, i : i + 1] = error = (column - rounded) / pivots[i, i]
            block[:, i:] -= error @ pivots[i : i + 1, i:]
        w[:, b:] -= errors @ u[a:b, b:]
    return q


def quantize(model):
    x = model.model.embed_tokens(ids("wikitext2-train-head.txt")[: 128 * 512].view(128, 512))
    rotary = model.model.rotary_emb(x[:1], torch.arange(512)[None])
    spent = {"forward": 0.0, "hessian": 0.0, "solve": 0.0}

    def pass_through(layer, keep):
        for i in range(0, 128, BATCH):
            out = layer(x[i : i + BATCH], position_embeddings=rotary, attention_mask=None)
            if keep:
                x[i : i + BATCH] = out[0] if isinstance(out, tuple) else out

    for layer in model.model.layers:
        linears = {k: m for k, m in layer.named_modules() if isinstance(m, torch.nn.Linear)}
        hessians = {k: torch.zeros(m.in_features, m.in_features) for k, m in linears.items()}

        def capture(name):
            def hook(module, inputs, output):
                start = time.time()
                rows = inputs[0].reshape(-1, inputs[0].shape[-1])
                hessians[name].addmm_(rows.t(), rows)
                spent["hessian"] += time.time() - start
                spent["forward"] -= time.time() - start

            return hook

        hooks = [m.register_forward_hook(capture(k)) for k, m in linears.items()]
        start = time.time()
        pass_through(layer, False)
        spent["forward"] += time.time() - start
        for hook in hooks:
            hook.remove()
        start = time.time()
        for name, linear in linears.items():
            linear.weight.data = solve(linear.weight.data, hessians[name] * (2 / 128))
        spent["solve"] += time.time() - start
        start = time.time()
        pass_through(layer, True)
        spent["forward"] += time.time() - start
    print(", ".join(f"{k} {v:.1f} s" for k, v in spent.items()))


def evaluate(model):
    tokens, total = ids("wikitext2-test.txt"), 0.0
    windows = tokens[: len(tokens) // 1024 * 1024].view(-1, 1024)
    for i in range(0, len(windows), BATCH):
        logits = model(windows[i : i + BATCH], use_cache=False).logits
        for row, window in zip(logits, windows[i : i + BATCH]):
            total += torch.nn.functional.cross_entropy(row[:-1].double(), window[1:]).item()
    print(f"perplexity {math.exp(total / len(windows)):.4f}")


working = time.time()
loaded = LlamaForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
quantize(loaded) if mode == "quantize" else evaluate(loaded)
print(f"torch {torch.__version__}: {time.time() - working:.1f} s, with imports {time.time() - started:.1f} s")
