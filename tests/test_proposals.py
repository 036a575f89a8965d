"""Proposals: the same thing from Python, the shell and the stages; intervals that keep what was measured; caveats that speak when they must."""
import copy
import functools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from regmix.choice import fit_given, fit_swarm, load_fit, measured_on, predict_unseen, save_fit, write_fit
from regmix.files import load_result, new_result, write_tables
from regmix.optima import propose
from regmix.proposals import (CAVEATS, caveats, clean, describe_mixture, load_proposal, never_moved, plain_name, proposal_as_json,
                              proposal_tables, propose_fit, resampled_weights, save_proposal, support_line, told_of_fit, units_of, write_proposal)
from regmix.swarms import Swarm, long_losses
from regmix.tables import Metric


@functools.cache
def _toy(n, pinned, higher, slope):
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.dirichlet(np.ones(3), n), columns=["web", "code", "law"], index=pd.Index([f"r{i}" for i in range(n)], name="run"))
    if pinned: X = (0.8 * X).assign(wiki=0.2)
    y = 2 + np.exp(X[["web", "code", "law"]].to_numpy() @ [0.1, 1.0, 0.5]) * slope + rng.normal(0, 0.01, n)
    Y = pd.DataFrame({"loss": y, "acc": 90 - 10 * y}, X.index)
    return fit_swarm(Swarm("toy", X, long_losses(Y, 1)), [Metric("acc", higher=True)] if higher else ["loss"], ["mixing law", "ridge"])


def toy(n=40, pinned=False, higher=False, slope=1.0):
    "A fit that was made once: a copy, so that a test may change it."
    return copy.copy(_toy(n, pinned, higher, slope))


def test_higher_is_better_finds_the_same_mixture_and_shows_its_own_sign():
    low, high = propose_fit(toy()), propose_fit(toy(higher=True))
    assert (low.mixture - high.mixture).abs().max() < 1e-3
    p = high.predicted.loc["acc"]
    assert p["low"] < p["value"] < p["high"] and abs(p["value"] - (90 - 10 * low.predicted.loc["loss", "value"])) < 0.2
    prior = pd.Series(1 / 3, ["web", "code", "law"])
    with_prior = propose_fit(toy(higher=True), prior=prior, kl=0.1)
    assert with_prior.predicted.loc["acc", "value"] > with_prior.predicted.loc["acc", "under the prior"] > 0


@pytest.mark.parametrize("law", ["mixing law", "quadratic ridge"])     # solved, and searched
def test_guard_importance_and_kl_have_the_metrics_own_sign(law):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.dirichlet(np.ones(3), 30), columns=["web", "code", "law"], index=pd.Index([f"r{i}" for i in range(30)], name="run"))
    P = X.to_numpy()
    Y = pd.DataFrame({"acc": 80 - 10 * np.exp(P @ [-2.0, -0.2, -1.0]), "loss": 2 + np.exp(P @ [-0.2, -2.0, -1.0])}, X.index)      # web for one, code for the other
    fit = fit_swarm(Swarm("toy", X, long_losses(Y, 1)), [Metric("acc", higher=True), "loss"], [law])
    prior = pd.Series(1 / 3, X.columns)
    def ask(**more):
        p = propose_fit(fit, prior=prior, **more)
        return p.predicted.loc["acc", "value"], p.predicted.loc["acc", "under the prior"], p.mixture
    loss_first = {"acc": 0.001, "loss": 1}
    free, before, mixture = ask(importance=loss_first)
    assert free < before - 2 and mixture["code"] > 0.8                                       # as much as any run had
    for margin in (0.5, 1.5):                                                                 # points of accuracy, not more
        guarded = ask(importance=loss_first, guard={"acc": margin})[0]
        assert np.isclose(guarded, before - margin, atol=2e-2) and guarded > before - margin - 1e-4
    assert ask(importance={"acc": 1, "loss": 0.001})[0] > before + 1                          # importance on the accuracy makes it rise
    near = [ask(importance=loss_first, kl=k)[0] for k in (0.03, 0.1, 1)]
    assert free < near[0] < near[1] < near[2] and abs(near[2] - before) < 0.8                 # closeness to the prior takes it back
    worst = propose_fit(fit, prior=prior, worst=True).predicted
    assert worst.loc["acc", "value"] > worst.loc["acc", "under the prior"] and worst.loc["loss", "value"] < worst.loc["loss", "under the prior"]    # both gain


