"""Schedules: what is derived from trajectories, and what a run that is trained on one reads."""
import dataclasses
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regmix.baselines import load_paths
from regmix.corpora import build_corpus
from regmix.installed import practice_documents
from regmix.mixtures import dirichlet
from regmix.training import train_swarm
from regmix.proxies import TrainConfig, plan
from regmix.regression import MixtureRegressor
from regmix.schedules import Horizons, Scheduled, Transitions, check_schedule, mean_mixture, points, reverse, stage_of_step, train_scheduled
from regmix.simulation import simulate
from regmix.swarms import Swarm, load_swarm, long_losses

ROOT = Path(__file__).parent.parent
CONFIG = TrainConfig(model="80K", tokens=6_000, context=32, batch=4, lr=6e-3, evals=3, eval_tokens=256)
ONE = dict(n_jobs=1, progress=False, precision="float32")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    torch.set_num_threads(1)
    return build_corpus(practice_documents, tmp_path_factory.mktemp("corpus")/"c", vocab_size=384, valid_fraction=0.1, progress=False)


@st.composite
def schedules(draw):
    begins = sorted({0.0, *draw(st.lists(st.floats(0.05, 0.95), max_size=4))})
    kept = [b for i, b in enumerate(begins) if not i or b - begins[i - 1] > 0.03]
    rows = dirichlet(np.full(4, 0.5), len(kept), np.random.default_rng(draw(st.integers(0, 99))))
    return check_schedule(pd.DataFrame(rows, kept, columns=list("abcd")))


@given(schedules(), st.integers(100, 900))
@settings(max_examples=60, deadline=None)
def test_stages_mean_and_reverse(schedule, steps):
    stage = stage_of_step(schedule, steps)
    assert len(stage) == steps and (np.diff(stage) >= 0).all() and set(stage) == set(range(len(schedule)))
    first = np.array([np.argmax(stage == j) for j in range(len(schedule))])
    assert (np.abs(first - schedule.index * steps) <= 0.5 + 1e-9).all()
    assert np.allclose(mean_mixture(schedule, steps), schedule.to_numpy()[stage].mean(0))
    back = reverse(schedule)
    check_schedule(back)
    assert np.allclose(reverse(back), schedule) and np.allclose(reverse(back).index, schedule.index)
    assert np.allclose(mean_mixture(back, 10_000), mean_mixture(schedule, 10_000), atol=1e-3)


GOOD = pd.DataFrame({"code": [0.8, 0.1], "prose": [0.2, 0.0], "tables": [0.0, 0.9]}, [0, 0.25])


@pytest.mark.parametrize("bad, why", [
    (GOOD.set_axis([0.1, 0.5]), "begins at 0.1, not at 0"),
    (GOOD.set_axis([0.0, 1.0]), "rising shares of training below 1"),
    (GOOD.set_axis([0.0, 0.0]), "rising shares"),
    (GOOD.set_axis(["a", "b"]), "'a' is no number"),
    (GOOD.set_axis([0, np.nan]), "is no number"),
    (GOOD * 0.5, "sums to 0.5"),
    (GOOD - 0.1, "negative"),
    (GOOD.replace(0.9, np.nan), "not a weight"),
    (GOOD[:0], "has no stages"),
])
def test_bad_schedules_are_refused(bad, why):
    with pytest.raises(ValueError, match=why): check_schedule(bad)
    with pytest.raises(ValueError, match=f"(?s)run 'mine'.*{why}"): Scheduled({"mine": bad})


def test_bad_pairs_of_schedule_and_swarm_are_refused(corpus, tmp_path):
    method = Scheduled({"a": GOOD})
    right = method.mixtures(CONFIG.steps)
    for mixtures, why in ((right.rename({"a": "b"}), "run 'b' has no schedule"), (right * 0 + 1 / 3, "its mixture gives"), (right.drop(columns="tables").pipe(lambda t: t.div(t.sum(axis=1), axis=0)), "have other domains")):
        with pytest.raises(ValueError, match=why): train_swarm(mixtures, corpus, tmp_path/"x", CONFIG, method=method, **ONE)
    with pytest.raises(ValueError, match="would have none"): train_scheduled({"a": GOOD.set_axis([0, 0.001])}, corpus, tmp_path/"x", CONFIG, **ONE)
    with pytest.raises(ValueError, match="'law', which the corpus"): train_scheduled({"a": GOOD.rename(columns={"code": "law"})}, corpus, tmp_path/"x", CONFIG, **ONE)
    with pytest.raises(ValueError, match="give a table for each run"): Scheduled({})
    assert not (tmp_path/"x").exists()


