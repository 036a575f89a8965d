"""Tokens per second of training the paper's 1M model on the CPU: this package beside a plain transformers loop, in one run.

The same shapes for all: vocabulary 8,192, context 256, 8 sequences a step, AdamW, gradients clipped.
Ours trains a swarm as users do, through `train_swarm`: one worker a core, checkpoints, data from files.
"""
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

VOCAB, CONTEXT, BATCH, STEPS = 8192, 256, 8, int(sys.argv[1]) if len(sys.argv) > 1 else 80
WORKERS = os.cpu_count()


def plain_loop(bf16):
    "A LlamaForCausalLM of the same shape, trained as in any tutorial, on all cores; returns tokens per second."
    from transformers import LlamaConfig, LlamaForCausalLM
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=VOCAB, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=8,
                         num_key_value_heads=8, max_position_embeddings=CONTEXT, tie_word_embeddings=False)
    model = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-4, betas=(0.9, 0.95), weight_decay=0.1)
    data = torch.randint(VOCAB, (64, BATCH, CONTEXT))

    def step(i):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16): loss = model(input_ids=data[i % 64], labels=data[i % 64]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    step(0)
    start, done = time.perf_counter(), 0
    while done < STEPS and time.perf_counter() - start < 30: step(done); done += 1
    return done * BATCH * CONTEXT / (time.perf_counter() - start)


def random_corpus(folder):
    "A corpus of four domains of random words, tokenised to the same vocabulary."
    from regmix.corpora import build_corpus
    from regmix.text import Document
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(20_000)]
    docs = [Document(f"d{k}", " ".join(rng.choice(words, 3000)), f"{k}/{i}", None) for k in range(4) for i in range(40)]
    return build_corpus(lambda: iter(docs), folder, vocab_size=VOCAB, valid_fraction=0.1, progress=False)


def swarm(corpus, folder, group):
    "The same model through train_swarm, as many tokens in all for any group; returns tokens per second of all workers together, one evaluation included."
    import json
    import pandas as pd
    from regmix.proxies import TrainConfig
    from regmix.training import train_swarm
    config = TrainConfig(model="1M", tokens=STEPS // group * BATCH * CONTEXT, context=CONTEXT, batch=BATCH, evals=1, eval_tokens=CONTEXT)
    mixtures = pd.DataFrame(np.random.default_rng(0).dirichlet([1] * 4, group * WORKERS), columns=corpus.domains, index=[f"r{i}" for i in range(group * WORKERS)])
    train_swarm(mixtures, corpus, folder, config, group=group, progress=False)
    seconds = [json.loads(p.read_text())["seconds"] for p in sorted((folder/"groups").glob("*.json"))]
    return group * WORKERS * config.steps * BATCH * CONTEXT / max(seconds)


def peak(dtype, n=1536):
    "Multiplications and additions per second of one large matrix product."
    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    best, tries = 1e9, 0
    while tries < (5 if best < 1 else 2):
        start = time.perf_counter(); a @ b; best = min(best, time.perf_counter() - start); tries += 1
    return 2 * n**3 / best


def shares(corpus):
    "Where one worker's time goes: per cent of the profiler's own time, by kind of operation."
    import pandas as pd
    from torch.profiler import profile
    from regmix.proxies import Group, TrainConfig, pick_precision
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    config = TrainConfig(model="1M", tokens=8 * BATCH * CONTEXT, context=CONTEXT, batch=BATCH, evals=1, eval_tokens=CONTEXT)
    group = Group(corpus, pd.DataFrame([[0.25] * 4], columns=corpus.domains, index=["r"]), config, dtype=getattr(torch, pick_precision("cpu")))
    for s in range(2): group.advance(group.batches(s))
    with profile() as seen:
        for s in range(2, 6): group.advance(group.batches(s))
    torch.set_num_threads(cores)
    kinds = {"matrix products": ("mm",), "softmax": ("softmax",), "copies": ("copy_",), "optimiser and clipping": ("adamw", "vector_norm"), "number by number": ("mul", "add", "sub", "silu")}
    time_of = dict.fromkeys([*kinds, "the rest"], 0)
    for e in seen.key_averages():   # the first kind that fits
        time_of[next((kind for kind, words in kinds.items() if any(w in e.key for w in words)), "the rest")] += e.self_cpu_time_total
    return {kind: 100 * t / sum(time_of.values()) for kind, t in time_of.items()}


def main():
    from regmix.models import model_config, train_flops
    from regmix.proxies import pick_precision
    precision = pick_precision("cpu")
    results = {}
    with tempfile.TemporaryDirectory() as tmp:
        corpus = random_corpus(Path(tmp)/"corpus")
        for turn in range(3):
            for name, run in ((f"regmix, groups of 1, {WORKERS} workers", lambda: swarm(corpus, Path(tmp)/f"s1-{turn}", 1)),
                              (f"regmix, groups of 4, {WORKERS} workers", lambda: swarm(corpus, Path(tmp)/f"s4-{turn}", 4)),
                              ("transformers loop, fp32, all cores", lambda: plain_loop(False)),
                              ("transformers loop, bf16 autocast, all cores", lambda: plain_loop(True))):
                if "bf16" in name and turn and results[name][0] < 500: continue     # hardware without bf16: once is enough
                results.setdefault(name, []).append(run())
        parts = shares(corpus)
    median = {name: float(np.median(r)) for name, r in results.items()}
    ours, fp32, bf16 = max(v for k, v in median.items() if k.startswith("regmix")), *(v for k, v in median.items() if "loop" in k)
    flops, top = train_flops(model_config("1M", VOCAB), CONTEXT)["total"], peak(getattr(torch, precision))
    print(f"1M parameters, vocabulary {VOCAB}, context {CONTEXT}, {BATCH} sequences a step, {STEPS} steps; {WORKERS} cores, ours in {precision}; medians of 3 turns")
    for name, value in median.items(): print(f"{name:46}{value:10,.0f} tokens/s")
    print(f"ratio to the loop in fp32: {ours / fp32:.2f}; under bf16 autocast: {ours / bf16:.2f}")
    print(f"matrix peak of this machine in {precision}: {top / 1e9:,.0f} GFLOP/s; {flops / 1e6:.1f} MFLOP a token: at most {top / flops:,.0f} tokens/s, of which ours is {100 * ours * flops / top:.0f}%")
    print("one worker's time: " + ", ".join(f"{k} {v:.0f}%" for k, v in parts.items()))


if __name__ == "__main__": main()
