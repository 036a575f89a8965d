"""The choice of a law: no rho out of nothing, differences in pairs, a rule that a table can be asked, and a folder that is never lost."""
import functools
import json
import os
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.dummy import DummyRegressor

import regmix.choice as choice
import regmix.laws as laws
from regmix.choice import (COLUMNS, LawRegressor, best_possible, best_ranked, choose, compare_laws, fit_given, fit_swarm,
                           is_noise, load_fit, make_folds, measured_on, not_told_apart, out_of_fold, predict_unseen,
                           regret_draws, rho_behind, save_fit, scaled_law, score_unseen, why_chosen, write_fit)
from regmix.files import load_result, new_result, seal, write_tables
from regmix.laws import LAWS, LawSpec, in_unit_of, spread
from regmix.measures import rho_interval
from regmix.swarms import Swarm, long_losses
from regmix.tables import Metric, as_plain

DOMAINS = ["web", "code", "sums", "news", "talk"]


def toy(n=40, seed=0, noise=0.02):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.dirichlet(np.ones(5), n), columns=DOMAINS, index=pd.Index([f"r{i}" for i in range(n)], name="run"))
    return X, pd.Series(2 + np.exp(X.to_numpy() @ [-1.0, 0.5, -3.0, 0.2, 1.0]) + rng.normal(0, noise, n), X.index, name="web")


def swarm(X, Y): return Swarm("toy", X, long_losses(pd.DataFrame(Y), 1))


@pytest.mark.parametrize("law", ["ridge", "log-linear"])   # two others in the chapter
def test_pure_noise_has_no_rho(law, monkeypatch):
    monkeypatch.setattr(laws, "fit_starts", functools.partial(laws.fit_starts, tolerance=1e-3))   # through noise every step gains a little
    plain, fair = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X, y = pd.DataFrame(rng.dirichlet(np.ones(5), 40), columns=DOMAINS), pd.Series(rng.normal(3, 0.3, 40), name="web")
        for found, p in zip((plain, fair), out_of_fold(law, X, y, make_folds(X, seed=seed))): found.append(spearmanr(p, y)[0])
    assert np.mean(plain) < -0.05 and abs(np.mean(fair)) < 0.1 and np.mean(fair) > np.mean(plain) + 0.04, (np.mean(plain), np.mean(fair))   # three standard errors


def made_of(regressor):
    "A law that is a regressor of the kind given."
    return LawSpec("any", lambda domains, target: regressor(), None, lambda d: 3, scale=in_unit_of)


def test_a_law_that_predicts_the_mean_of_what_it_has_seen_takes_no_part(monkeypatch):
    X, y = toy()
    assert compare_laws(X[:44], y[:44], laws=["own weight", "lightgbm"])[0].set_index("law").loc["lightgbm", "left_out"].startswith("needs at least")
    monkeypatch.setattr(choice, "law_named", lambda name: made_of(DummyRegressor))
    table, predictions = compare_laws(X, y, laws=["ridge"])
    assert table["left_out"].tolist() == ["predicts the same for every mixture"] and predictions.empty
    with pytest.raises(ValueError, match="no law can be fitted on these runs; ridge predicts the same"): choose(table)


def test_predictions_are_shown_as_they_are_and_the_rmse_is_theirs():
    X, y = toy()
    fold = make_folds(X)
    p, ranked = out_of_fold("ridge", X, y, fold)
    law = scaled_law("ridge", DOMAINS, "web", y)
    for k in np.unique(fold):
        fitted = clone(law).fit(X[fold != k].to_numpy(), y[fold != k].to_numpy())
        assert np.array_equal(p[fold == k], fitted.predict(X[fold == k].to_numpy()))
        assert np.allclose(ranked[fold == k], p[fold == k] - y[fold != k].mean() + y.mean())     # least squares: the mean of what was fitted on
    table, found = compare_laws(X, y, laws=["ridge"])
    assert np.array_equal(found["ridge"], p) and np.isclose(table["rmse"][0], np.sqrt(((p - y) ** 2).mean())) and np.isclose(table["rho"][0], spearmanr(ranked, y)[0])


