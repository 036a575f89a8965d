"""Planning: the cost of a swarm, what a pilot says of more runs, which mixtures next; the commands around them."""
import json
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from regmix.choice import fit_swarm, load_fit
from regmix.cli import app
from regmix.planning import (Process, best_of_random, calibration, choose_batch, gpu_hours, learning, next_mixtures, plan_more,
                             search_pool, verdict, within_limits)
from regmix.proposals import caveats, propose_fit
from regmix.swarms import Swarm, long_losses, save_swarm
from regmix.tables import Metric


def toy_swarm(n=60, d=4, noise=0.02, seed=0):
    "Runs whose loss is lowest where the second domain has some 60%."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.dirichlet(np.ones(d), n), [f"r{i}" for i in range(n)], list("abcdefgh")[:d])
    y = 3 + 2 * (X["b"] - 0.6) ** 2 + 0.5 * X["a"] + rng.normal(0, noise, n)
    return Swarm("toy", X, long_losses(pd.DataFrame({"t": y, "u": 1 - y}), 1000))


def ask(line, status=0):
    found = CliRunner().invoke(app, shlex.split(line))
    assert found.exit_code == status, found.stderr + repr(found.exception)
    if "--json" in line: return json.loads(found.stdout), found.stderr
    return found.stdout, found.stderr


def test_a_process_from_two_equal_runs_and_from_constant_losses():
    X = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    assert np.isfinite(Process().fit(X, [1.0, 1.2, 2.0]).predict(X)).all()
    assert np.allclose(Process().fit(X, [1.0, 1.0, 1.0]).predict(X), 1)


@pytest.mark.parametrize("higher", [False, True])
def test_more_runs_are_asked_for_in_the_metrics_direction(higher):
    swarm = toy_swarm()
    plan = plan_more(swarm, Metric("u" if higher else "t", higher), 0.9)
    assert plan["from"] == "misses" and 0.5 * 0.02 < plan["noise"] < 3 * 0.02 < plan["spread"]
    assert plan["enough"] and "enough: 60 runs" in plan["words"]
    assert plan["learning"].curve["rho"].is_monotonic_increasing and (plan["learning"].curve["regret"].diff().dropna() <= 1e-12).all()


def test_noise_alone_needs_more_runs_than_there_can_be():
    swarm = toy_swarm(noise=5)
    plan = plan_more(swarm, "t", 0.95)
    assert not plan["enough"] and (plan["needed"] is None or plan["needed"] > 240)


def test_repeats_say_how_large_the_noise_is_and_what_nobody_can_pass():
    one = toy_swarm(30)
    rng = np.random.default_rng(1)
    X = pd.concat([one.mixtures.set_axis([f"{r}-{s}" for r in one.mixtures.index]) for s in (0, 1)])
    y = np.tile(one.final_losses()["t"].to_numpy(), 2) + rng.normal(0, 0.1, 60)
    plan = plan_more(Swarm("twice", X, long_losses(pd.DataFrame({"t": y}, X.index), 1000), {"seeds": [0] * 30 + [1] * 30}), "t", 0.999)
    assert plan["from"] == "repeats" and 0.06 < plan["noise"] < 0.15 and plan["wanted"] == plan["ceiling"] < 0.999


def test_the_interval_widens_with_the_distance():
    X, y = toy_swarm(64).xy("t")
    curve = learning(X.to_numpy(), y.to_numpy()).curve
    width = curve["rho_high"] - curve["rho_low"]
    assert width.iloc[-1] > width.iloc[0] and (curve["rho_high"] <= 1).all()
    assert verdict(learning(X.to_numpy(), y.to_numpy(), at=[64]), 0.1)["enough"]


def test_next_keeps_limits_in_any_number_of_domains():
    for d in (2, 4, 8):
        swarm = toy_swarm(40, d)
        batch, said = next_mixtures(swarm, "t", 12, lower={"a": 0.1}, upper={"b": 0.5}, seed=1)
        assert np.allclose(batch.sum(axis=1), 1) and not batch.duplicated().any()
        assert batch["a"].min() >= 0.1 - 1e-9 and batch["b"].max() <= 0.5 + 1e-9
        assert not set(batch.index) & set(swarm.mixtures.index) and (said["low"] < said["high"]).all()


