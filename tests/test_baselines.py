"""The rivals of Table 4: their updates against plain copies, their runs through the engine: killed, resumed, refused."""
import dataclasses
import functools
import math

import nbformat
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
from hypothesis import example, given, settings
from hypothesis import strategies as st

import regmix.files
from regmix.baselines import (BANDS, METHODS, NEEDS, Chosen, DoReMi, Method, OnlineMixing, Setup, bandit_policy, bandit_reward,
                              best_measured, domain_means, doremi, exploration, load_paths, paper_mixture, pick_methods,
                              plain_mixtures, prune, reweigh, score_documents, swarm_flops)
from regmix.corpora import build_corpus, document_bounds, filter_corpus
from regmix.files import ROOT, Damaged, load_result, save_result
from regmix.paper import DOMAINS, load_table
from regmix.training import load_weights, train_swarm
from regmix.proxies import Group, TrainConfig, domains_at, load_checkpoint, save_checkpoint
from regmix.schedules import load_schedule, mean_mixture
from regmix.swarms import load_swarm
from regmix.text import Document

CONFIG = TrainConfig(model="80K", tokens=6_000, context=32, batch=6, lr=5e-3, evals=2, eval_tokens=128)
QUICK = dataclasses.replace(CONFIG, tokens=3_000, evals=1)   # where it does not matter what was learnt


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    rng = np.random.default_rng(0)
    words = {"a": ["red", "blue", "green"], "b": ["one", "two", "three", "four"], "c": [f"w{i}" for i in range(60)]}
    pages = [Document(d, " ".join(rng.choice(w, 60)), f"{d}{i}", None) for d, w in words.items() for i in range(60)]
    return build_corpus(pages, tmp_path_factory.mktemp("corpus")/"toy", vocab_size=300, context=32, valid_fraction=0.2, progress=False)


@settings(deadline=None)
@given(st.lists(st.floats(0, 50), min_size=2, max_size=20), st.integers(1, 10_000), st.sampled_from(["paper", "code"]))
@example([0.0, 5e-324], 2, "code")   # so small that a share of it is rounded to nothing
def test_a_policy_is_a_distribution_with_a_floor(rewards, t, rule):
    p = bandit_policy(np.array(rewards), t, rule)
    assert np.isclose(p.sum(), 1) and (p >= exploration(t, len(rewards)) - 1e-12).all()
    assert (np.diff(p[np.argsort(rewards, kind="stable")]) >= -1e-12).all(), "a larger reward, a larger weight"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.1, 8), min_size=2, max_size=8), st.sampled_from(["paper", "code"]))
def test_online_mixing_is_what_is_written(losses, rule):
    d = len(losses)
    rate = lambda t: min(1 / d, math.sqrt(math.log(d) / (d * t))) if t else 1 / d
    plain, ours, p = [0.0] * d, np.zeros(d), np.full(d, 1 / d)
    for t in range(1, 60):
        up = [math.exp(rate(t - 1) * r) if rule == "paper" else r + (sum(plain) == 0) for r in plain]
        q = [(1 - d * rate(t)) * u / sum(up) + rate(t) for u in up]
        p = bandit_policy(ours, t, rule)
        np.testing.assert_allclose(p, q, rtol=1e-9)
        plain = [0.9 * r + 0.1 * (math.exp(x) if rule == "code" else x / w) for r, x, w in zip(plain, losses, q)]
        ours = 0.9 * ours + 0.1 * bandit_reward(np.array(losses), p, rule)
    if rule == "code": np.testing.assert_allclose(bandit_policy(ours, 10**9, rule), np.exp(losses) / np.exp(losses).sum(), atol=1e-3)   # no way back to equal weights


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 5), st.integers(0, 10**6))
def test_means_by_domain(K, B, d, seed):
    rng = np.random.default_rng(seed)
    losses, domain = rng.random((K, B)), rng.integers(0, d, (K, B))
    means, count = domain_means(losses, domain, d)
    for k in range(K):
        plain = pd.Series(losses[k]).groupby(domain[k]).mean().reindex(range(d))
        np.testing.assert_allclose(means[k], plain)
        assert count[k].sum() == B and ((count[k] == 0) == plain.isna()).all()