def test_no_interval_is_narrower_than_the_errors_on_unseen_runs():
    fit = toy()
    p = propose_fit(fit).predicted.loc["loss"]
    assert p["high"] - p["value"] >= 1.96 * fit.comparison.set_index("law").loc[fit.laws["loss"], "rmse"] - 1e-12
    fit = fit_swarm(Swarm("toy", fit.mixtures, long_losses(fit.values, 1)), ["loss"], ["ridge"])
    p = propose_fit(fit).predicted.loc["loss"]
    assert np.isclose(p["high"] - p["value"], 1.96 * fit.comparison["rmse"].iloc[0]) and np.isnan(propose(fit.model, fit.mixtures).predicted.loc["loss", "high"])


def test_a_pinned_domain_is_held_unless_limits_are_given():
    fit = toy(pinned=True)
    assert never_moved(fit) == {"wiki": 0.2} and propose_fit(fit).mixture["wiki"] == 0.2
    assert propose_fit(fit, upper={"wiki": 0.1}).mixture["wiki"] <= 0.1 + 1e-9
    assert (resampled_weights(fit, 3).loc["wiki"] == 0.2).all()


def test_caveats_are_said(tmp_path):
    fit = toy(pinned=True)
    told = proposal_as_json(propose_fit(fit, available={"web": 1.0, "code": 9, "law": 9, "wiki": 9}, tokens=10, epochs=6), stability={"web": {"low": 0.1, "high": 0.9}})
    said = " ".join(caveats(fit, told))
    for part in ("Held where they were in every run", "wiki (0.2)", "Read more than four times: web (6.0)", "Other runs would have led elsewhere", "web (0.10 to 0.90)"): assert part in said
    assert "in a corner of them" in " ".join(caveats(fit, told | {"extrapolates": True}))
    assert "far from every trained mixture" in " ".join(caveats(fit, told | {"extrapolates": True, "support": None}))
    far = " ".join(caveats(fit, told | {"extrapolates": True, "distance": 0.5, "usual": 0.2, "support": None}))
    assert "50% of the weight would have to move" in far and "nineteen in twenty of the trained ones have a neighbour within 20%" in far
    assert "not of the form that can be solved exactly" in " ".join(caveats(fit, told | {"gap": None}))
    noise = Swarm("noise", fit.mixtures, long_losses(pd.DataFrame({"loss": np.random.default_rng(0).random(40)}, fit.mixtures.index), 1))
    assert "better than chance" in " ".join(caveats(fit_swarm(noise, ["loss"], ["mixing law"])))
    assert "misses" not in said
    wide = replace(fit, comparison=fit.comparison.assign(rmse=2 * fit.values["loss"].std()))
    assert "more than they differ among themselves" in " ".join(caveats(wide, told))


def test_proposals_on_disk(tmp_path):
    proposal = propose_fit(toy())
    path = save_proposal(proposal, tmp_path/"p.json", laws={"loss": "ridge"})
    with pytest.raises(FileExistsError, match="--overwrite"): save_proposal(proposal, path)
    before = path.read_bytes()
    assert save_proposal(proposal, path, overwrite=True, laws={"loss": "ridge"}).read_bytes() == before
    back = load_proposal(path)
    assert np.abs(back["mixture"] - proposal.mixture).max() < 1e-7 and back["laws"] == {"loss": "ridge"}
    assert json.loads(before) and "NaN" not in before.decode()
    assert [p.name for p in tmp_path.iterdir()] == ["p.json"]


def test_a_mixture_from_elsewhere_is_described_as_a_proposal_is():
    for fit in (toy(), toy(higher=True), toy(pinned=True)):
        prior = pd.Series(1 / len(fit.domains), fit.domains)
        proposed = propose_fit(fit, prior=prior)
        told = describe_mixture(fit, proposed.mixture.sample(frac=1, random_state=0), prior)      # by name, in any order
        pd.testing.assert_frame_equal(told.predicted, proposed.predicted)
        assert (told.distance, told.usual) == (proposed.distance, proposed.usual) and told.mixture.equals(proposed.mixture)
        assert np.isnan(told.gap) and told.epochs.isna().all() and "under the prior" not in describe_mixture(fit, proposed.mixture).predicted


def given(law="ridge"):
    "A law that was given, measured on other runs: what stage 20 writes."
    fit = toy(60)
    whole = Swarm("toy", fit.mixtures, long_losses(fit.values, 1))
    train, test = whole.subset(fit.mixtures.index[:45], "train"), whole.subset(fit.mixtures.index[45:], "test")
    fitted = fit_given(train, ["loss"], law, meta={"swarm": "toy"})
    unseen = predict_unseen(fitted, test)
    return measured_on(fitted, unseen), unseen