def test_next_goes_where_it_is_good_in_either_direction():
    swarm = toy_swarm()
    low, _ = next_mixtures(swarm, "t", 8)
    high, said = next_mixtures(swarm, Metric("u", higher=True), 8)
    assert abs(low["b"].mean() - 0.6) < 0.25 and low["a"].mean() < 0.2
    pd.testing.assert_frame_equal(low, high)
    assert said["predicted"].mean() > swarm.final_losses()["u"].mean() and (said["low"] < said["predicted"]).all()


def test_limits_that_no_candidate_keeps_are_filled_up():
    X = np.random.default_rng(0).dirichlet(np.ones(5), 300)
    low, high = np.array([0.3, 0, 0, 0.2, 0]), np.array([0.4, 0.1, 1, 0.2, 0.05])
    found = within_limits(X, low, high)
    assert np.allclose(found.sum(1), 1) and (found >= low - 1e-12).all() and (found <= high + 1e-12).all()


def test_a_search_ends_at_the_pools_best_and_chance_agrees_with_drawing():
    X, y = (v.to_numpy() for v in toy_swarm(80).xy("t"))
    steps, came = search_pool(X, y, start=16, batch=16, end=80)
    assert steps["found"].iloc[-1] == 0 and steps["found"].is_monotonic_decreasing and len(came) == 64
    assert best_of_random(y)[-1] == 0 and (np.diff(best_of_random(y)) <= 1e-12).all()
    assert len(set(choose_batch(Process().fit(X[:20], y[:20]), X[20:], 60))) == 60   # a batch may be all there is


def test_intervals_learn_from_what_came_in():
    rng = np.random.default_rng(0)
    assert calibration(rng.normal(0, 2, 400), np.ones(400)) == pytest.approx(2, rel=0.1)
    assert calibration([], []) == 1


def test_names_and_shares_of_gpus():
    assert gpu_hours(1e18, "rtx4090") == gpu_hours(1e18, "RTX 4090") > gpu_hours(1e18, "H100", 0.1)
    with pytest.raises(ValueError, match="no GPU 'Voodoo'; choose from"): gpu_hours(1, "Voodoo")


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    swarm = toy_swarm(40)
    swarm.mixtures.rename_axis("run").to_csv("m.csv")
    swarm.final_losses().to_csv("l.csv")
    return tmp_path


def test_next_and_plan_from_tables(room):
    told, _ = ask("next --mixtures m.csv --losses l.csv --target t --n 5 --bound b=:0.3 --out more.csv --json")
    written = pd.read_csv("more.csv", index_col=0)
    assert list(written.index) == list(told["mixtures"]) and written["b"].max() <= 0.3 and len(written) == 5
    assert set(told["predicted"]["next-1"] if "next-1" in told["predicted"] else list(told["predicted"].values())[0]) == {"predicted", "low", "high"}
    ask("next --mixtures m.csv --losses l.csv --target t --out more.csv", 2)          # not overwritten
    told, _ = ask("plan --mixtures m.csv --losses l.csv --higher u --rho 0.9 --json")
    assert told["plans"][0]["target"] == "u" and told["plans"][0]["runs"] == 40 and len(told["plans"][0]["curve"]) > 5
    out, _ = ask("plan --mixtures m.csv --losses l.csv --target t --rho 0.9")
    assert "enough" in out or "more: a rho" in out


@pytest.mark.parametrize("line, why", [
    ("plan", "give either a text"), ("plan text --swarm s --target t", "give either a text"), ("plan --mixtures m.csv --losses l.csv", "--target COLUMN"),
    ("plan --mixtures m.csv --losses l.csv --target t --rho 95", "--rho 95"), ("next --mixtures m.csv --losses l.csv --target t --n 0", "--n 0"),
    ("next --mixtures m.csv --losses l.csv --target t --bound x=:0.5", "no domain 'x'"), ("next --mixtures m.csv --losses l.csv --target t --bound a=0.9:0.2", "0.9 to 0.2"),
    ("next --mixtures m.csv --losses l.csv --target t --importance z=1", "no target 'z'"), ("plan nowhere --gpu Voodoo", "no GPU 'Voodoo'")])
