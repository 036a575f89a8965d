"""Recipes: what is written is read back to the same weights, whatever the trainer's words."""
import ast
import json
import shlex
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from regmix.choice import fit_swarm
from regmix.optima import propose
from regmix.recipes import RECIPES, caveats, clean, export_mixture, held, load_proposal, propose_fit, proposal_as_json, save_proposal, wobble
from regmix.swarms import Swarm, long_losses
from regmix.tables import Metric


def read_back(to, text):
    "Parse a recipe into domain: weight, by the place of the domain in its path where the format has only paths."
    name = lambda path: path.removeprefix("data/").removesuffix("_text_document")
    if to == "authors": return {k.removeprefix("train_the_pile_"): v for k, v in yaml.safe_load(text)["train"].items()}
    if to == "olmix": return {d: e["weight"] for d, e in yaml.safe_load(text)["mix"].items()}
    if to == "olmo-core": return {s["source_name"]: s["target_ratio"] for s in yaml.safe_load(text)["sources"]}
    if to == "json": return json.loads(text)
    if to == "megatron":
        words = shlex.split(text)
        assert words[0] == "--data-path"
        return {name(p): float(w) for w, p in zip(words[1::2], words[2::2])}
    values = {t.id: n.value for n in ast.parse(text).body if isinstance(n, ast.Assign) for t in n.targets if t.id in ("weights", "train_data")}
    if to == "litgpt": return {name(p): w for p, w in ast.literal_eval(values["train_data"])}
    return ast.literal_eval(values["weights"])


NAMES = ["web", "dclm:code", "it's", 'a "b"', "Юникод", "two words", "- dash", "yes", "1"]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), d=st.integers(1, 9), alpha=st.sampled_from([0.02, 0.3, 3.0]))
def test_every_recipe_is_read_back(seed, d, alpha):
    rng = np.random.default_rng(seed)
    mixture = pd.Series(rng.dirichlet(np.full(d, alpha)), rng.permutation(NAMES)[:d])
    for to in RECIPES:
        back = pd.Series(read_back(to, export_mixture(mixture, to)))
        assert abs(back.sum() - 1) < 1e-9 and (back >= 0).all(), to
        assert (back.reindex(mixture.index, fill_value=0.0) - mixture).abs().max() < 1e-6, to
        if to not in ("authors", "json"): assert (back > 0).all(), to


def test_olmo_core_accepts_what_it_would_be_given():
    sources = yaml.safe_load(export_mixture(pd.Series({"web": 0.5, "code": 0.5, "none": 0.0}), "olmo-core", repetition={"web": 3.2, "code": 0.1}))["sources"]
    assert [s["source_name"] for s in sources] == ["web", "code"]
    for s in sources: assert set(s) == {"source_name", "target_ratio", "paths", "max_repetition_ratio"} and 0 < s["target_ratio"] <= 1 and s["paths"] and s["max_repetition_ratio"] >= 1
    assert [s["max_repetition_ratio"] for s in sources] == [3.2, 1.0]


def test_the_snippet_for_datasets_runs_and_mixes(tmp_path):
    pytest.importorskip("datasets")
    mixture = pd.Series({"web": 0.6, "it's": 0.3, "law": 0.1, "none": 0.0})
    paths = {}
    for i, d in enumerate(mixture.index):
        paths[d] = str(tmp_path/f"{i}.jsonl")
        (tmp_path/f"{i}.jsonl").write_text("".join(json.dumps({"text": d}) + "\n" for _ in range(500)))
    found = {}
    exec(export_mixture(mixture, "datasets", paths), found)
    drawn = pd.Series([row["text"] for row, _ in zip(found["mixed"], range(1000))]).value_counts(normalize=True)
    assert (drawn.reindex(mixture.index, fill_value=0) - mixture).abs().max() < 0.05 and "none" not in drawn


def test_what_is_no_mixture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sums to 0.9"): clean({"a": 0.5, "b": 0.4})
    with pytest.raises(ValueError, match="negative"): clean({"a": 1.5, "b": -0.5})
    with pytest.raises(ValueError, match="no format 'nemo'; there is authors"): export_mixture({"a": 1}, "nemo")
    with pytest.raises(ValueError, match="paths: no domain 'b'"): export_mixture({"a": 1}, "megatron", {"b": "x"})
    (tmp_path/"counts.json").write_text('{"web": 7, "code": 3}')
    with pytest.raises(ValueError, match="counts.json: run 'mixture' sums to 10"): load_proposal(tmp_path/"counts.json")


def toy(n=40, pinned=False, higher=False, slope=1.0):
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.dirichlet(np.ones(3), n), columns=["web", "code", "law"], index=pd.Index([f"r{i}" for i in range(n)], name="run"))
    if pinned: X = (0.8 * X).assign(wiki=0.2)
    y = 2 + np.exp(X[["web", "code", "law"]].to_numpy() @ [0.1, 1.0, 0.5]) * slope + rng.normal(0, 0.01, n)
    Y = pd.DataFrame({"loss": y, "acc": 90 - 10 * y}, X.index)
    return fit_swarm(Swarm("toy", X, long_losses(Y, 1)), [Metric("acc", higher=True)] if higher else ["loss"], ["mixing law", "ridge"])


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
    assert free < before - 2 and mixture["code"] > 0.9
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
    assert held(fit) == {"wiki": 0.2} and propose_fit(fit).mixture["wiki"] == 0.2
    assert propose_fit(fit, upper={"wiki": 0.1}).mixture["wiki"] <= 0.1 + 1e-9
    assert (wobble(fit, 3).loc["wiki"] == 0.2).all()


def test_caveats_are_said(tmp_path):
    fit = toy(pinned=True)
    told = proposal_as_json(propose_fit(fit, available={"web": 1.0, "code": 9, "law": 9, "wiki": 9}, tokens=10, epochs=6), stability={"web": {"low": 0.1, "high": 0.9}})
    said = " ".join(caveats(fit, told))
    for part in ("Held where they were in every run", "wiki (0.2)", "Read more than four times: web (6.0)", "Other runs would have led elsewhere", "web (0.10 to 0.90)"): assert part in said
    assert "far from every trained mixture" in " ".join(caveats(fit, told | {"extrapolates": True}))
    far = " ".join(caveats(fit, told | {"extrapolates": True, "distance": 0.5, "usual": 0.2}))
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