def test_the_digest_is_of_the_schedules():
    same, other = Scheduled({"a": GOOD[["tables", "code", "prose"]]}), Scheduled({"a": reverse(GOOD)})
    assert repr(Scheduled({"a": GOOD})) == repr(same) != repr(other) and "code" not in repr(same)


@pytest.mark.parametrize("draw", ["even", "random"])
def test_one_mixture_repeated_is_the_static_run(corpus, tmp_path, draw):
    config = dataclasses.replace(CONFIG, draw=draw)
    w = pd.Series({"code": 0.55, "prose": 0.15, "tables": 0.3})[corpus.domains]
    still = train_swarm(pd.DataFrame([w, w], ["a", "b"]), corpus, tmp_path/"still", config, [3, 4], group=2, keep=True, **ONE)
    moved = train_scheduled(dict.fromkeys("ab", pd.DataFrame([w] * 3, [0, 0.31, 0.77])), corpus, tmp_path/"moved", config, [3, 4], group=2, keep=True, **ONE)
    pd.testing.assert_frame_equal(still.losses, moved.losses, check_exact=True)
    for run in "ab":
        a, b = (torch.load(tmp_path/f/"weights"/f"{run}.pt", weights_only=True)["weights"] for f in ("still", "moved"))
        assert all(torch.equal(a[n], b[n]) for n in a)
    read = [pd.read_parquet(tmp_path/f/"realised.parquet") for f in ("still", "moved")]
    pd.testing.assert_frame_equal(*read)
    path = load_paths(tmp_path/"moved")
    assert len(path) == 2 * config.steps and np.allclose(path[corpus.domains], w)


def test_a_plan_is_that_of_its_stages(corpus):
    method, steps = Scheduled({"a": GOOD}), 400
    config = dataclasses.replace(CONFIG, tokens=steps * 4 * 32)
    group = method(corpus, method.mixtures(config.steps), config, [5])
    stage, batches = stage_of_step(GOOD, steps), group.batches
    for j in range(2):
        alone = plan(GOOD.iloc[j][batches.domains], batches.chunks, steps * 4, 5, "a")[0].reshape(-1, 4)     # the same run, all of it on this stage's mixture
        assert (batches.domain[0, stage == j] == alone[stage == j]).all()
        n = (stage == j).sum() * 4
        assert np.abs(np.bincount(batches.domain[0, stage == j].ravel(), minlength=3) / n - GOOD.iloc[j][batches.domains].to_numpy()).max() < 2 * np.log(n) / n
    for d, name in enumerate(batches.domains):       # chunks go on over the border of two stages, each once an epoch
        chunk = batches.chunk[0][batches.domain[0] == d]
        for i in range(0, len(chunk), batches.chunks[name]): assert len(set(chunk[i:i + batches.chunks[name]])) == len(chunk[i:i + batches.chunks[name]])


def test_killed_and_resumed_is_bitwise_the_same(corpus, processes, tmp_path):
    def given(name): return {"a": GOOD, "b": GOOD}, str(corpus.folder), str(tmp_path/name), CONFIG, [0, 1]
    def again(name="killed"): return train_scheduled(*given(name), group=2, **ONE)
    again("whole")
    killed = processes.Process(target=train_scheduled, args=given("killed"), kwargs=dict(group=2, every=0, **ONE))
    spent = tmp_path/"killed/groups/00000.spent"
    killed.start()
    end = time.monotonic() + 60
    while not spent.exists() and time.monotonic() < end: time.sleep(0.02)
    killed.kill()
    killed.join()
    assert spent.exists() and not (tmp_path/"killed/groups/00000.json").exists(), "killed too late to show anything"
    again()
    a, b = (pd.read_parquet(tmp_path/f/"losses.parquet") for f in ("whole", "killed"))
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert json.loads((tmp_path/"killed/definition.json").read_text())["method"].startswith("Scheduled(made=")


