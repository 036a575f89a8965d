"""Score 1,000,000 mixtures of 17 domains with the paper's 1,000 trees: this package beside LightGBM's own predict, in one run."""
import subprocess
import sys
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
        y = 5 + 0.5 * np.exp(-5 * X["pile_cc"]) - 0.3 * np.sqrt(X).mean(axis=1) + np.random.default_rng(0).normal(0, 0.01, 512)
        source = "512 synthetic runs (the authors' logs are not here)"
    model = make_estimator("lightgbm").fit(X.to_numpy(), y.to_numpy())
    return model, np.random.default_rng(0).dirichlet(PRIOR.to_numpy(), n), source


def timed(function):
    cpu, wall = time.process_time(), time.perf_counter()
    result = function()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def cold():
    "In a process of its own: import numba; read the forest, compile, score; and the same again, warm."
    from regmix.simulation import score
    model, X, _ = model_and_mixtures(1_000_000)
    imports = timed(lambda: __import__("numba"))[1:]
    first = timed(lambda: score(model, X))[1:]
    warm = [timed(lambda: score(model, X))[1:] for _ in range(5)]
    print(*imports, *first, *np.median(warm, axis=0))


def main():
    model, X, source = model_and_mixtures(1_000_000)
    runs = [list(map(float, subprocess.run([sys.executable, __file__, "cold"], capture_output=True, text=True, check=True).stdout.split())) for _ in range(3)]
    import_cpu, import_wall, first_cpu, first_wall, warm_cpu, warm_wall = np.median(runs, axis=0)
    cold_cpu, cold_wall = import_cpu + first_cpu, import_wall + first_wall
    from regmix.simulation import score
    theirs, cpu1, wall1 = timed(lambda: model.predict(X, num_threads=1))
    _, cpu2, wall2 = timed(lambda: model.predict(X, num_threads=0))
    ours = score(model, X)
    print(f"1,000,000 mixtures x 17 domains, 1,000 trees fitted on {source}; medians; seconds")
    print(f"{'':44}{'CPU':>8}{'wall':>8}")
    for name, cpu, wall in (("regmix, cold (import numba, compile, score)", cold_cpu, cold_wall), ("    of which the import of numba", import_cpu, import_wall),
                            ("regmix, warm (read the forest, score)", warm_cpu, warm_wall),
                            ("LightGBM predict, one thread", cpu1, wall1), ("LightGBM predict, all threads", cpu2, wall2)):
        print(f"{name:44}{cpu:8.2f}{wall:8.2f}")
    print(f"ratio to LightGBM's CPU seconds: {cpu1 / cold_cpu:.1f} cold, {cpu1 / warm_cpu:.1f} warm; largest difference {np.abs(ours - theirs).max():.1e}")


if __name__ == "__main__": cold() if sys.argv[1:] == ["cold"] else main()
