"""Laws: derivatives are right, order and names do not matter, bad tables are refused, small tables do not break them."""
import warnings

import numpy as np
import pandas as pd
import pytest

import regmix.laws
from regmix.laws import (LAWS, AboveBest, AutoScale, BiMix, LawSpec, LogLinearLaw, MixingLaw, OwnWeight, convex_terms, fit_laws, fit_starts, law_named, 
                         make_law, predictive_sd, spread, usual_slope)
from regmix.regression import MixtureRegressor
from regmix.swarms import Swarm, long_losses

FORMULAS = [OwnWeight(1), BiMix(1), LogLinearLaw(), MixingLaw(), AutoScale()]


def name(law): return type(law).__name__


def mixtures(n=60, d=4, seed=0): return np.random.default_rng(seed).dirichlet(np.full(d, 0.6), n)


def losses(P, seed=0): return 2 + np.exp(P @ np.linspace(0.2, 1.1, P.shape[1])) + np.random.default_rng(seed).normal(0, 0.01, len(P))


@pytest.mark.parametrize("law", FORMULAS, ids=name)
def test_derivatives_are_those_of_the_formula(law):
    P = np.maximum(mixtures(20), 1e-6)
    theta = law._begin(P, losses(P), np.random.default_rng(0))[-1:]
    fixed = isinstance(law, MixingLaw)   # its last parameter is a sign
    _, J = law._law(theta, P)
    for i in range(theta.shape[1] - fixed):
        up, down = theta.copy(), theta.copy()
        up[0, i] += 1e-6; down[0, i] -= 1e-6
        slope = (law._law(up, P)[0] - law._law(down, P)[0]) / 2e-6
        assert np.allclose(J[..., i], slope, rtol=1e-4, atol=1e-6), i


@pytest.mark.parametrize("law", FORMULAS[2:], ids=name)
def test_derivatives_are_those_of_the_prior(law):
    P = mixtures(20)
    theta = law._begin(P, losses(P), np.random.default_rng(0))[-2:]
    _, K = law._prior(theta, P, 0.7)
    for i in range(theta.shape[1] - isinstance(law, MixingLaw)):
        up, down = theta.copy(), theta.copy()
        up[:, i] += 1e-6; down[:, i] -= 1e-6
        slope = (law._prior(up, P, 0.7)[0] - law._prior(down, P, 0.7)[0]) / 2e-6
        assert np.allclose(K[..., i], slope, rtol=1e-4, atol=1e-6), i


@pytest.mark.parametrize("law", FORMULAS, ids=name)
def test_a_fit_is_a_lowest_point_and_the_same_again(law):
    P, y = mixtures(), losses(mixtures())
    fitted = law.fit(P, y)
    once, loss = fitted.predict(P), fitted.loss_
    for seed in range(5):   # nothing near is lower
        near = fitted.theta_ + np.random.default_rng(seed).normal(0, 1e-3, fitted.theta_.shape)
        if isinstance(law, MixingLaw): near[-1] = fitted.theta_[-1]
        r, q = np.abs(law._law(near[None], P)[0][0] - y), law._prior(near[None], P, usual_slope(P, y))[0][0]
        runs, prior = np.where(r <= 0.02, r * r / 2, 0.02 * (r - 0.01)).sum(), ((0.02 * q) ** 2 / 2).sum()
        if law.noise_ < 0.03: assert (runs + prior) / (len(r) + len(q)) >= loss * (1 - 1e-6)
    assert np.array_equal(law.fit(P, y).predict(P), once)


@pytest.mark.parametrize("law", ["log-linear", "mixing law", "AutoScale", "quadratic ridge"])
def test_the_order_of_domains_and_runs_does_not_matter(law):
    names = list("abcd")
    P = pd.DataFrame(mixtures(), columns=names).rename(index=str)
    y = pd.Series(losses(P.to_numpy()), P.index, name="a")
    fit = lambda P, y: MixtureRegressor(make_law(law, list(P.columns), "a")).fit(P, y).predict(P)
    again = fit(P.iloc[::-1, ::-1], y.iloc[::-1])[::-1]
    assert np.abs(again - fit(P, y)).max() < (2e-3 if law == "AutoScale" else 1e-4)   # its starts are drawn by column


