"""Repetition: what is cut is a function of seed, run and domain; repeats are those of the planned run; laws that count them for less."""
import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from regmix.baselines import OnlineMixing
from regmix.choice import fit_given, save_fit
from regmix.cli import app
from regmix.laws import LogLinearLaw
from regmix.proposals import caveats, load_proposal, propose_fit, resampled_weights
from regmix.proxies import Batches, Group, TrainConfig, draw_kept, kept_chunks, load_checkpoint, save_checkpoint, tokens_to_read
from regmix.repetition import RepetitionLaw, discounted, effective_epochs, effective_weights, once_in
from regmix.schedules import Scheduled
from regmix.swarms import SIMULATED, Swarm
from regmix.tables import Metric
from regmix.training import time_steps, train_swarm
from toys import CONFIG

OFTEN = dataclasses.replace(CONFIG, tokens=1_024, simulate_epochs=200_000)


# ---------------------------------------------------------------- what is cut

@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 200), st.floats(1, 500))
def test_epochs_are_those_of_the_planned_run(chunks, steps, times):
    config = TrainConfig(tokens=steps * 2048, simulate_epochs=int(steps * 2048 * times))
    kept = kept_chunks(chunks, config, "law")
    exact = chunks * config.run_tokens / config.simulate_epochs
    assert 0 <= kept <= chunks and abs(kept - exact) <= 0.5 + 1e-9
    part = draw_kept(chunks, kept, 3, "run", "law")
    assert len(set(part)) == kept == len(part) and all(0 <= c < chunks for c in part)
    assert list(part) == list(draw_kept(chunks, kept, 3, "run", "law"))


def test_without_it_nothing_changes(corpus, mixtures):
    "Also where it is named, and asks for no more than a model reads."
    plain, same = (Batches(corpus, mixtures, [0] * 8, c) for c in (CONFIG, dataclasses.replace(CONFIG, simulate_epochs=CONFIG.tokens)))
    assert plain.chunks == same.chunks and all((plain(s) == same(s)).all() for s in range(0, CONFIG.steps, 40))
    assert tokens_to_read(corpus, CONFIG, corpus.domains) == {d: len(corpus.tokens(d)) for d in corpus.domains}


def rows_of(batches, k): return {tuple(r.tolist()) for s in range(batches.domain.shape[1]) for r in batches(s)[k]}


def test_a_run_reads_its_part_whatever_its_group(corpus, mixtures):
    whole, alone = Batches(corpus, mixtures, [0] * 8, OFTEN), Batches(corpus, mixtures.iloc[[2]], [0], OFTEN)
    assert all((whole(s)[2] == alone(s)[0]).all() for s in range(OFTEN.steps))
    assert rows_of(whole, 0) != rows_of(Batches(corpus, mixtures.iloc[:1], [1], OFTEN), 0), "another seed, another part"
    assert len(rows_of(whole, 0)) == whole.chunks["sea"] < OFTEN.steps * OFTEN.batch, "one domain, all of its part, again and again"


def test_one_domain_can_be_cut_alone(corpus):
    config = dataclasses.replace(OFTEN, simulate_epochs={"law": 200_000, "*": 0})
    left, whole = tokens_to_read(corpus, config, corpus.domains), {d: len(corpus.tokens(d)) for d in corpus.domains}
    assert left["sea"] == whole["sea"] and left["sum"] == whole["sum"] and left["law"] < whole["law"] / 15


def test_a_killed_group_goes_on_as_if_nothing_had_been(corpus, mixtures, tmp_path):
    def group(): return Group(corpus, mixtures.iloc[:2], OFTEN)
    def stop(g):
        if g.step == 3:
            save_checkpoint(g, tmp_path/"g.ckpt")
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): group().train(stop)
    again, whole = load_checkpoint(group(), tmp_path/"g.ckpt").train(), group().train()
    assert all(torch.equal(again.weights[n], w) for n, w in whole.weights.items())