def test_bad_questions_are_one_line(room, line, why):
    told, err = ask(f"{line} --json", 2)
    assert why in told["error"], told


def test_help_has_an_example_each():
    for name in ("plan", "next"): assert f"regmix {name} " in ask(f"{name} --help")[0]


def test_a_dry_run_foretells_what_a_run_takes_and_a_swarm_grows(room):
    rng, words = np.random.default_rng(0), "tree river stone if else return cloud court judge law".split()
    Path("text").mkdir()
    for d in ("web", "code"):
        Path(f"text/{d}.jsonl").write_text("".join(json.dumps({"text": " ".join(rng.choice(words, 200))}) + "\n" for _ in range(60)))
    how = "--vocab-size 300 --max-bytes 60000 --context 32 --batch 4 --eval-tokens 64 --evals 2 --jobs 1 --tokens 10000 --quiet --json"
    told, _ = ask(f"plan text --n 3 {how.replace('--quiet ', '')}")
    assert told["runs"] == 3 and told["seconds"] > 0 and told["gpu"] == "H100" and told["tokens"] == 3 * 79 * 128
    ask("sample text --n 4 --out mix.csv --vocab-size 300 --max-bytes 60000")
    for attempt in range(4):   # another process may have the core for a while
        would, _ = ask(f"train mix.csv text --out swarm{attempt} {how} --dry-run")
        assert would["runs"] == 4 and would["dry_run"] and not Path(f"swarm{attempt}").exists()
        taken = ask(f"train mix.csv text --out swarm{attempt} {how}")[0]["seconds"]
        if 0.6 < would["seconds"] / taken < 1.6: break
    assert 0.6 < would["seconds"] / taken < 1.6
    pd.DataFrame([[0.25, 0.75]], pd.Index(["x"], name="run"), ["code", "web"]).to_csv("more.csv")
    assert "config.tokens" in ask(f"train more.csv text --out swarm0 {how.replace('10000', '20000')} --add", 2)[0]["error"]
    assert ask(f"train more.csv text --out swarm0 {how} --add")[0]["runs"] == 5
    assert "no swarm to add to" in ask(f"train more.csv text --out none {how} --add", 2)[0]["error"]


def options_of(command):
    import typer
    return {o for p in typer.main.get_command(app).commands[command].params for o in p.opts if o.startswith("--")}


def test_commands_that_read_the_same_thing_have_the_same_options():
    reading = {"--run", "--losses-run", "--domain", "--by-order", "--drop-missing", "--drop-unmatched", "--normalise", "--step", "--phase", "--split"}
    text = {"--text-field", "--domain-field", "--valid-fraction", "--split-by", "--tokenizer", "--eos", "--vocab-size", "--max-bytes"}
    for command in ("fit", "plan", "next"): assert reading <= options_of(command), command
    for command in ("sample", "train", "plan"): assert text <= options_of(command), command
    for command in ("sample", "propose"): assert {"--keep", "--free"} <= options_of(command), command


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    "Tables with runs in a column of their own name, weights rounded, and two steps a run."
    folder, swarm = tmp_path_factory.mktemp("tables"), toy_swarm(24)
    X = swarm.mixtures.round(2)
    X.rename_axis("name").to_csv(folder/"m.csv")
    Y = swarm.final_losses()
    pd.concat([(Y + 5).assign(step=1), Y.assign(step=2)]).rename_axis("name").to_csv(folder/"l.csv")
    return f"--mixtures {folder}/m.csv --losses {folder}/l.csv --target t"