@pytest.mark.parametrize("higher", [False, True])
def test_regret_is_what_the_first_pick_costs_among_resampled_runs(higher):
    X, y = toy(noise=0.3)
    y = 50 - 10 * y if higher else y
    metric = Metric("web", higher=higher)
    loss = metric.as_loss(y)
    for law in ("own weight", "ridge"):
        _, ranked = out_of_fold(law, X, loss, make_folds(X))
        found, rng = [], np.random.default_rng(0)
        for _ in range(400):
            picks = rng.integers(0, len(y), len(y))
            found.append(loss.iloc[picks[ranked[picks].argmin()]] - loss.iloc[picks].min())
        got = compare_laws(X, y, metric, [law])[0]["regret"][0]
        assert abs(got - np.mean(found)) < 4 * np.std(found) / 20 and got > 0
    assert regret_draws(loss, loss.to_numpy()).max() == 0, "who ranks as was measured loses nothing"


def pit(seed, n=60):
    "A slope under heavy noise nearly everywhere, and one small region of good runs."
    rng = np.random.default_rng(seed)
    X = rng.dirichlet(np.ones(4), n)
    truth = lambda X: 3 + 0.5 * X[:, 2] - np.exp(-((X - [0.4, 0.4, 0.1, 0.1]) ** 2).sum(1) / 0.03)
    return pd.DataFrame(X, columns=list("abcd")), pd.Series(truth(X) + rng.normal(0, 0.1, n), name="loss"), truth


@pytest.mark.parametrize("seed", [0, 1])
def test_a_law_that_ranks_well_and_chooses_badly_is_not_chosen(seed):
    X, y, truth = pit(seed)
    table, _ = compare_laws(X, y, laws=["log-linear", "ridge", "Gaussian process"])
    told, new = table.set_index("law"), np.random.default_rng(9).dirichlet(np.ones(4), 2000)
    assert told.loc["Gaussian process", "rho"] < told.loc["log-linear", "rho"] and "log-linear" in [best_ranked(table), *not_told_apart(table)]
    assert choose(table) == "Gaussian process" and told.loc["log-linear", "regret_more"] > told.loc["log-linear", "spread"] / 4
    cost = {law: np.ptp(truth(new)[[scaled_law(law, list(X), "loss", y).fit(X.to_numpy(), y.to_numpy()).predict(new).argmin(), truth(new).argmin()]])
            for law in ("log-linear", "Gaussian process")}
    assert cost["Gaussian process"] < 0.15 < 0.8 < cost["log-linear"]
    assert why_chosen(table, "Gaussian process").endswith("its first choice costs less")


def test_laws_are_told_apart_in_pairs():
    draw = np.random.default_rng(0)
    truth = pd.Series(draw.normal(size=100))
    good = truth + draw.normal(0, 0.5, 100)
    ranked = pd.DataFrame({"good": good, "worse": good + draw.normal(0, 0.25, 100)})
    assert rho_interval(truth, ranked["worse"]).value > rho_interval(truth, ranked["good"]).low       # a point within an interval: the old rule
    behind = rho_behind(truth, ranked, "good")
    assert behind.loc["worse", "behind_low"] > 0 and (behind.loc["good"] == 0).all()
    lucky = rho_behind(truth, ranked.assign(other=truth + draw.normal(0, 0.5, 100)), "good")
    assert lucky.loc["other", "behind_low"] < 0 < lucky.loc["worse", "behind_low"]


def rows(*given): return pd.DataFrame([dict.fromkeys(COLUMNS) | dict(zip(("target", "law", "rho", "behind_low", "rmse", "left_out"), ("t", *r))) for r in given])


@pytest.mark.parametrize("table, law", [
    ([("ridge", 0.95, 0, 1), ("log-linear", 0.94, -0.01, 1)], "log-linear"),
    ([("ridge", 0.95, 0, 1), ("log-linear", 0.90, 0.01, 1)], "ridge"),
    ([("ridge", 0.95, 0, 1), ("mixing law", 0.94, -0.01, 1), ("log-linear", 0.90, 0.01, 1)], "mixing law"),
    ([("mixing law", 0.95, 0, 1), ("log-linear", 0.95, 0, 2)], "log-linear"),
    ([("ridge", 0.95, 0, 1), ("quadratic ridge", 0.94, -0.1, 1), ("log-linear", np.nan, np.nan, 1, "fails")], "ridge"),
    ([("ridge", 0.95, 0, 1), ("log-linear", 0.94, -0.01, 79)], "ridge"),
    ([("ridge", 0.95, 0, 1), ("log-linear", 0.94, -0.01, 79), ("mixing law", 0.93, -0.01, 1.9)], "mixing law"),
    ([("ridge", 0.95, 0, 2), ("lightgbm", 0.95, 0, 1)], "lightgbm")])