@pytest.mark.parametrize("name", list(LAWS))
def test_five_domains_and_twenty_runs(name, recwarn):
    names = list("abcde")
    P = pd.DataFrame(mixtures(20, 5), columns=names).rename(index=str)
    y = pd.Series(losses(P.to_numpy()), P.index, name="a")
    predicted = MixtureRegressor(make_law(name, names, "a")).fit(P, y).predict(P)
    assert np.isfinite(predicted).all() and predicted.min() > 1


@pytest.mark.parametrize("name", ["log-linear", "mixing law", "AutoScale", "BiMix", "quadratic ridge", "Gaussian process"])
def test_a_domain_that_is_never_read_and_a_loss_that_never_changes(name, recwarn):
    P = pd.DataFrame(np.c_[mixtures(40, 4), np.zeros(40)], columns=list("abcde")).rename(index=str)
    y = pd.Series(losses(P.to_numpy()), P.index, name="a")
    assert np.isfinite(MixtureRegressor(make_law(name, list(P), "a")).fit(P, y).predict(P)).all()
    flat = MixtureRegressor(make_law(name, list(P), "a")).fit(P, y * 0 + 3).predict(P)
    assert np.allclose(flat, 3, atol=1e-3)


def narrow(n, noise, seed=0, d=6):
    "Runs that lie close together; the last domain has hardly any weight in any of them. The slope of a unit of spread."
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(60 * np.array([0.3, 0.25, 0.2, 0.15, 0.09, 0.01]), n)
    trend = P @ rng.normal(0, 1, d)
    y = 3 + 0.1 * ((trend - trend.mean()) / trend.std() * np.sqrt(1 - noise ** 2) + noise * rng.normal(size=n))
    return P, y, usual_slope(P, y)


@pytest.mark.parametrize("name", ["ridge", "quadratic ridge", "mixing law", "log-linear", "AutoScale", "Gaussian process"])
@pytest.mark.parametrize("n, noise", [(14, 0.9), (160, 0.9)])
def test_few_or_narrow_runs_do_not_blow_a_law_up(name, n, noise):
    for seed in range(2):
        P, y, slope = narrow(n, noise, seed)
        for sign in (1, -1):
            if sign < 0 and name == "log-linear": continue
            law = LAWS[name].scaled(list("abcdef"), "a", sign * y).fit(P, sign * y)
            corners, sd = law.predict(np.eye(6)), predictive_sd(law, np.eye(6))
            assert np.abs(corners - sign * y.mean()).max() < 20 * slope and not np.isinf(sd).any()


@pytest.mark.parametrize("law", [LogLinearLaw(), MixingLaw(), AutoScale()], ids=name)
def test_the_prior_is_weak_where_runs_cover_the_simplex(law, monkeypatch):
    P, y, new = mixtures(200), losses(mixtures(200)), mixtures(300, seed=1)
    held = law.fit(P, y).predict(new)
    monkeypatch.setattr(type(law), "_prior", regmix.laws.Law._prior)
    assert np.sqrt(((law.fit(P, y).predict(new) - held) ** 2).mean()) < 0.1 * 0.01     # a tenth of the noise