@pytest.mark.parametrize("method", ["online", "schedule"])
def test_moving_mixtures_read_from_the_same_part(corpus, mixtures, method):
    config = dataclasses.replace(OFTEN, tokens=768)
    schedule = pd.DataFrame([[1.0, 0, 0], [0, 0, 1.0]], [0, 0.5], list(mixtures.columns))
    still = schedule.mean().to_frame("r3").T
    make = OnlineMixing() if method == "online" else Scheduled({still.index[0]: schedule})
    moving, plain = make(corpus, still, config, [0]), Batches(corpus, still, [0], config)
    assert [list(a) for a in moving.batches.kept[0]] == [list(b) for b in plain.kept[0]]
    read = [moving.batches(step) for step in range(config.steps)]
    part = {tuple(plain.streams[d][c * 32:(c + 1) * 32].tolist()) for d in range(3) for c in plain.kept[0][d]}
    assert {tuple(r[:32].tolist()) for b in read for r in b[0]} <= part


# ---------------------------------------------------------------- what is said of it

@pytest.fixture(scope="module")
def home(tmp_path_factory): return tmp_path_factory.mktemp("often")/"s"


@pytest.fixture(scope="module")
def swarm(corpus, mixtures, home): return train_swarm(mixtures, corpus, home, OFTEN, n_jobs=1, progress=False)


def test_a_swarm_says_what_was_simulated_and_a_fit_repeats_it(swarm, corpus, mixtures):
    told = swarm.meta["simulated_epochs"]
    assert set(told["planned_tokens"].values()) == {200_000} and swarm.meta["config"]["simulate_epochs"] == 200_000
    assert told["kept_tokens"] == tokens_to_read(corpus, OFTEN, corpus.domains)
    for d, n in told["kept_tokens"].items(): assert swarm.meta["largest_epochs"][d] == pytest.approx(OFTEN.run_tokens / n, abs=0.01)
    once = once_in(swarm)
    planned = pd.Series({d: len(corpus.tokens(d)) / 200_000 for d in once.index})
    assert (once / planned - 1).abs().max() < 0.3, "few chunks are left, and rounded"
    fit = fit_given(swarm, [Metric("law")], "own weight")
    assert any(n.startswith(SIMULATED) for n in fit.meta["notes"])
    with pytest.raises(ValueError, match="the laws know what repetition costs"): discounted(fit, once)


def test_the_same_call_resumes_and_another_plan_is_another_swarm(swarm, home, corpus, mixtures):
    files = {p: p.stat().st_mtime_ns for p in (home/"groups").glob("*.parquet")}
    more = train_swarm(mixtures, corpus, home, OFTEN, n_jobs=1, progress=False)
    assert more.meta["config"] == swarm.meta["config"] and files == {p: p.stat().st_mtime_ns for p in files}
    for other in (0, 300_000):
        with pytest.raises(ValueError, match="begun with other config.simulate_epochs"):
            train_swarm(mixtures, corpus, home, dataclasses.replace(OFTEN, simulate_epochs=other), n_jobs=1, progress=False)


def test_a_pace_needs_no_plan(corpus, mixtures):
    assert time_steps(mixtures, corpus, OFTEN, group=2, seconds=0.01).steps >= 1


@pytest.mark.parametrize("given, why", [
    (["--simulate-epochs", "400"], "--simulate-epochs 400: give the tokens of the planned run, at least the 1,024"),
    (["--simulate-epochs", "1e12"], "less than one sequence of 32: give it more text, let each model read more (--tokens), plan a shorter run"),
    (["--simulate-epochs", "lav=1e4"], "--simulate-epochs 'lav': no domain 'lav'; choose from"),
    (["--simulate-epochs", "1G"], "'1G' is no number"),
    (["--simulate-epochs", "1e4", "--simulate-epochs", "2e4"], "--simulate-epochs is given twice")])
def test_the_shell_refuses_in_one_sentence(corpus, mixtures, tmp_path, given, why):
    mixtures.rename_axis("run").to_csv(tmp_path/"m.csv")
    asked = ["train", str(tmp_path/"m.csv"), str(corpus.folder), "--out", str(tmp_path/"s"), "--tokens", "1024", "--context", "32",
             "--batch", "4", "--eval-tokens", "64"]
    told = CliRunner().invoke(app, [*asked, *given])
    said = " ".join(told.stderr.split())
    assert told.exit_code == 2 and why in said and not (tmp_path/"s").exists(), said


# ---------------------------------------------------------------- laws

DOMAINS = ["web", "papers", "code", "law"]
SLOPES = np.array([0.2, -0.4, 0.4, -1.2])