# --- deriving ---

def trails(n=80, noise=0.0, seed=0):
    "Runs whose loss falls in each of two stages by how much they read of another domain, and by luck that stays."
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(3), n)
    first = 6 - P[:, 0] + rng.normal(0, 0.1, n)
    second = first - P[:, 1] + rng.normal(0, 0.01, n)
    runs = [f"r{i}" for i in range(n)]
    losses = [long_losses(pd.DataFrame({"a": y + rng.normal(0, noise, n)}, runs), t) for y, t in ((first, 1000), (second, 4000))]
    return Swarm("trails", pd.DataFrame(P, runs, list("abc")), pd.concat(losses))


def test_transitions_find_the_stages_and_horizons_do_not():
    alpha = pd.Series(1.0, list("abc"))
    found = {rule: rule("ridge").fit(trails(), "a").propose(alpha, 4000, 20) for rule in (Horizons, Transitions)}
    assert found[Transitions].schedule.idxmax(axis=1).tolist() == ["a", "b"] and found[Transitions].schedule.max(axis=1).min() > 0.9
    assert found[Horizons].schedule.iloc[0].idxmax() == "a" and found[Horizons].schedule.iloc[1]["c"] < 0.1
    assert found[Transitions].schedule.index.tolist() == [0, 0.25] and found[Transitions].predicted.index.tolist() == [1000, 4000]
    assert abs(found[Transitions].predicted.iloc[-1] - 4) < 0.15 < 0.7 < found[Horizons].predicted.iloc[-1] - 4     # 6 - 1 - 1, where no single mixture gets below 5


def test_names_of_domains_do_not_matter_for_what_is_found():
    swarm = trails()
    first = Transitions("ridge").fit(swarm, "a").predict(GOOD.set_axis(list("abc"), axis=1))
    turned = Swarm("t", swarm.mixtures[["c", "a", "b"]], swarm.losses)
    again = Transitions("ridge").fit(turned, "a").predict(GOOD.set_axis(list("abc"), axis=1))
    assert np.allclose(first, again)


def test_the_last_horizon_is_the_static_answer():
    main = load_swarm("replication/main")
    few = main.subset(main.mixtures.index[:64])
    prior = pd.Series(main.meta["prior"])[main.domains]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = Horizons("lightgbm").fit(few, "pile_cc").propose(prior, 5000, 50).schedule
        static = simulate(MixtureRegressor("lightgbm").fit(*few.xy("pile_cc")), prior, 5000, 50).mixture
    assert (schedule.iloc[-1] == static).all() and len(schedule) == len(points(few)) == 5


def test_trajectories_are_needed():
    swarm = trails()
    with pytest.raises(ValueError, match="measured at 1 point"): Horizons("ridge").fit(dataclasses.replace(swarm, losses=swarm.losses[swarm.losses["tokens"] == 4000]), "a")
    with pytest.raises(ValueError, match="has no loss on 'b'"): Horizons("ridge").fit(swarm, "b")


def test_the_trained_schedules_are_those_that_the_swarm_describes():
    swarm = load_swarm("replication/targets_schedules")
    made = swarm.meta["targets"]["schedules"]
    tables = {m: check_schedule(pd.DataFrame(s["weights"], s["begins"]), m) for m, s in made.items()}
    steps = swarm.meta["tokens"] // (swarm.meta["config"]["batch"] * swarm.meta["config"]["context"])
    for m, table in tables.items(): assert np.allclose(mean_mixture(table, steps)[swarm.domains], swarm.mixtures.loc[f"{m}-0"], atol=1e-5)
    assert np.allclose(reverse(tables["transitions"])[tables["transitions reversed"].columns], tables["transitions reversed"], atol=1e-5)
    assert np.allclose(tables["horizons"].iloc[-1][swarm.domains], swarm.mixtures.loc["RegMix-0"], atol=1e-5), "the last horizon is the static answer"
    old = load_swarm("replication/targets")
    assert np.allclose(swarm.mixtures.loc["RegMix-0"], old.mixtures.loc["RegMix-0"]) and swarm.meta["config"] == old.meta["config"] and swarm.meta["corpus"] == old.meta["corpus"]