@settings(deadline=None)
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


def test_a_path_is_what_was_drawn_through_all_epochs_and_a_restart(corpus, tmp_path):
    sixth = {d: np.arange(len(document_bounds(corpus, d))) % 6 == 0 for d in corpus.domains}
    corpus = filter_corpus(corpus, tmp_path/"sixth", sixth)   # less text: soon read several times
    start = pd.DataFrame([[0.6, 0.2, 0.2], [0.2, 0.2, 0.6]], ["x", "y"], corpus.domains)
    config = dataclasses.replace(CONFIG, tokens=7_000, evals=1)
    plain, still = Group(corpus, start, config), OnlineMixing(warmup=1)(corpus, start, config, [0, 0]).train()
    assert plain.batches.chunk.shape[1] == config.steps and max(still.memory["drawn"][0, -1].numpy() / list(still.batches.chunks.values())) > 3, "several epochs"
    assert (still.batches.domain == plain.batches.domain).all() and (still.batches.chunk == plain.batches.chunk).all(), "a mixture that stays is a plain run"
    for rule in ("paper", "code"):
        asked = []
        def watched(group):
            policy = group.policy
            group.policy = lambda step: (asked.append(step), policy(step))[1]
            return group
        group, halves = watched(OnlineMixing(rule=rule)(corpus, start, config, [0, 0])), tmp_path/f"{rule}.ckpt"
        group.train(lambda g: save_checkpoint(g, halves) if g.step == config.steps // 2 else None)
        assert asked == list(range(config.steps)), "every step is drawn once"
        path, batches = group.path(), group.batches
        for k in range(2):
            for step in range(config.steps): assert (batches.domain[k, step] == domains_at(path[k, step], batches.at[k, step])).all()
            for d, n in enumerate(batches.chunks.values()):   # each chunk once an epoch
                mine = batches.chunk[k][batches.domain[k] == d]
                for i in range(0, len(mine) - n + 1, n): assert sorted(mine[i:i + n]) == list(range(n))
        assert len(batches.orders) <= 2 * 3, "finished epochs are forgotten"
        again = load_checkpoint(OnlineMixing(rule=rule)(corpus, start, config, [0, 0]), halves).train()
        assert (again.path() == path).all() and (again.batches.chunk == batches.chunk).all() and (again.losses[config.steps] == group.losses[config.steps]).all()


def test_a_warm_up_has_at_least_one_step(corpus):
    start = pd.DataFrame([[0.7, 0.2, 0.1]], ["x"], corpus.domains)
    assert round(0.01 * CONFIG.steps) == 0
    with_warmup, without = (OnlineMixing(warmup=w)(corpus, start, CONFIG, [0]).policy(0)[0] for w in (0.01, 0))
    assert with_warmup.tolist() == [0.7, 0.2, 0.1] and np.allclose(without, 1 / 3)


def test_a_domain_without_text_is_refused_before_anything_is_written(corpus, tmp_path):
    less = filter_corpus(corpus, tmp_path/"less", {d: np.full(len(document_bounds(corpus, d)), d != "b") for d in corpus.domains})
    start = pd.DataFrame([[0.5, 0.0, 0.5]], ["x"], corpus.domains)
    with pytest.raises(ValueError, match="domain 'b' has 0 training tokens.*reads every domain"):
        train_swarm(start, less, tmp_path/"online", CONFIG, n_jobs=1, progress=False, method=OnlineMixing())
    assert not (tmp_path/"online").exists()
    swarm = train_swarm(start.drop(columns="b"), less, tmp_path/"online", CONFIG, n_jobs=1, progress=False, method=OnlineMixing())
    assert swarm.meta["complete"] and set(load_paths(tmp_path/"online")) == {"run", "tokens", "a", "c"}
    scores = pd.DataFrame({"domain": np.repeat(["a", "c"], [less.facts(d)["train_documents"] for d in ("a", "c")])})
    scores = scores.assign(document=scores.groupby("domain").cumcount(), loss=np.arange(len(scores))[::-1])
    once = prune(less, scores, tmp_path/"once", 0.5)
    assert [once.facts(d)["train_documents"] > 0 for d in once.domains] == [True, False, True]


def test_doremi_answers_anew_for_another_reference_and_may_be_moved(corpus, tmp_path):
    call, CONFIG = dict(n_jobs=1, progress=False, overwrite=True), QUICK
    only = {d: pd.Series({x: float(x == d) for x in corpus.domains}) for d in ("a", "c")}
    of_c, *_ = doremi(corpus, tmp_path/"d", CONFIG, mixture=only["c"], **call)
    of_a, *_ = doremi(corpus, tmp_path/"d", CONFIG, mixture=only["a"], **call)
    fresh, *_ = doremi(corpus, tmp_path/"fresh", CONFIG, mixture=only["a"], **call)
    assert not np.allclose(of_a, of_c, atol=1e-3) and np.array_equal(of_a, fresh), "not the old answer"
    (tmp_path/"d").rename(tmp_path/"moved")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path/"moved").glob("*/groups/*")}
    moved, *_ = doremi(corpus, tmp_path/"moved", CONFIG, mixture=only["a"], n_jobs=1, progress=False)
    assert np.array_equal(moved, of_a) and {p: p.stat().st_mtime_ns for p in times if p.suffix != ".lock"} == {p: t for p, t in times.items() if p.suffix != ".lock"}
    method = DoReMi(str(tmp_path/"moved/reference"))
    assert str(tmp_path) not in repr(method) and len(method.made) == 16
    with pytest.raises(FileNotFoundError, match="train one first"): DoReMi(str(tmp_path/"nowhere"))


