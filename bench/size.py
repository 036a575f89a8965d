"""How do time and memory grow with the size of the question? Each line in a process of its own.

Text is generated, written to a temporary folder, read once and deleted. `--small` is a version of seconds in one process
(the tests run it; its memory says nothing);
by default it takes some minutes and 2 GB of disk. `--text-gb 10` takes 25 GB of disk and, by estimate, half an hour to an
hour on two cores: it was not run to its end for the figures below.

Memory at most, measured on a machine that was busy with other work, so that its times say nothing:
270 MB after the first half of 1 GB of text (the run was stopped there); 413 MB to read 5,000 runs x 200 metrics from CSV,
234 MB to fit ridge to them; 155 MB to draw 512 mixtures of 2,000 domains, 197 MB for an exact optimum over 2,000;
3,636 MB to search a million candidates of 500 domains with ridge.
"""
import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd


def peak() -> float: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_text(folder: Path, gb: float, domains: int = 8):
    "Write shards of made-up prose: words of a Zipf law, 500 a document."
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, k)) for k in rng.integers(2, 10, 20_000)])
    share = 1 / np.arange(1, len(words) + 1)
    ends, size = np.cumsum(share / share.sum()), gb * 1e9 / domains
    for d in range(domains):
        with open(folder/f"domain{d}-000.jsonl", "w") as f:
            while f.tell() < size:
                drawn = words[np.searchsorted(ends, rng.random((20, 500)))]
                f.writelines(json.dumps({"text": " ".join(row)}) + "\n" for row in drawn)


def build(gb):
    from regmix.corpora import build_corpus
    from regmix.text import read_folder
    with tempfile.TemporaryDirectory() as t:
        folder = Path(t)/"text"
        folder.mkdir()
        write_text(folder, gb)
        size = sum(p.stat().st_size for p in folder.iterdir()) / 1e6
        before, start = peak(), time.perf_counter()
        corpus = build_corpus(read_folder(folder), Path(t)/"corpus", vocab_size=4096, split_by="document", progress=False)
        seconds = time.perf_counter() - start
        tokens = sum(corpus.facts(d)["train_tokens"] for d in corpus.domains)
        return seconds, before, f"{size:,.0f} MB of text, {tokens / 1e6:,.0f} million tokens, {size / seconds:.1f} MB/s"


def some_runs(n, d, metrics):
    rng = np.random.default_rng(0)
    domains, runs = [f"d{i}" for i in range(d)], pd.Index([f"r{i}" for i in range(n)], name="run")
    X = pd.DataFrame(rng.dirichlet(np.full(d, 0.5), n), columns=domains, index=runs)
    A = rng.normal(0, 1, (d, metrics))
    Y = pd.DataFrame(2 + np.exp(0.5 * X.to_numpy() @ A) + rng.normal(0, 0.01, (n, metrics)),
                     columns=[f"m{i}" for i in range(metrics)], index=runs)
    return X, Y


def mixtures(d, n):
    from regmix.mixtures import sample_mixtures
    start = time.perf_counter()
    table = sample_mixtures({f"d{i}": 1 / (i + 1) for i in range(d)}, n, bound=None, floor=0.0, step=None)
    return time.perf_counter() - start, 0, f"{table.shape[0]:,} mixtures of {d:,} domains"


def tables(n, d, metrics):
    from regmix.tables import read_swarm
    X, Y = some_runs(n, d, metrics)
    with tempfile.TemporaryDirectory() as t:
        X.to_csv(f"{t}/m.csv")
        Y.to_csv(f"{t}/l.csv")
        before, start = peak(), time.perf_counter()
        swarm = read_swarm((f"{t}/m.csv", f"{t}/l.csv"))
        return time.perf_counter() - start, before, f"{len(swarm):,} runs, {d} domains, {metrics} metrics read from CSV"


def fitted(n, d, metrics, law):
    from regmix.laws import make_law
    from regmix.regression import MixtureRegressor
    X, Y = some_runs(n, d, metrics)
    before, start = peak(), time.perf_counter()
    model = MixtureRegressor(make_law(law, list(X), "m0")).fit(X, Y)
    error = float((model.predict(X) - Y.to_numpy()).std())
    return time.perf_counter() - start, before, f"{law}: {n:,} runs, {d:,} domains, {metrics} metrics (residual {error:.3f})"


def searched(d, candidates):
    from regmix.regression import MixtureRegressor
    from regmix.simulation import simulate
    X, Y = some_runs(max(12, 2 * d), d, 1)
    model = MixtureRegressor("ridge").fit(X, Y["m0"])
    before, start = peak(), time.perf_counter()
    simulate(model, pd.Series(1 / d, X.columns), n=candidates, k=100)
    return time.perf_counter() - start, before, f"{candidates:,} candidates of {d:,} domains, ridge"


def optimum(d):
    from regmix.optima import lowest
    a, q = np.random.default_rng(0).normal(0, 1, d), np.random.default_rng(1).dirichlet(np.ones(d))
    start = time.perf_counter()
    lowest(a, prior=q, kl=0.1)
    return time.perf_counter() - start, 0, f"exact optimum near a prior, {d:,} domains"


def measured(work, given):
    seconds, before, what = work(*given)
    return seconds, before, peak(), what


def alone(work, *given, here=False):
    "Run one measurement in a new process (or here) and print its line."
    if here: seconds, before, most, what = measured(work, given)
    else:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seconds, before, most, what = pool.submit(measured, work, given).result()
    at_first = f" ({before:,.0f} before)" if before else ""
    print(f"  {seconds:8.2f} s  {most:7,.0f} MB at most{at_first}   {what}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text-gb", type=float, nargs="+", help="sizes of the text, in GB; default: 0.25 and 0.5")
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    a = parser.parse_args()
    k, line = (0.05, partial(alone, here=True)) if a.small else (1, alone)
    print("text to tokens, in bounded memory:")
    for gb in a.text_gb or ([0.002] if a.small else [0.25, 0.5]): line(build, gb)
    print("mixtures and searches:")
    for d in (100, 500, 2000): line(mixtures, int(d * k), int(512 * k))
    for d in (17, 100, 500): line(searched, max(3, int(d * k)), int(1e6 * k))
    for d in (500, 2000): line(optimum, int(d * k))
    print("tables and fits:")
    for n, m in ((1000, 50), (5000, 200)): line(tables, int(n * k), 17, int(m * k))
    for n, m in ((1000, 50), (5000, 200)): line(fitted, int(n * k), 17, int(m * k), "ridge")
    for n, m in ((1000, 5), (5000, 5)): line(fitted, int(n * k), 17, max(1, int(m * k)), "log-linear")
    for d in (100, 500): line(fitted, int(4 * d * k), int(d * k), 1, "log-linear")   # 4 runs a domain
    sys.stdout.flush()
