"""Exact optima: never above what any search finds, limits kept, impossible limits refused."""
import numpy as np
import pandas as pd
import pytest

from regmix.laws import LogLinearLaw, MixingLaw
from regmix.optima import check_limits, fairest, front, lowest, propose, search, stability
from regmix.regression import BoostedTrees, MixtureRegressor


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
    assert abs(p.sum() - 1) < 1e-9 and (p >= low - 1e-12).all() and (p <= high + 1e-12).all() and gap < 1e-6
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
    searched = propose(MixtureRegressor(MixingLaw()).fit(P, hill), P)     # the branch with b below 0 is not convex
    assert searched.mixture["a"] > 0.999 and np.isnan(searched.gap)


def test_a_proposal_far_from_everything_says_so():
    rng = np.random.default_rng(0)
    P = pd.DataFrame(0.25 + 0.02 * (rng.dirichlet(np.ones(4), 60) - 0.25), columns=list("abcd")).rename(index=str)
    y = pd.Series(1 + np.exp(P.to_numpy() @ [0.1, 1, 0.5, 0.7]), P.index, name="a")
    model = MixtureRegressor(LogLinearLaw(huber=1e-4)).fit(P, y)
    assert propose(model, P).extrapolates and not propose(model, P, lower={d: 0.248 for d in "abcd"}).extrapolates


FITTED = {}


def _fitted(estimator, d=6, n=120, seed=0):
    "A law fitted to three targets, its mixtures and losses, a prior: made once, for no test changes them."
    key = str(estimator), d, n, seed
    if key not in FITTED: FITTED[key] = _fit(estimator, d, n, seed)
    return FITTED[key]


def _fit(estimator, d, n, seed):
    rng = np.random.default_rng(seed)
    names = [f"d{i}" for i in range(d)]
    P = pd.DataFrame(rng.dirichlet(np.ones(d), n), columns=names).rename(index=str)
    Y = pd.DataFrame({f"t{k}": 1 + np.exp(P.to_numpy() @ rng.normal(0, 1, d)) + rng.normal(0, 0.005, n) for k in range(3)}, index=P.index)
    return MixtureRegressor(estimator).fit(P, Y), P, Y, pd.Series(rng.dirichlet(np.ones(d) * 3), names)


@pytest.mark.parametrize("estimator", [LogLinearLaw(), "ridge", BoostedTrees(n_estimators=60)])
@pytest.mark.parametrize("asked", [{}, dict(kl=0.05), dict(guard=0.05), dict(worst=True), dict(worst=True, kl=0.05, guard=0.05)])
def test_every_proposal_keeps_its_limits(estimator, asked):
    model, P, _, q = _fitted(estimator)
    lower, upper = {"d0": 0.05, "d1": 0.2}, {"d1": 0.2, "d2": 0.1, "d3": 0.4}
    available = pd.Series({"d4": 1e6, "d5": 2e6})
    found = propose(model, P, prior=q, lower=lower, upper=upper, available=available, tokens=2e7, epochs=2, **asked)
    p = found.mixture
    assert abs(p.sum() - 1) < 1e-9 and (p >= 0).all() and p["d1"] == pytest.approx(0.2, abs=1e-6)
    assert p["d0"] >= 0.05 - 1e-6 and p["d2"] <= 0.1 + 1e-6 and p["d3"] <= 0.4 + 1e-6
    assert (found.epochs.dropna() <= 2 + 1e-6).all() and found.epochs[["d4", "d5"]].notna().all()
    if "guard" in asked: assert (found.predicted["value"] <= found.predicted["under the prior"] + 0.05 + 1e-6).all()
    assert np.isnan(found.gap) == (not isinstance(estimator, LogLinearLaw) or ("worst" in asked and "kl" in asked))


@pytest.mark.parametrize("seed", range(5))
def test_the_fairest_mixture_has_the_best_worst_target(seed):
    rng = np.random.default_rng(seed)
    A, w, q = rng.normal(0, 1, (4, 8)), rng.uniform(0.5, 2, 4), rng.dirichlet(np.ones(8))
    kl = (0, 0.1)[seed % 2]
    p, _ = fairest(A, np.exp(A @ q), w, q, kl)
    value = lambda P: (w * (np.exp(P @ A.T) - np.exp(A @ q))).max(1) + kl * (P * np.log(np.maximum(P, 1e-300) / q)).sum(1)
    others = np.concatenate([rng.dirichlet(np.ones(8) * s, 20_000) for s in (0.2, 1, 5)] + [rng.dirichlet(np.maximum(p, 1e-4) * 3000, 20_000)])
    assert value(p[None])[0] <= value(others).min() + 2e-5


