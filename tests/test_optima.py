"""Exact optima: never above what any search finds, limits kept, impossible limits refused."""
import numpy as np
import pandas as pd
import pytest

from regmix.laws import LogLinearLaw, MixingLaw
from regmix.optima import check_limits, lowest, propose
from regmix.regression import MixtureRegressor


@pytest.mark.parametrize("seed", range(12))
def test_no_feasible_mixture_is_lower_and_limits_hold(seed):
    rng = np.random.default_rng(seed)
    d, m = int(rng.integers(2, 40)), int(rng.integers(1, 6))
    A, w, q = rng.normal(0, 2, (m, d)), rng.uniform(0.1, 3, m), rng.dirichlet(np.ones(d))
    kl = float(rng.choice([0, 0.01, 1]))
    low = q * rng.uniform(0, 0.9, d) * rng.integers(0, 2, d)
    high = np.minimum(1, q * rng.uniform(1, 8, d))
    pinned = rng.random(d) < 0.2
    low[pinned] = high[pinned] = q[pinned]
    p, gap = lowest(A, w, q, kl, low, high)
    assert abs(p.sum() - 1) < 1e-9 and (p >= low - 1e-12).all() and (p <= high + 1e-12).all() and gap < 1e-8
    value = lambda P: np.exp(P @ A.T) @ w + (kl * (P * np.log(np.maximum(P, 1e-300) / q)).sum(-1) if kl else 0)
    others = [q]   # the prior keeps these limits; so does every mean of mixtures that do
    for _ in range(300):
        step = rng.normal(0, 0.1, d)
        step[pinned] = 0
        if (~pinned).sum() > 1:
            step[~pinned] -= step[~pinned].mean()
            near = p + step
            if (near >= low).all() and (near <= high).all(): others.append(near)
            with np.errstate(divide="ignore", invalid="ignore"):
                reach = np.nanmin(np.where(step > 0, (high - p) / step, np.where(step < 0, (low - p) / step, np.inf)))
            others.append(p + min(1, max(reach, 0)) * step)
    assert value(p[None])[0] <= value(np.array(others)).min() + 1e-8


def test_a_prior_far_away_pulls_and_a_strong_one_wins():
    rng = np.random.default_rng(0)
    a, q = rng.normal(0, 1, (1, 10)), rng.dirichlet(np.ones(10))
    away = [np.abs(lowest(a, prior=q, kl=kl)[0] - q).sum() for kl in (0.01, 0.1, 1, 100)]
    assert all(x > y for x, y in zip(away, away[1:])) and away[-1] < 0.05


@pytest.mark.parametrize("low, high, message", [([0.6, 0.6], [1, 1], "sum to 1.2000, more than 1"), ([0, 0], [0.3, 0.3], "sum to 0.6000, less than 1"), ([0, 0.5], [1, 0.4], "domain code has a lower limit above"),
                                                ([-0.1, 0], [1, 1], "domain web has a lower limit below 0"), ([0, 0], [1.5, 1], "above 1"), ([0, 0], [np.nan, 1], "is no number")])
def test_impossible_limits_are_refused_with_the_reason(low, high, message):
    with pytest.raises(ValueError, match=message): check_limits(np.array(low), np.array(high), ["web", "code"])


def test_a_prior_without_a_domain_is_refused_unless_the_domain_is_shut_out():
    with pytest.raises(ValueError, match="upper limit of 0"): lowest([[1.0, 2.0, 3.0]], prior=[0.5, 0.5, 0], kl=1)
    p, _ = lowest([[1.0, 2.0, 3.0]], prior=[0.5, 0.5, 0], kl=1, upper=[1, 1, 0])
    assert p[2] == 0 and abs(p.sum() - 1) < 1e-9


def test_mixing_law_too_and_only_where_it_is_convex():
    rng = np.random.default_rng(0)
    P = pd.DataFrame(rng.dirichlet(np.ones(3), 60), columns=list("abc")).rename(index=str)
    bowl = pd.Series(1 + np.exp(P.to_numpy() @ [0.1, 1, 0.5]), P.index, name="a")
    assert propose(MixtureRegressor(MixingLaw()).fit(P, bowl), P).mixture["a"] > 0.999
    hill = pd.Series(5 - np.exp(P.to_numpy() @ [1.5, 0, 0.5]), P.index, name="a")
    with pytest.raises(ValueError, match="b below 0"): propose(MixtureRegressor(MixingLaw()).fit(P, hill), P)


def test_a_proposal_far_from_everything_says_so():
    rng = np.random.default_rng(0)
    P = pd.DataFrame(0.25 + 0.02 * (rng.dirichlet(np.ones(4), 60) - 0.25), columns=list("abcd")).rename(index=str)
    y = pd.Series(1 + np.exp(P.to_numpy() @ [0.1, 1, 0.5, 0.7]), P.index, name="a")
    model = MixtureRegressor(LogLinearLaw(huber=1e-4)).fit(P, y)
    assert propose(model, P).extrapolates and not propose(model, P, lower={d: 0.248 for d in "abcd"}).extrapolates