@pytest.mark.parametrize("part", ["reference", "proxy"])
def test_a_model_that_breaks_leaves_no_mixture(corpus, tmp_path, monkeypatch, part):
    advance, config = Group.advance, dataclasses.replace(CONFIG, tokens=2_000, evals=1)
    def poisoned(self, batch):
        if self.step == 2 and hasattr(self, "reference") == (part == "proxy"): self.weights["head"].data[1, 0, 0] = float("nan")
        advance(self, batch)
    monkeypatch.setattr(Group, "advance", poisoned)
    for again in range(2):   # also where it is only gathered
        with pytest.raises(RuntimeError, match=rf"{part}: the model 'seed-7' broke \(the training loss became nan at step 3\).*lower lr, now 0.005"):
            doremi(corpus, tmp_path/"d", config, seeds=[3, 7], n_jobs=1, progress=False)


def test_doremi_follows_the_reference(corpus, tmp_path):
    # The reference has read only c, which takes long to learn; a and b are learned at once by anybody.
    only = pd.Series({"a": 0.0, "b": 0.0, "c": 1.0})
    mixture, reference, proxy = doremi(corpus, tmp_path/"d", dataclasses.replace(CONFIG, tokens=15_000), mixture=only, n_jobs=1, progress=False)
    assert mixture.iloc[0].idxmax() == "c" and np.isclose(mixture.iloc[0].sum(), 1)
    assert swarm_flops(reference) == swarm_flops(proxy) > 0
    assert best_measured(reference, "c").name == "seed-0"
    uniform = pd.DataFrame([[1 / 3] * 3], ["seed-0"], corpus.domains)
    with pytest.raises(ValueError, match="same model"): DoReMi(str(tmp_path/"d/reference"))(corpus, uniform, dataclasses.replace(CONFIG, model="330K"), [0])
    with pytest.raises(ValueError, match="evenly"): DoReMi(str(tmp_path/"d/reference"))(corpus, uniform * [3, 0, 0], CONFIG, [0])