def toy(decay, once, seed=0, n=96, noise=0.005):
    "A swarm whose losses follow the law of repetition."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.dirichlet([2, 1, 1, 1], n), [f"r{i}" for i in range(n)], DOMAINS)
    W = effective_weights(X.to_numpy(), once, decay)
    y = 2 + np.exp(W @ SLOPES + 0.3 * (1 - W.sum(1))) + rng.normal(0, noise, n)
    return Swarm("toy", X, pd.DataFrame({"run": X.index, "tokens": 1, "domain": "y", "loss": y}), {})


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 1000), st.floats(0, 1000), st.floats(0, 100))
def test_more_epochs_are_worth_more_and_each_is_worth_less(e, more, decay):
    a, b = effective_epochs([e, e + more], decay)
    assert 0 <= a <= b + 1e-12 and a <= e + 1e-9 and b <= 1 + decay + 1e-9 and b - a <= more + 1e-9


@pytest.mark.parametrize("decay, seed", [(2.0, 1), (8.0, 2)])
def test_a_decay_is_recovered(decay, seed):
    once = np.array([np.inf, 0.05, np.inf, 0.02])
    X, y = toy(decay, once, seed).xy("y")
    law = RepetitionLaw(LogLinearLaw(huber=0.05, starts=2), once).fit(X.to_numpy(), y)
    assert decay / 1.5 < law.decay_ < decay * 1.5
    at = np.random.default_rng(9).dirichlet(np.ones(4), 200)
    W = effective_weights(at, once, decay)
    assert np.sqrt(np.mean((law.predict(at) - 2 - np.exp(W @ SLOPES + 0.3 * (1 - W.sum(1)))) ** 2)) < 0.02
    assert np.isfinite(law.predict_sd(at)).all()


def test_a_discounted_fit_proposes_less_of_what_is_scarce():
    fit = fit_given(toy(4, np.full(4, np.inf)), [Metric("y")], "log-linear")
    once = {"web": np.inf, "papers": np.inf, "code": np.inf, "law": 0.01}
    less, plain = discounted(fit, once), propose_fit(fit)
    found = propose_fit(less)
    assert found.mixture["law"] < plain.mixture["law"] - 0.1 and found.predicted.loc["y", "value"] > plain.predicted.loc["y", "value"]
    assert resampled_weights(less, n=2).loc["law", "median"] < plain.mixture["law"] - 0.1, "resamples count repeats for less too"
    assert less.meta["notes"][-1].startswith("repeated text counts for less")
    assert less.meta["notes"][:-1] == fit.meta.get("notes", []), "the fit that was given stays as it was"
    P = np.random.default_rng(0).dirichlet(np.full(4, 0.05), 2000)
    for model in less.model.models_: assert (model.effective(P) >= 0).all() and np.allclose(model.effective(P).sum(1), 1), "no root of -1e-17"
    same = discounted(fit, dict.fromkeys(DOMAINS, np.inf))
    assert np.allclose(same.model.predict(fit.mixtures), fit.model.predict(fit.mixtures))


def test_the_shell_proposes_with_a_decay_and_keeps_it(tmp_path):
    fit = fit_given(toy(4, np.full(4, np.inf), n=40), [Metric("y")], "log-linear")
    save_fit(fit, tmp_path/"fit")
    (tmp_path/"hand.json").write_text(json.dumps(dict.fromkeys(DOMAINS, 1e12) | {"law": 1e9}))
    asked = ["propose", str(tmp_path/"fit"), "--stability", "0", "--repeat-decay", "15"]
    told = CliRunner().invoke(app, [*asked, "--available", str(tmp_path/"hand.json"), "--tokens", "1e11", "--max-epochs", "90",
                                    "--out", str(tmp_path/"p.json")])
    assert told.exit_code == 0, told.stderr
    kept = load_proposal(tmp_path/"p.json")
    assert kept["settings"]["repeat_decay"] == 15 and any("counted for less (decay 15)" in c for c in caveats(fit, kept)), "the report says it too"
    alone = CliRunner().invoke(app, asked)
    assert alone.exit_code == 2 and "give --available and --tokens with it" in alone.stderr
    noted = dataclasses.replace(fit, meta=fit.meta | {"notes": [f"{SIMULATED}: these models"]})
    assert any("the proxies repeated their text too" in c for c in caveats(noted, kept | {"settings": {}}))