def test_scores_instead_of_losses():
    "A metric where higher is better may be negative; the laws that need a positive loss say so, and which one does not."
    P, y = mixtures(), -losses(mixtures())
    assert np.abs(MixingLaw(huber=0.02).fit(P, y).predict(P) - y).max() < 0.1
    with pytest.raises(ValueError, match="take MixingLaw"): LogLinearLaw().fit(P, y)
    shifted = AboveBest(LogLinearLaw(), best=-10.0).fit(P, y)
    assert np.allclose(shifted.predict(P) + 10, LogLinearLaw().fit(P, y + 10).predict(P)) and np.isfinite(predictive_sd(shifted, P)).all()
    a, floor = convex_terms(shifted)
    assert np.allclose(floor + np.exp(P @ a), shifted.predict(P)) and np.isnan(predictive_sd(AboveBest(make_law("ridge", list("abcd"), "a")).fit(P, y), P)).all()


def test_every_start_may_fail_and_it_is_said():
    class Lost(LogLinearLaw):
        def _begin(self, X, y, rng): return super()._begin(X, y, rng) * np.nan
    with pytest.raises(ValueError, match="no start led anywhere"): Lost().fit(mixtures(), losses(mixtures()))


def test_starts_do_not_touch_each_other():
    P, y = mixtures(), losses(mixtures())
    law = LogLinearLaw()
    starts = law._begin(P, y, np.random.default_rng(0))
    together, loss = fit_starts(law._law, starts, P, y)
    for k in (0, 3):
        alone, one = fit_starts(law._law, starts[k:k + 1], P, y)
        assert np.allclose(alone[0], together[k], atol=1e-6) and np.isclose(one[0], loss[k])
    broken = starts.copy(); broken[1] = np.nan
    assert np.isinf(fit_starts(law._law, broken, P, y)[1][1]) and np.isclose(fit_starts(law._law, broken, P, y)[1][0], loss[0])


def _toy_swarms(n=90, d=4, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"d{i}" for i in range(d)]
    P = pd.DataFrame(rng.dirichlet(np.ones(d), n), columns=names, index=[f"r{i}" for i in range(n)])
    L = pd.DataFrame({t: 2 + np.exp(P.to_numpy() @ rng.normal(0, 0.7, d)) + rng.normal(0, 0.01, n) for t in names[:2]}, index=P.index)
    swarm = Swarm("toy", P, long_losses(L, 1))
    return swarm.subset(P.index[:60], "fit"), swarm.subset(P.index[60:], "unseen")


def test_the_panel_asks_all_laws_the_same_and_does_not_depend_on_workers():
    train, unseen = _toy_swarms()
    laws = ("own weight", "ridge", "log-linear", "Gaussian process on roots")
    one, seconds = fit_laws(train, [unseen], laws=laws, sizes=(20, 60), repeats=2, seed=3, n_jobs=1)
    two, _ = fit_laws(train, [unseen], laws=laws, sizes=(20, 60), repeats=2, seed=3, n_jobs=2)
    pd.testing.assert_frame_equal(one, two)
    assert len(seconds) == len(laws) * 2 and list(one["law"].unique()) == list(laws)
    assert one.groupby(["law", "target", "size", "repeat"]).size().eq(30).all() and all(sorted(set(g)) == [20, 60] for _, g in one.groupby(["law", "target"])["size"])
    whole = one[one["size"] == 60]
    assert whole.loc[whole["law"] == "ridge", "sd"].isna().all() and whole.loc[whole["law"] != "ridge", "sd"].gt(0).all()
    direct = MixtureRegressor(make_law("log-linear", train.domains, "d1")).fit(*train.xy("d1")).predict(unseen.mixtures)
    assert np.allclose(whole[(whole["law"] == "log-linear") & (whole["target"] == "d1")]["predicted"], direct)


def test_a_process_knows_its_noise_and_trees_know_none():
    train, unseen = _toy_swarms()
    X, y = (t.to_numpy() for t in train.xy("d0"))
    sd = {n: predictive_sd(make_law(n, train.domains, "d0").fit(X, y), unseen.mixtures.to_numpy()) for n in ("Gaussian process", "Gaussian process on roots", "log-linear", "lightgbm")}
    assert np.isnan(sd.pop("lightgbm")).all() and all(0.005 < s.mean() < 0.03 for s in sd.values())


