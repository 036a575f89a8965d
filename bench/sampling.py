"""How fast are mixtures drawn? `sample_mixtures` beside a plain numpy loop of the same recipe, in one run.

The rival does what the authors' script does, as one would write it first: 15 draws for each candidate, one kept, all
survivors held in a list, sorted, neighbours compared, a random subset. Where the whole loop would take minutes, it
draws 1% of the candidates, and its time is multiplied by 100 (marked ~). Seeds are fixed; under a minute in all.
"""
import resource
import time

import numpy as np
import pandas as pd

from regmix.mixtures import RELEASE, as_prior, sample_mixtures
from regmix.paper import PRIOR


def plain_loop(prior: np.ndarray, n: int, draws: int, bound: float | None, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    flat = prior ** 0.5 / (prior ** 0.5).sum()
    limit = np.minimum(1, bound * prior) if bound else np.ones(len(prior))
    strengths, kept = np.geomspace(0.1, 5, 15), []
    for _ in range(draws):
        x = [rng.dirichlet(s * flat) for s in strengths][rng.integers(15)]
        if (x > limit).any(): continue
        x = np.where(x < 2e-4, 0, x)
        kept.append(np.round(x / x.sum() / 2e-4) * 2e-4)
    kept = np.array(kept)
    kept = kept[np.lexsort(kept.T)]
    different = [kept[0]]
    for row in kept[1:]:
        if np.abs(row - different[-1]).sum() > 1e-5: different.append(row)
    return np.array(different)[rng.choice(len(different), min(n, len(different)), replace=False)]


def timed(f) -> tuple[float, float]:
    "CPU and wall seconds of one call."
    cpu, wall = time.process_time(), time.perf_counter()
    f()
    return time.process_time() - cpu, time.perf_counter() - wall


def case(label: str, prior: pd.Series, n: int, bound: float | None, share: float) -> None:
    options = {**RELEASE, 'bound': bound}
    cpu, wall = timed(lambda: sample_mixtures(prior, n, seed=0, **options))
    exact = timed(lambda: sample_mixtures(prior, n, seed=0, **{**options, 'exact_sum': True}))
    draws = round(100 * n * share)
    loop = np.array(timed(lambda: plain_loop(as_prior(prior).to_numpy(), n, draws, bound))) / share
    about = '' if share == 1 else '~'
    print(f'{label}: {n} mixtures x {len(prior)} domains, from {100 * n:,} candidates')
    print(f'  sample_mixtures, as the release        CPU {cpu:8.2f} s   wall {wall:8.2f} s')
    print(f'  sample_mixtures, rows sum to one       CPU {exact[0]:8.2f} s   wall {exact[1]:8.2f} s')
    print(f'  plain numpy loop                       CPU {about + format(loop[0], ".2f"):>8} s   wall {about + format(loop[1], ".2f"):>8} s'
          f'   ratio {about}{loop[0] / cpu:.0f}x')


if __name__ == '__main__':
    zipf = pd.Series(1 / np.arange(1, 101), index=[f'd{i}' for i in range(100)])
    sample_mixtures(PRIOR, 8, seed=0) # warm up
    case('The Pile', PRIOR, 512, 15.0, share=1)
    case('100 domains, sizes 1/rank, bound 15', zipf, 10_000, 15.0, share=0.01)
    case('100 domains, sizes 1/rank, no bound (nothing is rejected)', zipf, 10_000, None, share=0.01)
    print(f'most memory held by this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB')