def test_pruning_keeps_a_band_and_the_validation_text(corpus, tmp_path):
    train_swarm(pd.DataFrame([corpus.prior], ["r"]), corpus, tmp_path/"r", CONFIG, n_jobs=1, progress=False, keep=True)
    weights, model = load_weights(tmp_path/"r", ["r"])
    with pytest.raises(ValueError, match="weights of 2 models: give one"): score_documents(corpus, {k: w.repeat(2, *[1] * (w.ndim - 1)) for k, w in weights.items()}, model, 32, progress=False)
    scores = score_documents(corpus, weights, model, 32, rows=7, progress=False)
    again = score_documents(corpus, weights, model, 32, rows=1, progress=False)
    assert np.allclose(scores["loss"], again["loss"], atol=1e-4), "padding changes nothing"
    assert (scores["tokens"] <= 33).all() and np.isfinite(scores["loss"]).all()
    small = prune(corpus, scores, tmp_path/"low", 0.4, "low")
    kept = sum(len(document_bounds(small, d)) for d in corpus.domains)
    assert abs(kept - 0.4 * len(scores)) <= 1 and small.verify()
    for d in corpus.domains: assert (small.tokens(d, "valid") == corpus.tokens(d, "valid")).all()
    none = filter_corpus(corpus, tmp_path/"none", {d: np.full(len(document_bounds(corpus, d)), d != "a") for d in corpus.domains})
    assert set(score_documents(none, weights, model, 32, progress=False)["domain"]) == {"b", "c"}, "a domain without documents has no scores"
    worst_kept = scores["loss"].sort_values().iloc[kept - 1]
    assert (scores.groupby("domain")["loss"].apply(lambda x: (x <= worst_kept).sum()) == [len(document_bounds(small, d)) for d in corpus.domains]).all()


def test_pruning_counts_whole_documents_and_wants_its_own_scores(corpus, tmp_path):
    sizes = {d: len(document_bounds(corpus, d)) for d in corpus.domains}
    less = filter_corpus(corpus, tmp_path/"odd", {d: np.arange(n) >= (d == "a" and sum(sizes.values()) % 2 == 0) for d, n in sizes.items()})
    scores = pd.concat([pd.DataFrame({"domain": d, "document": np.arange(less.facts(d)["train_documents"])}) for d in less.domains], ignore_index=True)
    rng, n = np.random.default_rng(0), len(scores)
    scores["loss"] = rng.permutation(n).astype(float)
    assert n % 2 == 1
    for keep in (0.5, 0.31, 1e-9, 1.0):
        k = max(1, round(keep * n))
        for band in BANDS:
            kept = prune(less, scores.sample(frac=1, random_state=1), tmp_path/"x", keep, band, overwrite=True)
            first = {"low": 0, "middle": round((n - k) / 2), "high": n - k}[band]
            want = scores[scores["loss"].between(first, first + k - 1)]
            assert [kept.facts(d)["train_documents"] for d in kept.domains] == [(want["domain"] == d).sum() for d in kept.domains]
            for d in kept.domains:   # the very documents
                bounds = document_bounds(less, d).iloc[want.loc[want["domain"] == d, "document"].sort_values()]
                whole = [less.tokens(d)[s:s + m] for s, m in zip(bounds["start"], bounds["length"])]
                assert np.array_equal(kept.tokens(d), np.concatenate([np.empty(0, int), *whole]))
    for wrong in (scores[1:], pd.concat([scores, scores[:1]]), scores.assign(document=scores["document"] + 1)):
        with pytest.raises(ValueError, match="domain 'a' .*this very corpus"): prune(less, wrong, tmp_path/"y")
    with pytest.raises(ValueError, match="no domain 'zz'"): prune(less, pd.concat([scores, scores[:1].assign(domain="zz")]), tmp_path/"y")
    assert not (tmp_path/"y").exists()