def _own_kind(name, d, rng):
    "A function of the kind that a regression from the shelf is made for."
    w, Q = rng.normal(0, 1, d), rng.normal(0, 1, (d, d))
    A, b, c = rng.normal(0, 2, (d, 40)), rng.uniform(0, 6.3, 40), rng.normal(0, 0.2, 40)
    smooth = lambda X: np.cos(X @ A + b) @ c
    steps = lambda X: (X[:, 0] > 0.2) * 0.8 - (X[:, 1] > 0.3) * 0.5 + (X[:, 2] > 0.1) * 0.4
    return {"ridge": lambda X: X @ w, "quadratic ridge": lambda X: X @ w + ((X @ Q) * X).sum(1), "Gaussian process": smooth,
            "Gaussian process on roots": lambda X: smooth(np.sqrt(X)), "lightgbm": steps, "stack": lambda X: 1 + np.exp(X @ w)}[name]


@pytest.mark.parametrize("name", ["ridge", "quadratic ridge", "Gaussian process", "Gaussian process on roots", "lightgbm", "stack"])
def test_regressions_from_the_shelf_recover_their_own_kind(name):
    rng, d, noise = np.random.default_rng(0), 5, 0.02
    truth = _own_kind(name, d, rng)
    X, new = rng.dirichlet(np.ones(d), 400), rng.dirichlet(np.ones(d), 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = make_law(name, [f"d{i}" for i in range(d)], "d0").fit(X, truth(X) + rng.normal(0, noise, 400))
    off = np.sqrt(((fitted.predict(new) - truth(new)) ** 2).mean())
    assert off < {"lightgbm": 5, "Gaussian process": 1.5, "Gaussian process on roots": 1.5}.get(name, 1) * noise and off < 0.2 * truth(new).std()


def test_a_law_is_added_in_one_place(monkeypatch):
    from sklearn.dummy import DummyRegressor
    monkeypatch.setitem(LAWS, "mean", LawSpec("mean", lambda domains, target: DummyRegressor(), None, lambda d: 3))
    train, unseen = _toy_swarms()
    found, _ = fit_laws(train, [unseen], laws=["mean", "own weight"], n_jobs=1)
    assert list(found["law"].unique()) == ["mean", "own weight"] and found.loc[found["law"] == "mean", "predicted"].nunique() == 2
    assert not LAWS["mean"].exact and LAWS["mean"].least_runs(5) == 3


def test_an_old_name_answers_with_a_note():
    with pytest.warns(DeprecationWarning, match="is now called 'Gaussian process on roots'"): assert law_named("Gaussian process, roots").name in LAWS
    with pytest.warns(DeprecationWarning, match="regmix.laws.fit_laws"): assert regmix.laws.panel is fit_laws
    with pytest.raises(ValueError, match="no law 'panel'; choose from "): law_named("panel")
    assert not any("," in name for name in LAWS)


@pytest.mark.parametrize("name", list(LAWS))
def test_what_the_registry_says_of_a_law_is_so(name, recwarn):
    law, names = LAWS[name], list("abcde")
    P = pd.DataFrame(mixtures(60, 5), columns=names)
    y = 100 * losses(P.to_numpy())
    fitted = law.scaled(names, "a", y).fit(P.to_numpy(), y)
    assert (convex_terms(fitted) is not None) == law.exact
    if law.parameters and name != "mixing law": assert fitted.theta_.size == law.parameters(5)
    if law.parameters: assert law.least_runs(5) > law.parameters(5)
    sized = {k: v for k, v in fitted.get_params().items() if k.endswith("huber")}
    assert all(np.isclose(v, 0.1 * spread(y)) for v in sized.values()) and bool(sized) == (law.scale is not None)
    if law.exact:
        a, floor = law.terms(fitted)
        assert np.allclose(floor + np.exp(P.to_numpy() @ a), fitted.predict(P.to_numpy()))
