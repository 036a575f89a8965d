"""Score 1,000,000 mixtures of 17 domains with the paper's 1,000 trees: this package, on the first use ever, in a new
process, and warm, beside LightGBM's own predict; in one run."""
import os
import subprocess
import sys
import tempfile
import time

import numpy as np


def model_and_mixtures(n):
    "The paper's model on the authors' 512 runs, or on a synthetic table of the same shape where there are none."
    from regmix.paper import PRIOR, have_authors
    from regmix.regression import make_estimator
    if have_authors():
        from regmix.swarms import load_swarm
        X, y = load_swarm("authors/1m-train").xy("pile_cc")
        source = "the authors' 512 runs"
    else:
        from regmix.mixtures import RELEASE, sample_mixtures
        X = sample_mixtures(PRIOR, 512, seed=0, **RELEASE)
        noise = np.random.default_rng(0).normal(0, 0.01, 512)
        y = 5 + 0.5 * np.exp(-5 * X["pile_cc"]) - 0.3 * np.sqrt(X).mean(axis=1) + noise
        source = "512 synthetic runs (the authors' logs are not here)"
    model = make_estimator("lightgbm").fit(X.to_numpy(), y.to_numpy())
    return model, np.random.default_rng(0).dirichlet(PRIOR.to_numpy(), n), source


def timed(function):
    cpu, wall = time.process_time(), time.perf_counter()
    result = function()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def in_a_process():
    "Import numba; read the forest, compile it or take it from the disk, score; and the same again, warm."
    from regmix.simulation import score
    model, X, _ = model_and_mixtures(1_000_000)
    imports = timed(lambda: __import__("numba"))[1:]
    first = timed(lambda: score(model, X))[1:]
    warm = [timed(lambda: score(model, X))[1:] for _ in range(5)]
    print(*imports, *first, *np.median(warm, axis=0))


def started(cache):
    "Run `in_a_process` in a process of its own, whose machine code is kept in the folder `cache`."
    done = subprocess.run([sys.executable, __file__, "process"], env=os.environ | {"NUMBA_CACHE_DIR": cache},
                          capture_output=True, text=True, check=True)
    return list(map(float, done.stdout.split()))


def processes(times):
    "Seconds of first processes ever, and of ones that find the machine code on disk; (times, 6) each."
    first, later = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as cache:
            first.append(started(cache))
            later.append(started(cache))
    return np.median(first, axis=0), np.median(later, axis=0)


def main():
    first, later = processes(3)
    from regmix.simulation import score
    model, X, source = model_and_mixtures(1_000_000)
    theirs, *one = timed(lambda: model.predict(X))
    _, *all_threads = timed(lambda: model.booster_.predict(X, num_threads=0))
    rows = {
        "regmix, first ever (import, compile, score)": first[:2] + first[2:4],
        "regmix, new process (import, load, score)": later[:2] + later[2:4],
        "    of which the import of numba": later[:2],
        "regmix, warm (read the forest, score)": later[4:],
        "LightGBM predict, one thread": one,
        "LightGBM predict, all threads": all_threads,
    }
    print(f"1,000,000 mixtures x 17 domains, 1,000 trees fitted on {source}; medians; seconds")
    print(f"{'':44}{'CPU':>8}{'wall':>8}{'times faster, CPU':>20}")
    for name, (cpu, wall) in rows.items(): print(f"{name:44}{cpu:8.2f}{wall:8.2f}{one[0] / cpu:20.1f}")
    print(f"largest difference {np.abs(score(model, X) - theirs).max():.1e}")


if __name__ == "__main__": in_a_process() if sys.argv[1:] == ["process"] else main()
