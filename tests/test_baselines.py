"""The rivals of Table 4: their updates against plain copies, their runs through the engine: killed, resumed, refused."""
import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
from hypothesis import given
from hypothesis import strategies as st

from regmix.baselines import (DoReMi, OnlineMixing, bandit_policy, best_measured, doremi, exploration, load_paths, paper_mixture, plain_mixtures, prune, reweigh,
                              score_documents, swarm_flops)
from regmix.corpora import build_corpus, training_documents
from regmix.paper import DOMAINS, load_table
from regmix.proxies import TrainConfig, load_weights, train_swarm
from regmix.text import Document

CONFIG = TrainConfig(model="80K", tokens=6_000, context=32, batch=6, lr=5e-3, evals=2, eval_tokens=128)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    rng = np.random.default_rng(0)
    words = {"a": ["red", "blue", "green"], "b": ["one", "two", "three", "four"], "c": [f"w{i}" for i in range(60)]}
    pages = [Document(d, " ".join(rng.choice(w, 60)), f"{d}{i}", None) for d, w in words.items() for i in range(60)]
    return build_corpus(pages, tmp_path_factory.mktemp("corpus")/"toy", vocab_size=300, context=32, valid_fraction=0.2, progress=False)


@given(st.lists(st.floats(0, 50), min_size=2, max_size=20), st.integers(1, 10_000))
def test_a_policy_is_a_distribution_with_a_floor(rewards, t):
    p = bandit_policy(np.array(rewards), t)
    assert np.isclose(p.sum(), 1) and (p >= exploration(t, len(rewards)) - 1e-12).all()
    assert (np.diff(p[np.argsort(rewards, kind="stable")]) >= -1e-12).all(), "a larger reward, a larger weight"


@given(st.lists(st.floats(0, 20), min_size=2, max_size=20), st.floats(0.01, 3), st.floats(0, 0.5))
def test_doremi_update_is_algorithm_1(excess, eta, c):
    alpha = np.random.default_rng(len(excess)).dirichlet(np.ones(len(excess)))
    up = [a * math.exp(eta * e) for a, e in zip(alpha, excess)]
    plain = [(1 - c) * u / sum(up) + c / len(up) for u in up]
    np.testing.assert_allclose(reweigh(alpha, np.array(excess), eta, c), plain, rtol=1e-9)


def test_table_7_is_what_is_printed():
    for method in load_table("table_07")["method"].unique():  # the printed column of Online sums to 0.70
        w = paper_mixture(method, list(DOMAINS))
        printed = load_table("table_07").query("method == @method")["value"]
        assert np.isclose(w.sum(), 1) and np.allclose(sorted(w * printed.sum()), sorted(printed))
    assert plain_mixtures(pd.Series({"a": 1.0, "b": 3.0}), "a").sum(axis=1).eq(1).all()


def test_online_mixing_through_the_engine(corpus, tmp_path):
    start = pd.DataFrame([[0.5, 0.3, 0.2]] * 3, ["x", "y", "z"], corpus.domains)
    call = dict(seeds=[0, 1, 2], n_jobs=1, progress=False, method=OnlineMixing(warmup=0.1))
    swarm = train_swarm(start, corpus, tmp_path/"online", CONFIG, group=3, **call)
    path, read = load_paths(tmp_path/"online"), pd.read_parquet(tmp_path/"online/realised.parquet").set_index("run")
    assert len(path) == 3 * CONFIG.steps and np.allclose(path[corpus.domains].sum(axis=1), 1)
    assert np.abs(path.groupby("run")[corpus.domains].mean() - read).max(axis=None) < 0.05, "what was read is what the path asked for"
    alone = train_swarm(start.loc[["y"]], corpus, tmp_path/"alone", CONFIG, group=1, **call | {"seeds": [1]})
    assert (alone.final_losses().loc["y"] - swarm.final_losses().loc["y"]).abs().max() < 0.1, "a group gives what its members give alone"
    with pytest.raises(ValueError, match="method"): train_swarm(start, corpus, tmp_path/"online", CONFIG, group=3, seeds=[0, 1, 2], n_jobs=1, progress=False)
    with pytest.raises(ValueError, match="method"): train_swarm(start, corpus, tmp_path/"online", CONFIG, group=3, **call | {"method": OnlineMixing()})


def test_doremi_follows_the_reference(corpus, tmp_path):
    # The reference has read only c, which takes long to learn; a and b are learned at once by anybody.
    only = pd.Series({"a": 0.0, "b": 0.0, "c": 1.0})
    mixture, reference, proxy = doremi(corpus, tmp_path/"d", dataclasses.replace(CONFIG, tokens=30_000), mixture=only, n_jobs=1, progress=False)
    assert mixture.iloc[0].idxmax() == "c" and np.isclose(mixture.iloc[0].sum(), 1)
    assert swarm_flops(reference) == swarm_flops(proxy) > 0
    assert best_measured(reference, "c").name == "seed-0"
    uniform = pd.DataFrame([[1 / 3] * 3], ["seed-0"], corpus.domains)
    with pytest.raises(ValueError, match="same model"): DoReMi(str(tmp_path/"d/reference"))(corpus, uniform, dataclasses.replace(CONFIG, model="330K"), [0])
    with pytest.raises(ValueError, match="evenly"): DoReMi(str(tmp_path/"d/reference"))(corpus, uniform * [3, 0, 0], CONFIG, [0])


def test_pruning_keeps_a_band_and_the_validation_text(corpus, tmp_path):
    train_swarm(pd.DataFrame([corpus.prior], ["r"]), corpus, tmp_path/"r", CONFIG, n_jobs=1, progress=False, keep=True)
    weights, model = load_weights(tmp_path/"r", ["r"])
    scores = score_documents(corpus, weights, model, 32, rows=7, progress=False)
    again = score_documents(corpus, weights, model, 32, rows=1, progress=False)
    assert np.allclose(scores["loss"], again["loss"], atol=1e-4), "padding changes nothing"
    assert (scores["tokens"] <= 33).all() and np.isfinite(scores["loss"]).all()
    small = prune(corpus, scores, tmp_path/"low", 0.4, "low")
    kept = sum(len(training_documents(small, d)) for d in corpus.domains)
    assert abs(kept - 0.4 * len(scores)) <= 1 and small.verify()
    for d in corpus.domains: assert (small.tokens(d, "valid") == corpus.tokens(d, "valid")).all()
    worst_kept = scores["loss"].sort_values().iloc[kept - 1]
    assert (scores.groupby("domain")["loss"].apply(lambda x: (x <= worst_kept).sum()) == [len(training_documents(small, d)) for d in corpus.domains]).all()