@pytest.mark.parametrize("line", ["plan --law ridge", "next --n 2"])
def test_plan_and_next_read_tables_as_fit_does(tables, line):
    assert "--normalise" in ask(f"{line} {tables}", 2)[1]
    last, first = (ask(f"{line} {tables} --normalise --run name --step {step} --json")[0] for step in (2, 1))
    if line.startswith("next"): assert all(first["predicted"][r]["predicted"] > last["predicted"][r]["predicted"] + 3 for r in last["predicted"])
    else: assert first["plans"][0]["runs"] == last["plans"][0]["runs"] == 24


def test_plan_refuses_options_of_what_was_not_given(tables, tmp_path):
    assert "--normalise is for runs that are there" in ask(f"plan {tmp_path} --normalise", 2)[1]
    assert "--eos is for a text" in ask(f"plan {tables} --normalise --eos x", 2)[1]


def kept_runs(folder, n=20, seed=0):
    "Runs over six domains, four of which keep their ratios: the two others help the target, one much."
    rng, old = np.random.default_rng(seed), {"web": 0.5, "code": 0.3, "law": 0.15, "gone": 0.05}
    (folder/"old.json").write_text(json.dumps({"mixture": old}))
    (folder/"now.json").write_text(json.dumps({"web": 5, "code": 2, "law": 2, "math": 1, "news": 1}))
    said = ask(f"sample {folder}/now.json --keep {folder}/old.json --n {n} --out {folder}/m.csv --overwrite")
    X = pd.read_csv(folder/"m.csv", index_col="run")
    y = 2 + np.exp(-X["math"]) + 3 * (X["web"] - 0.3) ** 2 + rng.normal(0, 0.002, n)
    pd.DataFrame({"t": y}).to_csv(folder/"l.csv")
    return X, said


def test_domains_that_stay_keep_their_ratios_from_sampling_to_the_proposal(tmp_path):
    X, (_, err) = kept_runs(tmp_path)
    assert "as one: web, code, law; free: math, news; not there any more: gone" in err and "3 weights are looked for" in err
    assert np.allclose(X["web"] * 0.3, X["code"] * 0.5, atol=1e-12) and np.allclose(X.sum(axis=1), 1)
    tables, runs = f"--mixtures {tmp_path}/m.csv --losses {tmp_path}/l.csv", len(X)
    for law in ("log-linear", "quadratic ridge"):                             # solved, and searched
        fitted = ask(f"fit {tables} --target t --law '{law}' --out {tmp_path}/{law[:3]} --json")[0]
        assert fitted["runs"] == runs and fitted["comparison"][0]["left_out"] is None
        asked = ask(f"propose {tmp_path}/{law[:3]} --keep {tmp_path}/old.json --stability 0 --json")[0]
        alone = ask(f"propose {tmp_path}/{law[:3]} --stability 0 --json")[0]
        for told in (asked, alone):
            p = told["mixture"]
            assert p["web"] * 0.3 == pytest.approx(p["code"] * 0.5, abs=1e-6) and p["math"] > 0.3 and sum(p.values()) == pytest.approx(1)
        assert asked["mixture"] == pytest.approx(alone["mixture"], abs=0.02)
        assert [any("ratios that they had in every run" in c for c in told["caveats"]) for told in (asked, alone)] == [False, True]
    free = ask(f"propose {tmp_path}/log --keep {tmp_path}/old.json --free 'c*' --bound law=0 --stability 0")[1]
    assert "as one: web; free: code, math, news; not there any more: law, gone" in free


@pytest.fixture(scope="module")
def kept_fit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    kept_runs(folder)
    ask(f"fit --mixtures {folder}/m.csv --losses {folder}/l.csv --target t --law ridge --out {folder}/fit")
    return folder


@pytest.mark.parametrize("more, said", [("--free web", "--free is for --keep"), ("--keep {0}/old.json --free z", "no domain 'z'; choose from web, code"),
                                        ("--keep {0}/old.json --bound web=0 --bound code=0 --bound law=0", "old.json: no weight of the old mixture is on a domain"),
                                        ("--keep {0}/old.json --keep {0}/old.json", "--keep is given twice")])