def test_the_search_finds_what_the_solver_computes():
    rng = np.random.default_rng(0)
    A, q = rng.normal(0, 1, (5, 17)), rng.dirichlet(np.ones(17))
    top = np.minimum(1, 4 * q)
    value = lambda P: np.exp(P @ A.T).sum(1) + 0.05 * (P * np.log(np.maximum(P, 1e-300) / q)).sum(1)
    exact = value(lowest(A, prior=q, kl=0.05, upper=top)[0][None])[0]
    found = [search(value, np.zeros(17), top, q, seed=s) for s in (0, 0, 1)]
    assert exact <= value(found[0][None])[0] <= exact + 1e-3 and (found[0] == found[1]).all() and (found[0] != found[2]).any()


def test_more_margin_costs_less_and_guards_that_bind_are_kept():
    model, P, _, q = _fitted(LogLinearLaw())
    aim = {"t0": 1, "t1": 1e-9, "t2": 1e-9}
    asked = [propose(model, P, aim, q, guard={"t1": g, "t2": g}) for g in (0, 0.02, 0.1, 1.0)]
    assert all(a.predicted.loc["t0", "value"] >= b.predicted.loc["t0", "value"] - 1e-7 for a, b in zip(asked, asked[1:]))
    assert asked[0].predicted.loc["t0", "value"] <= asked[0].predicted.loc["t0", "under the prior"] + 1e-6


def test_stability_is_wide_where_noise_is_and_takes_what_propose_takes():
    model, P, Y, q = _fitted(LogLinearLaw())
    noisy = Y + np.random.default_rng(1).normal(0, 0.3, Y.shape)
    spread = [stability(MixtureRegressor(LogLinearLaw()).fit(P, y), P, y, n=8, prior=q, kl=0.1, upper={"d0": 0.3}).std().mean() for y in (Y, noisy)]
    assert spread[1] > 2 * spread[0]
    with pytest.raises(ValueError, match="no domain 'nope'"): stability(model, P, Y, n=2, upper={"nope": 0.1})


def test_the_front_is_a_front():
    model, P, _, q = _fitted(LogLinearLaw())
    trade = front(model, ["t0"], ["t1", "t2"], n=9, upper={"d0": 0.5})
    assert trade["first"].is_monotonic_decreasing and trade["second"].is_monotonic_increasing and (trade["d0"] <= 0.5 + 1e-6).all()
    with pytest.raises(ValueError, match="targets of their own"): front(model, ["t0"], ["t0"])
    with pytest.raises(ValueError, match="no target 'x'"): front(model, ["t0"], ["x"])


@pytest.mark.parametrize("estimator", [LogLinearLaw(), "ridge"])
def test_a_domain_that_the_prior_lacks_may_be_pinned(estimator):
    model, P, *_ = _fitted(estimator)
    q = pd.Series([1.0, 0, 1, 1, 1, 1], P.columns)
    shut = propose(model, P, prior=q, kl=2, upper={"d1": 0.0}).mixture
    held = propose(model, P, prior=q, kl=2, upper={"d1": 0.1}, lower={"d1": 0.1}).mixture
    assert shut["d1"] == 0 and abs(held["d1"] - 0.1) < 1e-9 and (held.drop("d1") > 0.01).sum() >= 2


def test_the_optimum_of_a_line_is_its_corner():
    for seed in range(2):
        model, P, _, q = _fitted("ridge", d=17, n=200, seed=seed)
        slopes = sum(m.coef_ for m in model.models_)
        assert propose(model, P).mixture.iloc[slopes.argmin()] > 0.9999
        free, near = (propose(model, P, prior=q, kl=k).predicted["value"].sum() for k in (0.0, 0.05))
        assert free <= near + 1e-9


@pytest.mark.parametrize("factor", [1e-4, 1, 1e6])
def test_the_unit_of_the_losses_does_not_matter(factor):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        A, q = rng.normal(0, 1, (3, 12)), rng.dirichlet(np.ones(12))
        p, gap = lowest(A, np.full(3, factor), q, 0.1 * factor, upper=np.minimum(1, 5 * q))
        assert gap < 1e-5 * factor and np.abs(p - lowest(A, None, q, 0.1, upper=np.minimum(1, 5 * q))[0]).max() < 1e-4


def test_the_gap_bounds_what_any_other_mixture_gains():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        A = rng.normal(0, 1, (3, 6))
        p, gap = lowest(A)
        assert np.exp(A @ p).sum() - np.exp(rng.dirichlet(np.full(6, 0.3), 100_000) @ A.T).sum(1).min() <= gap