def test_a_given_law_proposes_with_the_errors_on_its_test():
    fit, _ = given()
    p = propose_fit(fit).predicted.loc["loss"]
    assert np.isclose(p["high"] - p["value"], 1.96 * fit.comparison["rmse"][0]) and fit.comparison["rmse"][0] > 0
    said = " ".join(caveats(fit, proposal_as_json(propose_fit(fit))))
    assert "searched for" in said and "not measured" not in said and "tell the law" not in said
    bare = replace(fit, comparison=fit.comparison.assign(rho=np.nan, low=np.nan, high=np.nan, rmse=np.nan))
    assert "loss: ridge was not measured on unseen runs." in caveats(bare) and np.isnan(propose_fit(bare).predicted.loc["loss", "high"])


def test_targets_that_the_fit_does_not_have_are_passed_over():
    told = {"predicted": {"other": {"value": 1.0, "low": None, "high": None, "under the prior": 0.5}}}
    assert not any("WORSE" in c for c in caveats(toy(), told))
    assert all(c.__name__ in {f.__name__ for f in CAVEATS} for c in CAVEATS) and len(set(CAVEATS)) == len(CAVEATS)


def shell(line):
    from regmix.cli import app
    found = CliRunner().invoke(app, line)
    assert found.exit_code == 0, found.stderr + repr(found.exception)
    return found.stdout


def test_the_shell_takes_what_the_stages_write(tmp_path):
    "A result of stage 20 and of stage 30, made as the stages make them, goes through propose, export and report."
    fit, unseen = given("lightgbm")
    with new_result("fits", "toy", {"swarm": "toy"}, tmp_path) as folder:
        write_fit(fit, folder)
        write_tables(folder, {"predictions": unseen})
    home = load_result("fits", "toy", tmp_path).folder
    fit, prior = load_fit(home), pd.Series(1 / 3, ["web", "code", "law"])
    searched = describe_mixture(fit, pd.Series({"code": 0.05, "web": 0.9, "law": 0.05}), prior)
    with new_result("simulations", "toy", {"fit": "toy"}, tmp_path) as folder:
        write_tables(folder, {"mixture": searched.mixture.reset_index()})
        told = told_of_fit(fit, searched, fit=str(home), prior=prior.to_dict(), settings={"recipe": "paper", "k": 100})
        write_proposal(told, folder/"proposal.json")
    path = load_result("simulations", "toy", tmp_path).folder/"proposal.json"
    assert shell(["export", str(path), "--to", "megatron"]).startswith("--data-path 0.9 data/web_text_document 0.05 ")
    shell(["report", str(home), str(path), "--out", str(tmp_path/"r.html")])
    page = (tmp_path/"r.html").read_text()
    assert "90%" in page and "under the prior" in page and "The law was given, not chosen." in page and "recipe paper" in page
    told = json.loads(shell(["propose", str(home), "--stability", "0", "--out", str(tmp_path/"p.json"), "--json"]))
    assert told["data"] == fit.digest and set(told) >= {"mixture", "predicted", "distance", "usual", "gap", "epochs", "caveats", "laws"}
    assert set(json.loads(path.read_text())) - {"fit", "prior", "settings", "data", "laws", "caveats", "seal"} <= set(told)
    shell(["report", str(home), str(tmp_path/"p.json"), "--out", str(tmp_path/"q.html")])


def test_proposals_of_a_study(tmp_path):
    fit = toy()
    fit = replace(fit, mixtures=fit.mixtures.rename(columns={"law": "books"}))
    prior = pd.Series(1 / 3, fit.domains)
    study = {("mixing law", "one", "kl 0"): propose(fit.model, fit.mixtures), ("mixing law", "one", "kl 0.1"): propose(fit.model, fit.mixtures, prior=prior, kl=0.1)}
    free = study["mixing law", "one", "kl 0"]
    tables = proposal_tables(study, dict.fromkeys(study, 0.5))
    assert list(tables["mixtures"]) == ["law", "aim", "asked", "web", "code", "books"] and tables["mixtures"]["law"].tolist() == ["mixing law"] * 2
    assert list(tables["facts"]) == ["law", "aim", "asked", "distance", "usual", "gap", "seconds"] and tables["facts"]["distance"][0] == free.distance
    assert tables["predicted"].loc[0, "value"] == free.predicted.loc["loss", "value"] and tables["predicted"].index.tolist() == [0, 1]
    with pytest.raises(ValueError, match="rename the domain 'law'"): proposal_tables({"x": propose_fit(toy())}, {})
    save_fit(fit, tmp_path/"fit")
    for key, proposal in study.items():
        path = save_proposal(proposal, tmp_path/f"{plain_name(*key)}.json", laws={"loss": key[0]})
        assert shell(["export", str(path), "--to", "json"])
        shell(["report", str(tmp_path/"fit"), str(path), "--out", str(tmp_path/"r.html"), "--overwrite"])
    assert sorted(p.name for p in tmp_path.glob("*.json")) == ["mixing-law_one_kl-0.1.json", "mixing-law_one_kl-0.json"]