def test_the_rule(table, law): assert choose(rows(*table)) == law


@pytest.mark.parametrize("more, low, law", [
    ((0, 0.3), (0.5, 0.5), "ridge"),         # its choice costs more than a quarter of what the runs differ
    ((0, 0.2), (0.5, 0.5), "log-linear"),
    ((0.3, 0), (0.5, 0.5), "log-linear"),
    ((9.0, 9.2), (0.5, 0.5), "log-linear"),  # a law that was told apart may be cheaper: it is not what is measured from
    ((0, 0), (0.5, -0.1), "ridge"),          # it may rank by chance
    ((0, 0), (-0.1, -0.1), "log-linear")])   # as may all
def test_the_rule_on_costs_and_chance(more, low, law):
    table = rows(("ridge", 0.95, 0, 1), ("log-linear", 0.94, -0.01, 1)).assign(regret_more=more, spread=1.0, low=low)
    assert choose(table) == law and is_noise(table) == (max(low) < 0)
    assert choose(table.sample(frac=1, random_state=1)) == law


def test_what_is_not_told_apart_is_measured_from_the_highest_rho():
    table = rows(("ridge", 0.95, 0, 1), ("log-linear", 0.94, -0.01, 1), ("stack", 0.93, -0.02, 1), ("BiMix", 0.5, 0.2, 1))
    assert best_ranked(table) == "ridge" and not_told_apart(table) == ["log-linear", "stack"]


def test_the_rule_in_a_fit_and_one_named_law(tmp_path):
    X, y = toy(noise=0.2)
    fit = fit_swarm(swarm(X, {"web": y}), ["web"], ["quadratic ridge", "log-linear", "own weight"])
    assert fit.laws["web"] == "log-linear" and fit_swarm(swarm(X, {"web": y}), ["web"], ["ridge"]).laws["web"] == "ridge"
    told = json.loads((save_fit(fit, tmp_path/"fit")/"fit.json").read_text())
    assert "or one that these runs do not tell from it" in told["rule"] and {"behind_low", "behind_high", "regret", "regret_more"} <= set(told["comparison"][0])
    back = load_fit(tmp_path/"fit")
    assert choose(back.comparison) == "log-linear" and not_told_apart(back.comparison) == not_told_apart(fit.comparison)


@pytest.mark.parametrize("law", [name for name, law in LAWS.items() if law.parameters])
def test_units_do_not_matter(law):
    X, y = toy()
    if law == "AutoScale" and "scale" not in scaled_law(law, DOMAINS, "web", y).get_params(): pytest.skip("AutoScale has no scale yet")
    fold = make_folds(X)
    plain = out_of_fold(law, X, y, fold)[0]
    for unit in (0.01, 100): assert np.abs(out_of_fold(law, X, unit * y, fold)[0] / unit - plain).max() < 1e-3 * y.std(), unit


def test_a_law_with_a_scale_is_given_the_spread(monkeypatch):
    class Scaled(DummyRegressor):
        def __init__(self, huber=0.02, scale=1.0): self.huber, self.scale = huber, scale
    monkeypatch.setattr(choice, "law_named", lambda name: made_of(Scaled))
    y = np.random.default_rng(0).normal(0, 5, 50)
    law = scaled_law("any", DOMAINS, "web", y)
    assert np.isclose(law.scale, 1.4826 * np.median(np.abs(y - np.median(y)))) and np.isclose(law.huber, 0.1 * law.scale)


def test_one_broken_run_leaves_the_others_alone():
    X, y = toy()
    off = y.where(y.index != "r7", y + 1000)
    assert abs(spread(off) - spread(y)) < 0.1 * spread(y) and spread([2, 2, 2, 5]) == np.std([2, 2, 2, 5])
    for law in ("log-linear", "own weight"):
        a, b = (np.delete(out_of_fold(law, X, v, make_folds(X))[0], 7) for v in (y, off))
        assert np.abs(a - b).max() < 0.05
    assert compare_laws(X, off, laws=["log-linear"])[0]["rho"][0] > 0.9


