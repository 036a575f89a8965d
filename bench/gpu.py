"""Everything that a GPU is wanted for, in one call: groups against one model after another, the best size of a group, and the share of peak.

    python bench/gpu.py --out results/              # on a GPU: minutes
    python bench/gpu.py --out results/ --small      # the same steps at toy size, on a CPU

It needs torch, numpy, pandas, pyarrow, tokenizers, tqdm and joblib only. Each measurement is a line of `gpu.jsonl`, written as soon as it is there;
a second call skips what is there already. With --corpus and --swarm it then trains a whole swarm, resuming one that was stopped.
"""
import argparse
import itertools
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
import numpy as np
import pandas as pd
import torch

from regmix.corpora import build_corpus, load_corpus
from regmix.models import model_config, train_flops
from regmix.proxies import Group, TrainConfig, pick_device, pick_precision
from regmix.text import Document
from regmix.training import train_swarm


def toy_corpus(folder, vocab_size):
    "Four domains of random words, enough to fill the vocabulary."
    if (folder/"corpus.json").is_file(): return load_corpus(folder)
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 9))) for _ in range(20_000)]
    docs = [Document(f"d{k}", " ".join(rng.choice(words, 3000)), f"{k}/{i}", None) for k in range(4) for i in range(60)]
    return build_corpus(lambda: iter(docs), folder, vocab_size=vocab_size, valid_fraction=0.1, progress=False)


def wait(device):
    if device == "cuda": torch.cuda.synchronize()


def speed(corpus, config, K, device, dtype, steps):
    "Tokens per second of all models of a group, after a warm-up; what the first step took (compilation); the largest memory."
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch._dynamo.reset()      # one compilation for each shape, as a swarm has
    mixtures = pd.DataFrame(np.random.default_rng(0).dirichlet([1] * len(corpus.domains), K), columns=corpus.domains, index=[f"r{i}" for i in range(K)])
    group = Group(corpus, mixtures, config, device=device, dtype=dtype)
    start = time.perf_counter()
    for s in range(3): group.advance(group.batches(s))
    wait(device)
    first, start = time.perf_counter() - start, time.perf_counter()
    for s in range(3, 3 + steps): group.advance(group.batches(s))
    wait(device)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    group.validation(group.weights, group.model, dtype, hidden=group.hidden, softmax=group.softmax)
    wait(device)
    measured = K * group.validation.tokens.shape[0] * config.context / (time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")
    assert torch.isfinite(group.train_losses[:, :3 + steps]).all()
    return dict(tokens_per_second=K * steps * config.batch * config.context / seconds, first_seconds=first, eval_tokens_per_second=measured, memory_gib=memory)


def peak(device, dtype, n):
    "Operations per second of a large matrix product."
    a, b = torch.randn(n, n, device=device, dtype=dtype), torch.randn(n, n, device=device, dtype=dtype)
    for _ in range(2): a @ b
    wait(device)
    start = time.perf_counter()
    for _ in range(10): a @ b
    wait(device)
    return 20 * n**3 / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.jsonl, and for the swarm")
    parser.add_argument("--small", action="store_true", help="toy sizes, for a machine without a GPU")
    parser.add_argument("--corpus", type=Path, help="folder of a corpus to train a swarm on")
    parser.add_argument("--swarm", help="name of the swarm to train afterwards; needs --corpus")
    parser.add_argument("--n", type=int, default=512, help="mixtures of that swarm")
    parser.add_argument("--tokens", type=int, default=10_000_000, help="training tokens of each of its models")
    args = parser.parse_args()
    if args.swarm and not args.corpus: parser.error("--swarm needs --corpus")
    device = pick_device()
    dtype = getattr(torch, pick_precision(device))
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out/"gpu.jsonl"
    done = [json.loads(line)["what"] for line in log.read_text().splitlines()] if log.is_file() else []

    def note(what, measure):
        if what in done: return
        try: result = measure()
        except torch.OutOfMemoryError as e: result = dict(error=str(e)[:200]); torch.cuda.empty_cache()
        with open(log, "a") as f: f.write(json.dumps(dict(what=what, device=torch.cuda.get_device_name() if device == "cuda" else "cpu", torch=torch.__version__, **result)) + "\n")
        print(what, {k: round(v, 2) if isinstance(v, float) else v for k, v in result.items()}, flush=True)

    vocab, names, sizes, batches, steps = (300, ["80K"], [1, 4], [2], 3) if args.small else (8192, ["1M", "12M", "60M"], [1, 8, 32, 64, 128], [8, 16, 32], 20)
    corpus = toy_corpus(args.out/"toy-corpus", vocab)
    note("peak", lambda: dict(flops_per_second=peak(device, dtype, 256 if args.small else 8192)))
    for name, K, batch in itertools.product(names, sizes, batches):
        config = TrainConfig(model=name, tokens=(steps + 8) * batch * 256, context=256, batch=batch, evals=1, eval_tokens=1024)
        flops = train_flops(model_config(name, vocab), 256)["total"]
        note(f"{name}, K={K}, batch={batch}", lambda: (r := speed(corpus, config, K, device, dtype, steps)) | dict(flops_per_second=r["tokens_per_second"] * flops))
    table = pd.DataFrame([json.loads(line) for line in log.read_text().splitlines()]).set_index("what")
    if "tokens_per_second" in table:
        one = {name: table["tokens_per_second"].get(f"{name}, K=1, batch={batches[0]}") for name in names}
        rates = table.dropna(subset="tokens_per_second")
        print(rates.assign(ratio_to_one=[r.tokens_per_second / one[r.Index.split(",")[0]] for r in rates.itertuples()],
                           share_of_peak=rates["flops_per_second"] / table.loc["peak", "flops_per_second"])[["tokens_per_second", "ratio_to_one", "share_of_peak", "memory_gib"]].round(3).to_string())
    if args.swarm:
        from regmix.mixtures import sample_mixtures
        text = load_corpus(args.corpus)
        config = TrainConfig(model="80K" if args.small else "1M", tokens=args.tokens, batch=16, lr=4e-3, eval_tokens=32_768)
        print(train_swarm(sample_mixtures(text.prior, args.n, seed=0), text, args.out/args.swarm, config, device=device))


if __name__ == "__main__": main()