@functools.cache
def narrow(law, seed=0, higher=True, n=90):
    "Runs close to one mixture, one domain never above 1%, a noisy metric whose truth turns down outside."
    rng = np.random.default_rng(seed)
    centre = np.array([0.35, 0.25, 0.2, 0.1, 0.096, 0.004])
    X = pd.DataFrame(rng.dirichlet(60 * centre, n), columns=["a:1", "a:2", "b:1", "b:2", "c", "rare"], index=[f"r{i}" for i in range(n)])
    X["rare"] = X["rare"].clip(upper=0.01)
    X = X.div(X.sum(axis=1), axis=0)
    truth = 0.1 * np.log(X.to_numpy() + 0.02) @ [0.3, 0.1, 0.3, 0.2, 0.1, 0.0]
    y = 0.5 + truth + rng.normal(0, 0.004, n)
    Y = pd.DataFrame({"acc": y, "loss": 3 - 4 * truth + rng.normal(0, 0.016, n)}, X.index)
    return fit_swarm(Swarm("narrow", X, long_losses(Y, 1)), [Metric("acc", higher=True)] if higher else ["loss"], [law], folds=3)


@pytest.mark.parametrize("law, higher", [("ridge", True), ("log-linear", False)])
def test_a_proposal_stays_where_runs_have_been_unless_asked_to_leave(law, higher):
    fit = narrow(law, higher=higher)
    runs, t = fit.mixtures, fit.targets[0]
    found = propose_fit(fit)
    p = found.mixture
    assert (p <= runs.max() + 1e-6).all() and (p >= runs.min() - 1e-6).all() and p["rare"] <= 0.0101
    assert (p - runs.mean()).abs().sum() <= (runs - runs.mean()).abs().sum(axis=1).max() + 1e-4
    spread = fit.values[t].max() - fit.values[t].min()
    assert abs(found.predicted.loc[t, "value"] - fit.values[t].mean()) < 2 * spread      # nothing that no run came near to
    beyond = propose_fit(fit, extrapolate=True)
    assert beyond.support is None and beyond.distance > 2 * found.distance
    told = proposal_as_json(found)
    assert told["support"]["edge"] and told["support"]["outside"][t] == pytest.approx(beyond.predicted.loc[t, "value"], rel=1e-3)
    assert "nobody trained" in support_line(told) and support_line(proposal_as_json(beyond)) == ""
    assert resampled_weights(fit, 2).loc["rare", "high"] <= 0.0101


def test_where_runs_cover_the_simplex_staying_among_them_costs_nothing():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(np.concatenate([np.eye(4), rng.dirichlet(np.full(4, 0.5), 60)]), columns=list("abcd"), index=pd.Index([f"r{i}" for i in range(64)], name="run"))
    y = 2 + np.exp(X.to_numpy() @ [0.1, 1.0, 0.5, 0.7]) + rng.normal(0, 0.005, 64)
    fit = fit_swarm(Swarm("wide", X, long_losses(pd.DataFrame({"loss": y}, X.index), 1)), ["loss"], ["log-linear"])
    found, free = propose_fit(fit), propose_fit(fit, extrapolate=True)
    assert (found.mixture - free.mixture).abs().max() < 1e-6 and found.gap < 1e-8
    assert support_line(proposal_as_json(found)).endswith("nothing held it back")


