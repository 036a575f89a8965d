"""Our own swarms: whole, as they say they are, small enough to commit, and described by their data card."""
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regmix.swarms import load_swarm

ROOT = Path(__file__).parent.parent
FOLDER = ROOT/"data/replication"
NAMES = sorted(p.parent.name for p in FOLDER.glob("*/swarm.json"))


def ours(name): return load_swarm(f"replication/{name}")


def test_small_enough_to_commit():
    assert sum(p.stat().st_size for p in FOLDER.rglob("*") if p.is_file()) < 20e6
    assert {"main", "main_unseen", "noise"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_swarm_is_what_it_says(name):
    swarm = ours(name)
    meta, losses = swarm.meta, swarm.losses
    assert swarm.name == name and meta["of"] == len(swarm) and meta["complete"] == (meta["runs"] == meta["of"])
    measured = losses.groupby("run").size()
    assert len(swarm) == meta["runs"] and set(measured.index) == set(swarm.mixtures.index) - {b["run"] for b in meta["broken"]}
    assert (measured == meta["config"]["evals"] * len(swarm.targets)).all()
    assert losses["loss"].between(0.3, math.log(meta["model"]["vocab_size"]) + 4).all()  # a model that read one domain is surer than it should be on another
    last = losses["tokens"].max()
    assert last == meta["tokens"] >= meta["config"]["tokens"]
    curve = losses.groupby("tokens")["loss"].mean()
    assert curve.is_monotonic_decreasing, "models learn"
    assert max(meta["largest_epochs"].values()) <= 15
    for key in ("versions", "devices", "seconds", "corpus", "corpus_name", "seeds", "prior", "precision"): assert meta[key], key


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("targets")])   # these were joined, and one method moves its mixture
def test_what_was_read_is_what_was_asked_for(name):
    swarm = ours(name)
    read = pd.read_parquet(FOLDER/name/"realised.parquet").set_index("run")
    asked = swarm.mixtures.loc[read.index]
    assert np.allclose(read.sum(axis=1), 1, atol=1e-4)
    assert (read - asked).abs().max(axis=None) <= swarm.meta["largest_gap"] + 1e-5 < 0.02
    assert (read[asked == 0].fillna(0) == 0).all(axis=None), "a weight of zero is never read"


def test_unseen_mixtures_are_unseen_and_shared_by_the_sizes():
    unseen = ours("main_unseen")
    assert pd.merge(ours("main").mixtures, unseen.mixtures, how="inner").empty
    for name in NAMES:
        if name.startswith("unseen_"):
            other = ours(name).mixtures
            pd.testing.assert_frame_equal(other, unseen.mixtures.loc[other.index])


def test_the_web_was_left_out():
    for name in set(NAMES) & {"no_web", "no_web_unseen"}:
        swarm = ours(name)
        assert "pile_cc" not in swarm.domains and "pile_cc" in swarm.targets


def test_the_noise_swarm_repeats_mixtures_with_other_seeds():
    noise = ours("noise")
    groups = noise.mixtures.groupby(list(noise.domains)).size()
    assert len(groups) == 6 and (groups == 8).all()
    assert sorted(set(noise.meta["seeds"])) == list(range(8))


def test_the_data_card_shows_what_is_there():
    from regmix.replication import card_tables, fill_card
    card = (FOLDER/"README.md").read_text()
    assert fill_card(card, card_tables()) == card, "run python -m regmix.replication --card"


def test_a_rule_for_every_domain_that_is_cut():
    from regmix.paper import DOMAINS
    from regmix.replication import DROP, LEAST, RULES, SPLIT, VALID, main
    known = {*DOMAINS, "github_python", "github_cpp", "github_cython"}
    assert set(RULES) == set(LEAST) and set(RULES) <= known and {d.removesuffix("_other") for d in DROP} <= set(RULES)
    assert set(SPLIT) | set(VALID) <= set(DOMAINS)
    with pytest.raises(SystemExit) as e: main([])
    assert e.value.code == 2


def test_the_corpus_table_agrees_with_the_swarms():
    for table, name, domains in (("corpus", "main", 17), ("hundred", "hundred", 100)):
        corpus = pd.read_csv(FOLDER/f"{table}.csv").set_index("domain")
        prior = pd.Series(ours(name).meta["prior"])
        assert len(corpus) == domains and (corpus["prior"] - prior).abs().max() < 1e-4 and corpus["train_tokens"].sum() > 1e7


def test_the_card_says_whose_epochs_were_simulated_and_is_silent_elsewhere(tmp_path):
    from dataclasses import replace
    from regmix.replication import _of_swarms
    from regmix.swarms import list_swarms, save_swarm
    few = {name: ours(name) for name in ("noise", "unseen_330k")}
    for name, swarm in few.items(): save_swarm(swarm, tmp_path/name)
    silent = _of_swarms(tmp_path, list_swarms(tmp_path))
    assert silent.equals(list_swarms(tmp_path).round({"epochs": 2}).reset_index())
    told = {"planned_tokens": dict.fromkeys(few["noise"].domains, 10**9), "kept_tokens": {}}
    save_swarm(replace(few["noise"], meta=few["noise"].meta | {"simulated_epochs": told}), tmp_path/"noise", overwrite=True)
    found = _of_swarms(tmp_path, list_swarms(tmp_path))
    assert found[silent.columns].equals(silent)
    column = found.set_index("swarm")["epochs simulated for a run of (tokens)"]
    assert column["noise"] == "1,000,000,000" and pd.isna(column["unseen_330k"])   # a dash in the card