# ---------------------------------------------------------------- one registry

@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if "the Pile's domains" in m.needs])
def test_printed_mixtures_answer_for_the_piles_domains(name, tmp_path):
    class Pile: prior = pd.Series(1 / len(DOMAINS), list(DOMAINS))
    setup = Setup(Pile, "pile_cc", tmp_path, CONFIG)
    column = name.removesuffix(" (paper)")
    assert METHODS[name].choose(setup).mixture.equals(paper_mixture(column, list(DOMAINS)))


def test_every_method_says_where_it_is_from_and_what_it_needs():
    assert all(n == m.name and m.source and set(m.needs) <= set(NEEDS) for n, m in METHODS.items())
    assert [m.name for m in pick_methods(METHODS)] == list(METHODS)
    for name, m in METHODS.items():
        if "all domains" not in m.needs: continue
        with pytest.raises(ValueError, match=f"'{name}' needs all domains"): pick_methods(["uniform", name], without="b")
    with pytest.raises(ValueError, match="no method 'best'; choose from "): pick_methods(["best"])
    with pytest.raises(ValueError, match="needs proxies"): METHODS["best of random"].choose(Setup(None, "a", None, CONFIG))


def run_stage(stage, **given):
    "Run the code cells of a stage, with other parameters, in this process."
    space = {}
    for c in nbformat.read(ROOT/f"nbs/stages/{stage}.ipynb", 4).cells:
        if c.cell_type != "code": continue
        exec(compile(c.source, f"{stage}, cell {c.id}", "exec"), space)
        if "parameters" in c.metadata.get("tags", []):
            assert set(given) <= set(space)
            space |= given
    return space


@pytest.fixture
def results(corpus, tmp_path, monkeypatch):
    "A fit, a simulation and a schedule from the proxies of the corpus, in a folder of their own."
    train_swarm(pd.DataFrame([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], ["x", "y"], corpus.domains), corpus, tmp_path/"proxies", CONFIG, n_jobs=1, progress=False)
    home = tmp_path/"results"
    made = dict(swarm=str(tmp_path/"proxies"), target="c")
    save_result("fits", "fit", {}, made | dict(estimator="ridge"), home)
    save_result("simulations", "search", {"mixture": pd.DataFrame({"domain": corpus.domains, "weight": [0.1, 0.1, 0.8]})}, {"fit": "fit"}, home)
    save_result("schedules", "turn", {"schedule": pd.DataFrame({"begins": [0, 0.5], "b": [0.0, 0.4], "c": [1.0, 0.6]})}, made | dict(law="ridge"), home)
    monkeypatch.setattr(regmix.files, "load_result", functools.partial(load_result, home=home))
    monkeypatch.setattr("regmix.schedules.load_result", lambda kind, name, _: load_result(kind, name, home))
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)