@pytest.mark.parametrize("law", ["log-linear", "ridge"])
def test_limits_come_before_where_runs_have_been(law):
    fit = narrow(law, higher=False)
    prior = fit.mixtures.mean()
    for asked in ({"lower": {"rare": 0.2}}, {"floor": 0.05}, {"upper": {"a:*": 0.2}}, {"lower": {"b:*": 0.8}, "prior": prior}, {"keep_ratios": ["a:*"], "prior": prior},
                  {"within": 0.03, "prior": prior}, {"available": {d: 1e6 for d in fit.domains}, "tokens": 2e7, "epochs": 4})[::1 if law == "log-linear" else 3]:
        found = propose_fit(fit, **asked)
        p = found.mixture
        assert abs(p.sum() - 1) < 1e-6 and (p >= -1e-9).all()
        if "floor" in asked: assert p.min() >= 0.05 - 1e-6
        if "within" in asked: assert (p - prior).abs().sum() / 2 <= 0.03 + 2e-6
        if "keep_ratios" in asked: assert p["a:1"] / p["a:2"] == pytest.approx(prior["a:1"] / prior["a:2"], rel=1e-4)
        if "tokens" in asked: assert p.max() <= 0.2 + 1e-6
        if "a:*" in asked.get("upper", {}): assert p[["a:1", "a:2"]].sum() <= 0.2 + 1e-5
        if "b:*" in asked.get("lower", {}): assert p[["b:1", "b:2"]].sum() >= 0.8 - 1e-5
        if "rare" in asked.get("lower", {}): assert p["rare"] >= 0.2 - 1e-6
        driven = not {"within", "keep_ratios", "tokens"} & set(asked)
        assert found.support["widened"] == driven and any("No mixture among the runs" in c for c in caveats(fit, proposal_as_json(found))) == driven


def test_a_guard_of_nothing_is_kept_and_not_complained_about():
    fit = narrow("log-linear", higher=False)
    prior = propose_fit(fit).mixture                                       # nothing is better: the guard binds
    told = told_of_fit(fit, propose_fit(fit, prior=prior, guard=0, upper={"c": float(prior["c"])}), prior=prior.to_dict())
    assert not any("WORSE" in c for c in told["caveats"])


def test_targets_weighed_by_their_noise():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.dirichlet(np.ones(3), 60), columns=["web", "code", "law"]).rename(index=str)
    P = X.to_numpy()
    Y = pd.DataFrame({"acc": 0.8 - 0.02 * P[:, 1] + rng.normal(0, 0.001, 60), "loss": 300 - 20 * P[:, 1] + rng.normal(0, 10, 60)}, X.index)   # code: +2 of its noise, -20
    fit = fit_swarm(Swarm("two", X, long_losses(Y, 1)), [Metric("acc", higher=True), "loss"], ["ridge"])
    assert propose_fit(fit).mixture["code"] > 0.8 and propose_fit(fit, scale="noise").mixture["code"] < 0.2
    assert propose_fit(fit, scale="noise", importance={"acc": 1, "loss": 100}).mixture["code"] > 0.8
    assert units_of(fit, "noise")["loss"] > 1000 * units_of(fit, "noise")["acc"] and (units_of(fit) == 1).all()
    told = proposal_as_json(propose_fit(fit))
    assert any("--scale noise" in c for c in caveats(fit, told)) and not any("so it decides" in c for c in caveats(fit, told | {"settings": {"scale": "noise"}}))


def test_runs_of_noise_propose_the_best_run_that_keeps_the_limits():
    fit = toy()
    fit = replace(fit, meta=fit.meta | {"noise": {"loss": fit.losses["loss"].idxmin()}})
    found = propose_fit(fit)
    assert found.mixture.equals(fit.mixtures.loc[fit.losses["loss"].idxmin()].rename("weight").rename_axis("domain")) or found.distance < 1e-9
    assert caveats(fit, proposal_as_json(found))[0].startswith("No law tells these runs apart from noise")
    most = float(found.mixture["web"]) / 2
    assert propose_fit(fit, upper={"web": most}).mixture["web"] <= most + 1e-6


def test_every_loss_that_a_fit_keeps_is_predicted():
    fit = toy()
    object.__setattr__(fit, "others", pd.DataFrame({"german": 9 - fit.values["loss"], "flat": 1.0}, fit.mixtures.index))
    prior = pd.Series(1 / 3, fit.domains)
    found = propose_fit(fit, prior=prior)
    assert list(found.predicted.index) == ["loss", "german"] and found.predicted.loc["german", "value"] > found.predicted.loc["german", "under the prior"] + 0.3
    assert any(c.startswith("Paid for elsewhere: no target, and predicted to be worse: german (by 0.") for c in caveats(fit, proposal_as_json(found)))
    assert clean(found.mixture).sum() == pytest.approx(1)