def test_resamples_that_cannot_be_solved_are_counted_and_left_out():
    class Fails(LogLinearLaw):
        def fit(self, X, y):
            if len(np.unique(X, axis=0)) % 2: raise ValueError("odd")
            return super().fit(X, y)
    _, P, Y, q = _fitted(LogLinearLaw())
    model = MixtureRegressor(LogLinearLaw()).fit(P, Y)
    model.estimator = Fails()
    with pytest.warns(UserWarning, match="of 12 resamples of the runs cannot be solved, and are left out: odd"): found = stability(model, P, Y, n=12)
    assert 0 < len(found) < 12 and not found.equals(stability(MixtureRegressor(LogLinearLaw()).fit(P, Y), P, Y, n=len(found), seed=9))


@pytest.mark.parametrize("asked, message", [(dict(guard=0.1), "give one"), (dict(worst=True), "give one"), (dict(importance={"t9": 1}), "no target 't9'"),
                                            (dict(importance={"t0": 0, "t1": 1, "t2": 1}), "above 0"), (dict(prior=pd.Series({"d0": 1.0}), kl=1), "no weight for 'd1'"),
                                            (dict(prior=pd.Series([1.0, 0, 1, 1, 1, 1], [f"d{i}" for i in range(6)]), kl=1), "the prior is 0 for 'd1'"),
                                            (dict(prior=pd.Series([1.0, -1, 1, 1, 1, 1], [f"d{i}" for i in range(6)])), "the prior of 'd1' is -"),
                                            (dict(guard={"t7": 1}, prior=pd.Series(1 / 6, [f"d{i}" for i in range(6)])), "guard: no target 't7'")])
def test_what_cannot_be_asked_is_refused(asked, message):
    model, P, *_ = _fitted(LogLinearLaw())
    with pytest.raises(ValueError, match=message): propose(model, P, **asked)


@pytest.mark.parametrize("estimator", [LogLinearLaw(), "ridge"])
def test_groups_ratios_distance_and_floor_are_kept(estimator):
    model, P, _, q = _fitted(estimator)
    free = propose(model, P, prior=q)
    value = lambda found: found.predicted["value"].sum()
    first = free.mixture.nlargest(2).index
    pattern = f"[{first[0][0]}][{first[0][1]}{first[1][1]}]"
    for asked, kept in (({"upper": {pattern: 0.3}}, lambda p: p[first].sum() <= 0.3 + 1e-5), ({"lower": {pattern: 0.3}, "upper": {pattern: 0.3}}, lambda p: abs(p[first].sum() - 0.3) < 1e-4),
                        ({"within": 0.15}, lambda p: (p - q).abs().sum() / 2 < 0.15 + 1e-5), ({"within": 0.15, "kl": 0.01}, lambda p: (p - q).abs().sum() / 2 < 0.15 + 1e-5),
                        ({"floor": 0.05}, lambda p: p.min() > 0.05 - 1e-9), ({"keep_ratios": ["d[0-2]"]}, lambda p: np.ptp((p / q)[:3]) < 1e-5 * (p / q).iloc[0]),
                        ({"within": 0.2, "worst": True, "guard": 0.01, "floor": 0.02, "support": P}, lambda p: p.min() > 0.02 - 1e-9 and (p - q).abs().sum() / 2 < 0.2 + 1e-5))[::1 if isinstance(estimator, LogLinearLaw) else 2]:
        found = propose(model, P, prior=q, **asked)
        p = found.mixture
        assert abs(p.sum() - 1) < 1e-6 and kept(p), asked
        if set(asked) & {"worst", "kl"}: continue
        rng = np.random.default_rng(0)                                    # nothing between the answer and other mixtures that keep the limits is better
        others = pd.DataFrame([0.7 * p + 0.3 * x for x in rng.dirichlet(np.ones(6) * 0.3, 400)], columns=P.columns)
        others = others[[bool(kept(x)) for _, x in others.iterrows()]]
        if len(others): assert value(found) <= model.predict(others).sum(1).min() + 1e-4


@pytest.mark.parametrize("asked, message", [(dict(upper={"d*": 0.5}), "no mixture keeps the limits of the groups"), (dict(upper={"e*": 0.5}), "no domain 'e\\*'"), (dict(floor=0.2), "floor = 0.2: give at least 0 and at most 0.1667"),
                                            (dict(floor=0.1, upper={"d1": 0.05}), "d1 has a lower limit above"), (dict(within=0.1), "are measured from a prior"), (dict(within=0, prior=pd.Series(1 / 6, [f"d{i}" for i in range(6)])), "within = 0"),
                                            (dict(keep_ratios=["d[12]"]), "ratios are kept as they are in the prior"),
                                            (dict(lower={"d0": 0.5}, available={"d0": 1e6}, tokens=1e7, epochs=4), "its lower limit is 0.5, and its tokens allow 0.4 at most: 1,000,000 at hand, each read at most 4 times")])
def test_limits_that_cannot_be_kept_say_where_they_come_from(asked, message):
    model, P, *_ = _fitted(LogLinearLaw())
    with pytest.raises(ValueError, match=message): propose(model, P, **asked)