def test_each_target_keeps_its_law_when_cloned():
    X, y = toy()
    Y = pd.DataFrame({"a": y, "b": 3 - y, "c": y ** 2})
    model = LawRegressor({"a": "log-linear", "b": "ridge", "c": "quadratic ridge"}).fit(X, Y)
    again = clone(model).fit(X, Y)
    assert [type(m) for m in again.models_] == [type(m) for m in model.models_] and len({type(m) for m in model.models_}) == 3
    assert np.array_equal(model.predict(X), again.predict(X)) and again.models_[0].huber == 0.1 * spread(Y["a"])


@pytest.fixture
def fit():
    X, y = toy()
    return fit_swarm(swarm(X, {"web": y}), ["web"], ["own weight"])


def test_the_old_fit_stays_until_the_new_one_is_there(fit, tmp_path, monkeypatch):
    home = save_fit(fit, tmp_path/"fit")
    before = {p.name: p.read_bytes() for p in home.iterdir()}
    real = os.rename
    def fails(a, b):
        if b == home and ".old-" not in str(a): raise OSError("no space left")
        return real(a, b)
    monkeypatch.setattr(os, "rename", fails)
    monkeypatch.setattr("regmix.files._exchange", lambda a, b: False)     # a system that cannot exchange two folders
    with pytest.raises(OSError, match="no space"): save_fit(fit, home, overwrite=True)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in home.iterdir()} == before and [p.name for p in tmp_path.iterdir()] == ["fit"]
    save_fit(fit, home, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["fit"] and load_fit(home).laws == fit.laws


def test_a_target_called_run_is_kept_and_a_domain_refused(tmp_path):
    X, y = toy()
    fit = fit_swarm(swarm(X, {"run": y, "run_": 2 * y}), ["run", "run_"], ["ridge"])
    back = load_fit(save_fit(fit, tmp_path/"fit"))
    assert back.targets == ["run", "run_"] and list(back.values.index) == list(X.index) and back.values.index.name == "run"
    assert np.array_equal(back.values, fit.values) and np.array_equal(back.predict(X), fit.predict(X)) and np.array_equal(back.predictions, fit.predictions)
    with pytest.raises(ValueError, match="column 'run' looks like the names of the runs"): swarm(X.rename(columns={"news": "run"}), {"web": y})


@pytest.mark.parametrize("package", ["numpy", "scikit-learn", "lightgbm", None])
def test_other_versions_are_told(fit, tmp_path, package):
    home = save_fit(fit, tmp_path/"fit")
    told = json.loads((home/"fit.json").read_text())
    if package: told["versions"][package] = "0.1"
    told["versions"]["pandas"] = "0.1"        # of no concern
    (home/"fit.json").write_text(json.dumps(told))
    seal(home)                                # as if that version had written it
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        load_fit(home)
    said = [str(w.message) for w in said if "fitted with" in str(w.message)]
    assert len(said) == (package is not None) and all(f"{package} 0.1 (now " in s and "pandas" not in s for s in said)


def test_an_older_format_is_refused(fit, tmp_path):
    home = save_fit(fit, tmp_path/"fit")
    (home/"fit.json").write_text((home/"fit.json").read_text().replace('"format": 3', '"format": 2'))
    with pytest.raises(ValueError, match="this version reads format 3: fit again"): load_fit(home)
    (home/"fit.json").write_text('{"swarm": "authors/1m-train"}')        # what a stage once wrote
    with pytest.raises(ValueError, match="format None; this version reads format 3: fit again"): load_fit(home)


def test_something_that_is_no_fit_is_not_replaced(fit, tmp_path):
    (tmp_path/"other").mkdir()
    (tmp_path/"other"/"notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something that is no fit"): save_fit(fit, tmp_path/"other", overwrite=True)
    with pytest.raises(FileExistsError, match="--overwrite"): save_fit(fit, tmp_path/"other")
    assert (tmp_path/"other"/"notes.txt").read_text() == "mine"


@pytest.mark.parametrize("law", ["ridge", "lightgbm", "mixing law", "quadratic ridge"])
def test_a_loaded_fit_is_fitted_when_asked_and_says_the_same_to_the_last_bit(law, tmp_path):
    X, y = toy(n=60)
    fit = fit_swarm(swarm(X, {"web": y, "code": 5 - y}), [Metric("web"), Metric("code", higher=True)], [law])
    back = load_fit(save_fit(fit, tmp_path/"fit"))
    assert "model" not in vars(back), "loading fits nothing"
    assert back.predict(X).equals(fit.predict(X)) and np.array_equal(back.model.predict(X), fit.model.predict(X))
    assert back.model is back.model, "fitted once"


def test_a_given_law_is_fitted_as_the_papers_regression(tmp_path):
    "Stage 20's regression through a Fit: the same bits as MixtureRegressor, before and after loading, with settings of its own."
    from regmix.regression import MixtureRegressor, make_estimator
    X, y = toy(n=60)
    trees = make_estimator("lightgbm").set_params(n_estimators=30)
    for law, settings, plain in (("ridge", {}, "ridge"), ("lightgbm", {}, "lightgbm"), ("lightgbm", {"web": {"n_estimators": 30}}, trees)):
        fit = fit_given(swarm(X, {"web": y}), ["web"], law, settings)
        save_fit(fit, tmp_path/"fit", overwrite=True)
        want = MixtureRegressor(plain).fit(X, y).predict(X)
        for found in (fit, load_fit(tmp_path/"fit")): assert np.array_equal(found.model.predict(X), want)
    with pytest.raises(ValueError, match="no law 'cubic'; choose from"): fit_given(swarm(X, {"web": y}), ["web"], "cubic")


def test_a_fit_beside_a_stages_tables(tmp_path):
    X, y = toy(n=60)
    whole = swarm(X, {"web": y, "code": 5 - y})
    train, test = whole.subset(X.index[:45], "train"), whole.subset(X.index[45:], "test")
    fit = fit_given(train, ["web", "code"], "ridge", meta={"swarm": "toy"})
    unseen = predict_unseen(fit, test)
    assert list(unseen) == ["test", "run", "target", "true", "predicted"] and set(unseen["run"]) == set(X.index[45:])
    metrics = score_unseen(unseen, n_boot=200, seed=3)
    measured = measured_on(fit, unseen, n_boot=200, seed=3)
    rho = metrics[metrics["metric"] == "rho"].set_index("target")
    table = measured.comparison.set_index("target").loc[["web", "code"]]
    assert np.array_equal(table[["rho", "low", "high"]], rho.loc[["web", "code"], ["value", "low", "high"]])
    rmse = metrics[metrics["metric"] == "rmse"].set_index("target")["value"]
    assert np.allclose(table["rmse"], rmse.loc[["web", "code"]]) and (table["regret"] >= 0).all()
    with new_result("fits", "toy", {"swarm": "toy"}, tmp_path) as folder:
        write_fit(measured, folder)
        write_tables(folder, {"predictions": unseen, "metrics": metrics})
    result = load_result("fits", "toy", tmp_path)
    back = load_fit(result.folder)
    assert result.table("predictions").equals(unseen) and result.table("metrics").equals(metrics)
    assert back.meta["measured_on"] == "test" and back.meta["swarm"] == "toy" and back.predictions is None
    assert back.predict(X).equals(fit.predict(X)) and len(back.mixtures) == 45
    pd.testing.assert_frame_equal(back.comparison, measured.comparison)


def test_plain_values_are_json():
    held = {"a": [np.nan, -np.inf, np.float32(0.5)], "b": (np.int64(1), {"c": np.bool_(False)}), 3: "NaN"}
    assert json.loads(json.dumps(as_plain(held), allow_nan=False)) == {"a": [None, None, 0.5], "b": [1, {"c": False}], "3": "NaN"}


def test_noise_is_said_and_the_best_run_measured_is_the_answer(tmp_path):
    from regmix.proposals import caveats
    X, y = toy()
    noise = pd.Series(np.random.default_rng(3).normal(3, 0.1, len(X)), X.index, name="web")
    fit = fit_swarm(swarm(X, {"web": noise, "code": y}), ["web", Metric("code", higher=True)], ["quadratic ridge", "log-linear", "ridge"])
    assert fit.meta["noise"] == {"web": noise.idxmin()} and fit.best_run("code") == y.idxmax()
    assert fit.laws["web"] in LAWS and np.isfinite(fit.predict(X)).all(axis=None)
    assert f"the best run measured is {noise.idxmin()}" in fit.meta["notes"][-1] and fit.meta["notes"][-1].startswith("web: no law tells these runs apart")
    assert "does not rank unseen runs better than chance" in " ".join(caveats(fit))
    assert why_chosen(fit.comparison[fit.comparison["target"] == "web"], fit.laws["web"]) == "no law ranks unseen runs better than chance"
    assert load_fit(save_fit(fit, tmp_path/"fit")).meta["noise"] == fit.meta["noise"]


def test_noise_is_mostly_found_and_something_is_not_taken_for_noise():
    found = []
    for seed in range(10):
        X, y = toy(n=30, seed=seed, noise=0.1)
        luck = pd.Series(np.random.default_rng(seed).normal(3, 0.3, 30), X.index, name="web")
        found.append([is_noise(compare_laws(X, v, laws=["own weight", "ridge"])[0]) for v in (luck, y)])
    luck, some = np.mean(found, 0)
    assert luck >= 0.7 and some == 0


SCORES = [Metric("web", higher=True), Metric("web", higher=True, high=1.0), Metric("web", higher=True, low=0.0, high=1.0)]


@pytest.mark.parametrize("metric", SCORES, ids=lambda m: f"{m.low} to {m.high}")
def test_a_score_enters_every_law_as_what_is_missing(metric):
    X, y = toy()
    score = 1 - y / 6
    table, shown = compare_laws(X, score, metric, ["ridge", "log-linear", "BiMix", "mixing law"])
    assert table["left_out"].isna().all() and (table.set_index("law").loc[["log-linear", "BiMix", "mixing law"], "rho"] > [0.8, -1, 0.8]).all()
    assert shown["log-linear"].corr(score) > 0.9
    fit = fit_swarm(swarm(X, {"web": score}), [metric], ["log-linear"])
    fitted, top = fit.model.models_[0], 1.0 if metric.high else score.max() + np.ptp(score)
    exponents, floor = fitted.terms()      # its best mixture can be computed
    assert np.allclose(-(floor + np.exp(X.to_numpy() @ exponents)), fit.predict(X)["web"]) and -floor < top
    if metric.high: assert np.allclose(1 - fit.predict(X)["web"], fit_swarm(swarm(X, {"web": 1 - score}), ["web"], ["log-linear"]).predict(X)["web"], atol=1e-6)
    assert type(scaled_law("stack", DOMAINS, "web", -score, best_possible(metric, score))).__name__ == "AboveBest"


@pytest.mark.parametrize("shift", [-5.0, 0.0, 100.0])
def test_a_score_without_a_range_has_no_zero(shift):
    X, y = toy()
    fit = lambda v: fit_swarm(swarm(X, {"web": v}), [Metric("web", higher=True)], ["log-linear"]).predict(X)["web"]
    assert np.allclose(fit(shift - y) - shift, fit(-y), atol=1e-5)


@pytest.mark.parametrize("law", ["ridge", "quadratic ridge", "Gaussian process", "mixing law", "log-linear"])
def test_no_prediction_leaves_the_range(law, tmp_path):
    X, y = toy()
    corners = pd.DataFrame(np.eye(5), columns=DOMAINS)
    data = {"acc": 1 - 0.3 * (y - y.min()), "err": 0.3 * (y - y.min())}          # a score that reaches 1, an error that reaches 0
    metrics = [Metric("acc", higher=True, low=0, high=1), Metric("err", low=0.0)]
    fit = fit_swarm(swarm(X, data), metrics, [law])
    for found in (fit, load_fit(save_fit(fit, tmp_path/"fit"))):
        at = found.predict(corners)
        assert at["acc"].between(0, 1).all() and (at["err"] >= 0).all() and found.metrics["acc"] == metrics[0]
        assert np.allclose(at["acc"].clip(0, 1), 1 - at["err"].clip(0, 1), atol=1e-2)
    assert fit.as_measured("acc", np.array([-3.0, -0.5, 2.0])).tolist() == [1, 0.5, 0]


def test_a_value_outside_its_range_is_refused():
    X, y = toy()
    with pytest.raises(ValueError, match=r"target 'web': run 'r\d+' has [\d.]+, outside its range \(0 to 1; 40 such in all\)"):
        fit_swarm(swarm(X, {"web": y}), [Metric("web", higher=True, low=0, high=1)], ["ridge"])