def test_keep_says_what_it_cannot_do(kept_fit, more, said):
    assert said in ask(f"propose {kept_fit}/fit --stability 0 {more.format(kept_fit)}", 2)[1]


def test_a_new_law_of_few_runs_takes_part_where_domains_are_always_together():
    rng = np.random.default_rng(0)
    parts, S = rng.dirichlet(np.ones(3), 16), np.zeros((3, 30))
    S[0, :28], S[1, 28], S[2, 29] = rng.dirichlet(np.ones(28)), 1, 1
    X = pd.DataFrame(parts @ S, [f"r{i}" for i in range(16)], [f"d{i}" for i in range(30)])
    y = 2 + np.exp(parts @ [0.5, -1.0, 0.2])
    fit = fit_swarm(Swarm("s", X, long_losses(pd.DataFrame({"t": y}, X.index), 1)), ["t"], ["log-linear"])
    assert fit.comparison["rho"].iloc[0] > 0.9                                # 31 parameters, 16 runs, 3 weights that move
    p = propose_fit(fit).mixture
    assert np.allclose(p.iloc[:28], p.iloc[:28].sum() * S[0, :28], atol=1e-6) and p["d28"] > 0.5
    assert not any("are few" in c for c in caveats(fit))


def test_old_runs_on_a_domain_that_was_split_and_before_one_was_added_count(tmp_path):
    "Swarms of corpora that grew are joined where the rest is the same; a whole's runs read its parts."
    told = {c: 7 for c in ("train_tokens", "valid_tokens", "train_documents", "valid_documents", "train_bytes", "valid_bytes")}
    def swarm(name, domains, seed, **other):
        X = pd.DataFrame(np.random.default_rng(seed).dirichlet(np.ones(len(domains)), 12), [f"{name}{i}" for i in range(12)], domains)
        meta = {"corpus": name, "bytes_per_token": {}, "text": {"tokenizer": {"sha256": "a", "kind": name}, "domains": {d: told | other.get(d, {}) for d in domains}}}
        save_swarm(Swarm(name, X, long_losses(pd.DataFrame({"web": 3 - X[domains[0]]}), 9), meta), tmp_path/name)
    swarm("old", ["web", "code"], 0)
    swarm("new", ["web", "code:py", "code:c", "math"], 1)
    swarm("odd", ["web", "math"], 2, web={"valid_tokens": 8})
    assert ask(f"next {tmp_path}/old --target web --n 2 --json")[0]["runs"] == 12       # one folder, by name
    (tmp_path/"parts.json").write_text('{"code:py": 3, "code:c": 1}')
    both = f"fit --swarm {tmp_path}/old --swarm {tmp_path}/new --target web --law ridge"
    _, err = ask(f"{both} --split code={tmp_path}/parts.json --out {tmp_path}/fit")
    assert "'code' was split up since: its 12 runs read it as code:py 0.75, code:c 0.25" in err and "the corpora differ: 'code' only in that of 'old'" in err
    fit = load_fit(tmp_path/"fit")
    assert fit.domains == ["web", "code:py", "code:c", "math"] and np.allclose(fit.mixtures.loc["old3", "code:py"], 3 * fit.mixtures.loc["old3", "code:c"])
    assert (fit.mixtures.iloc[:12]["math"] == 0).all() and fit.meta["valid_documents"]["math"] == 7
    assert any("few held-out documents: web (7)" in c for c in caveats(fit, {"mixture": {}, "predicted": {}}))
    assert "no domain 'cod'; choose from web, code" in ask(f"{both} --split cod={tmp_path}/parts.json --out {tmp_path}/no", 2)[1]
    assert "differ in their corpus" in ask(f"fit --swarm {tmp_path}/old --swarm {tmp_path}/odd --target web --out {tmp_path}/no", 2)[1]


def test_the_bench_of_size_runs_small(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["size.py", "--small", "--text-gb", "0.0003"])
    runpy.run_path(str(Path(__file__).parent.parent/"bench/size.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert "MB of text" in lines[1] and len([l for l in lines if " MB at most" in l]) == 17 and "log-linear: 100 runs" in lines[-1]