def test_stage_35_trains_whatever_is_in_the_registry(corpus, results, tmp_path, monkeypatch):
    def roots(s): return Chosen(np.sqrt(s.prior) / np.sqrt(s.prior).sum())
    monkeypatch.setitem(METHODS, "square roots", Method("square roots", roots, "this test"))
    call = dict(folder=str(tmp_path/"out"), corpus=str(corpus.folder), target="c", simulations={"RegMix": "search"},
                schedules={"turning": "turn", "turned back": "turn reversed"}, seeds=1, more_seeds={"uniform": 2},
                methods=["uniform", "best of random", "square roots", "DoReMi", "Online", "pruned"],
                model="80K", tokens=2_000, context=32, evals=2, eval_tokens=128, small_tokens=2_000, n_jobs=1)
    run_stage("35_train_targets", **call)
    result = load_result(tmp_path.name, "out", tmp_path.parent)
    made, swarm = result.made, load_swarm(tmp_path/"out/swarm")
    assert list(made["mixtures"]) == ["RegMix", "turning", "turned back", *call["methods"]]
    assert sorted(swarm.mixtures.index) == sorted(f"{m}-{s}" for m in made["mixtures"] for s in range(made["seeds"][m]))
    assert made["seeds"]["uniform"] == 2 and made["mixtures"]["RegMix"]["c"] == 0.8 and swarm.meta["complete"]
    assert np.allclose(pd.Series(made["mixtures"]["square roots"]), roots(Setup(corpus, "c", None, CONFIG)).mixture, atol=1e-6)
    assert made["schedules"]["turned back"] | {"schedule": ""} == dict(schedule="", begins=[0, 0.5], weights={"b": [0.4, 0.0], "c": [0.6, 1.0]})
    assert made["flops"]["uniform"] == made["flops"]["Online"] == 0 < made["flops"]["pruned"] < made["flops"]["DoReMi"]
    assert set(result.table("paths")["method"]) == {"DoReMi", "Online"} and result.tables == ["paths"]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path/"out").rglob("groups/*.json")}
    run_stage("35_train_targets", **call)
    assert {p: p.stat().st_mtime_ns for p in before} == before, "nothing is trained twice"
    with pytest.raises(AssertionError, match="RegMix was fitted for c, not for a"): run_stage("35_train_targets", **call | {"target": "a"})


def test_stage_40_scores_models_of_the_whole_and_of_a_pruned_corpus(corpus, tmp_path):
    pytest.importorskip("lm_eval")
    even, config = pd.DataFrame([[1 / 3] * 3], ["x-0"], corpus.domains), dataclasses.replace(CONFIG, tokens=2_000)
    halves = {d: np.arange(len(document_bounds(corpus, d))) % 2 == 0 for d in corpus.domains}
    less = filter_corpus(corpus, tmp_path/"runs/corpus-low-0.5", halves)
    folders = [tmp_path/"runs/fixed", tmp_path/"runs/pruned"]
    for text, folder, run in ((corpus, folders[0], "x-0"), (less, folders[1], "pruned-0")):
        train_swarm(even.set_axis([run]), text, folder, config, n_jobs=1, progress=False, keep=True)
    call = dict(folder=str(tmp_path/"scores"), corpus=str(corpus.folder), swarms=[str(f) for f in folders], n=8, context=16, continuation=8, n_jobs=1)
    run_stage("40_evaluate", **call)
    result = load_result(tmp_path.name, "scores", tmp_path.parent)
    made, scores = result.made, result.table("scores")
    assert made["models"] == 2 and set(scores["run"]) == {"x-0", "pruned-0"} and made["tasks"] > 0
    with pytest.raises(AssertionError, match="longer than what the models read"): run_stage("40_evaluate", **call | {"context": 30})
    (tmp_path/"scores/tasks.json").write_text("{")   # damaged: the tasks are made again, and they are the same
    run_stage("40_evaluate", **call)
    assert load_result(tmp_path.name, "scores", tmp_path.parent).table("scores").equals(scores)
    part = next((tmp_path/"scores/parts").rglob("x-0.json"))
    part.write_text(part.read_text().replace('"value": 0.', '"value": 1.', 1))
    with pytest.raises(Damaged, match="x-0.json: was changed .* delete this file, and the model is scored again"): run_stage("40_evaluate", **call)


def test_stage_33_writes_a_schedule_that_stage_35_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(regmix.files, "save_result", functools.partial(save_result, home=tmp_path))
    run_stage("33_schedule_mixtures", name="quick", law="ridge", rule="transitions", candidates=2_000, k=20, n_boot=50)
    result = load_result("schedules", "quick", tmp_path)
    assert result.tables == ["predicted", "reach", "schedule", "skill"] and result.made["rule"] == "transitions"
    assert list(result.table("predicted")) == ["tokens", "pile_cc"] and list(result.table("reach")) == ["begins", "level", "runs", "distance"]
    assert np.allclose(load_schedule("quick mean", 500, tmp_path), mean_mixture(load_schedule("quick", 500, tmp_path), 500))
