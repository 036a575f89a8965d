"""Sizes: the laws find what data were drawn from, refuse what cannot be learnt, and tables with sizes are read and brought to one."""
import json
import warnings

import numpy as np
import pandas as pd
import pytest

from regmix.mixtures import distance
from regmix.sizes import (SIZE_LAWS, SizedRuns, SizeLaw, as_size, at_size, beside, check_sizes, fit_sizes, predict_larger, size_law, sized_runs,
                          terms_at)
from regmix.swarms import load_swarm
from regmix.tables import as_count, read_tables

DOMAINS = list("abcd")


def truth(joint):
    "A law of known parameters: P (n, d), N and D -> losses."
    b, g = (np.linspace(*ends, 4) if joint else np.full(4, np.mean(ends)) for ends in ([0.2, 1.2], [1.0, -0.5]))
    return lambda P, N, D: (1.5 + np.exp(P @ np.linspace(-1, 0.9, 4)) + (N / 1e6) ** -0.35 * np.exp(P @ b) + (D / 1e8) ** -0.25 * np.exp(P @ g))


def drawn(joint, noise=0.005, each=40, seed=0, N=(3e5, 1e6, 4e6), D=(1e8, 3e8)):
    rng = np.random.default_rng(seed)
    n = len(N) * each
    X = np.c_[rng.dirichlet(np.full(4, 0.7), n), np.repeat(N, each), np.resize(D, n)]
    return X, truth(joint)(X[:, :4], X[:, 4], X[:, 5]) * np.exp(rng.normal(0, noise, n))


def as_runs(X, y, names=None):
    sizes = pd.DataFrame({"run": names or [str(i) for i in range(len(X))], "parameters": X[:, -2], "tokens": X[:, -1], "last": True})
    return SizedRuns(pd.DataFrame(X[:, :-2], columns=DOMAINS), sizes, pd.DataFrame({"loss": y}))


def table(folder, **changed):
    "A user's table: weights, sizes and a loss in one file."
    X, y = drawn(True, each=16)
    t = pd.DataFrame(X[:, :4].round(5), columns=DOMAINS)
    t["d"] = (1 - t[["a", "b", "c"]].sum(axis=1)).round(5)
    t.insert(0, "run", [f"r{i}" for i in range(len(t))])
    t["params"], t["train_tokens"], t["val_loss"] = [f"{n / 1e6:g}M" for n in X[:, 4]], X[:, 5].astype(int).astype(str), y.round(5)
    for column, value in changed.items():
        if value is None: del t[column]
        else: t[column] = value
    t.to_csv(folder/"runs.csv", index=False)
    return folder/"runs.csv"


def read(path):
    with pytest.warns(UserWarning): return read_tables(path, path, domains=DOMAINS, targets=["val_loss"])


@pytest.mark.parametrize("joint", [False, True])
def test_a_law_finds_what_its_data_were_drawn_from(joint):
    law, far = size_law("joint" if joint else "additive").fit(*drawn(joint)), np.random.default_rng(1).dirichlet(np.ones(4), 60)
    for N, D in ((1.6e7, 1e9), (1e6, 1e8)):   # four times the parameters and three times the tokens; within
        p, y = law.predict(np.c_[far, np.full(60, N), np.full(60, D)]), truth(joint)(far, N, D)
        assert np.abs(p / y - 1).mean() < 0.03 and np.corrcoef(p, y)[0, 1] > 0.99
    assert law.noise_ < 0.01 and set(law.exponents) == {"parameters", "tokens"}


def test_one_law_tells_the_other_apart():
    "Where size matters more for some mixtures, the joint law predicts the larger size better; where it does not, neither is better by much."
    error = {}
    for joint in (False, True):
        X, y = drawn(joint, N=(3e5, 1e6, 4e6, 1.6e7))
        runs = as_runs(X, y)
        large = (X[:, 4] == 1.6e7)
        for name in SIZE_LAWS: error[joint, name] = np.abs(fit_sizes(runs.keep(~large), "loss", name).predict(X[large]) - y[large]).mean()
    assert error[True, "joint"] < 0.5 * error[True, "additive"] and error[False, "joint"] < 0.05


def test_derivatives_are_those_of_the_formula():
    X, y = drawn(True, each=6)
    for joint in (False, True):
        law = SizeLaw(joint, starts=2, steps=3).fit(X, y)
        theta, Z, step = law.theta_[None] + 0.1, law._scaled(X), 1e-6 * np.eye(len(law.theta_))
        slopes = (law._law(theta + step, Z)[0] - law._law(theta - step, Z)[0]) / 2e-6
        assert np.allclose(law._law(theta, Z)[1][0].T, slopes, atol=1e-6)
        slopes = (law._prior(theta + step, Z, 1.0)[0] - law._prior(theta - step, Z, 1.0)[0]) / 2e-6
        assert np.allclose(law._prior(theta, Z, 1.0)[1][0].T, slopes, atol=1e-6)


def test_it_stays_finite():
    "Few runs, equal losses, an outlier, sizes many powers of ten apart: numbers come out, exponents within their bounds."
    X, y = drawn(True, each=4)
    wild = np.where(np.arange(len(y)) == 3, 1e4, y)
    for rows, losses in ((X, y), (X, np.full(len(y), 2.0)), (X, wild), (X * [1, 1, 1, 1, 1e6, 1e-4], y)):
        law = SizeLaw().fit(rows, losses)
        far = np.c_[np.eye(4), np.full(4, 1e14), np.full(4, 1e15)]
        assert np.isfinite(law.predict(far)).all() and np.isfinite(law.predict_sd(rows)).all()
        assert all(0 < e < 2 for e in law.exponents.values())
    assert np.abs(SizeLaw().fit(X, wild).predict(X[4:]) / y[4:] - 1).mean() < 0.2   # one diverged run bends nothing


def test_what_the_runs_leave_open_is_refused():
    X, y = drawn(True, D=(1e8,))
    law = SizeLaw(starts=1, steps=3).fit(X, y)
    assert list(law.exponents) == ["parameters"]
    with pytest.raises(ValueError, match="all runs have 100M tokens, so nothing is known of 1B"): law.predict(np.r_[[0.25] * 4, 1e6, 1e9][None])
    runs = as_runs(X, y)
    with pytest.raises(ValueError, match="all runs have 1M parameters and 100M tokens: a law of size needs runs of two sizes"):
        check_sizes(runs.keep(X[:, 4] == 1e6))
    apart = X.copy()
    apart[:, :4] *= np.where((X[:, 4] == 4e6)[:, None], [1, 1, 0, 0], [0, 0, 1, 1])   # no domain in common
    apart[:, :4] /= apart[:, :4].sum(axis=1, keepdims=True)
    with pytest.raises(ValueError, match="runs with 4M parameters have no mixtures in common"): fit_sizes(as_runs(apart, y), "loss")
    for row, column, what in ((2, 5, "tokens = 0"), (1, 4, "parameters = -1")):
        bad = X.copy(); bad[row, column] = float(what.split()[-1])
        with pytest.raises(ValueError, match=f"row {row}: {what}: a law of size needs a number above 0"): SizeLaw().fit(bad, y)
    with pytest.raises(ValueError, match="the value -1 is not above 0; laws of size are for losses"): fit_sizes(as_runs(X, np.r_[-1, y[1:]]), "loss")
    with pytest.raises(ValueError, match="no law of size 'jont'; choose from additive, joint .did you mean 'joint'"): size_law("jont")
    with pytest.raises(ValueError, match="no target 'los'"): fit_sizes(runs, "los")


def test_the_best_mixture_moves_under_the_joint_law_only():
    X, y = drawn(True)
    P = np.random.default_rng(2).dirichlet(np.ones(4), 30)
    for name, parts in (("additive", 1), ("joint", 3)):
        law = fit_sizes(as_runs(X, y), "loss", name)
        A, w = terms_at(law, 4e6, 3e8)
        rest = law.predict(np.c_[P, np.full(30, 4e6), np.full(30, 3e8)]) - np.exp(P @ A.T) @ w
        assert len(w) == parts and np.ptp(rest) < 1e-9
    assert 1 - distance(pd.Series([1, 0, 0]), pd.Series([0.25, 0.75, 0])) == 0.25


def test_our_swarms_side_by_side():
    ours = sized_runs([load_swarm(f"replication/{n}") for n in ("main_unseen", "unseen_330k", "unseen_12m")])
    assert ours.sizes.groupby("parameters")["run"].nunique().to_dict() == {327_680: 64, 1_310_720: 64, 12_042_240: 32}
    assert (ours.sizes["tokens"] > 50_000).all() and ours.losses.shape[1] == 17
    large = ours.sizes["parameters"] > 1e7
    rows = ours.keep(large & ours.sizes["last"])
    at = beside(ours.keep(~large), rows.X, "pile_cc")
    below = ours.keep(~large)
    assert (below.sizes["parameters"][at] == 1_310_720).all() and (below.sizes["tokens"][at] == 100_352).all()
    assert (below.mixtures.to_numpy()[at] == rows.mixtures.to_numpy()).all()
    found = predict_larger(below, rows, "pile_cc", laws=("additive",))
    assert found["no change"].to_numpy().tolist() == below.losses["pile_cc"][at].tolist() and len(found) == 32
    assert np.isfinite(found).all(axis=None)


def test_a_users_table_with_sizes(tmp_path):
    swarm = read(table(tmp_path))
    notes = " ".join(swarm.meta["notes"])
    assert "column 'params' says that runs differ in size ('0.3M', '1M', '4M')" in notes and "taken as runs of one size" in notes
    runs = sized_runs(swarm)
    assert sorted(runs.sizes["parameters"].unique()) == [3e5, 1e6, 4e6] and sorted(runs.sizes["tokens"].unique()) == [1e8, 3e8]
    far = at_size(swarm, ["val_loss"], 1.6e7, 1e9)
    y = truth(True)(far.mixtures.to_numpy(), 1.6e7, 1e9)
    assert np.abs(far.final_losses()["val_loss"].to_numpy() / y - 1).mean() < 0.03 and far.mixtures.index.equals(swarm.mixtures.index)
    said = far.meta["notes"][-1]
    assert "brought to 16M parameters and 1B tokens by the joint law of size; that is 4 times the most parameters of any run" in said
    assert "from the smaller runs it predicts the 16 with 4M parameters with a mean error of" in said
    assert not any("taken as runs of one size" in n for n in far.meta["notes"])


@pytest.mark.parametrize("changed, message", [
    ({"train_tokens": ["0", *["100000000"] * 47]}, "runs.csv: run 'r0': tokens '0': give a number above 0"),
    ({"params": ["small", *["1M"] * 47]}, "runs.csv: run 'r0': parameters 'small': give a number above 0"),
    ({"params": ["", *["1M"] * 47]}, "run 'r0' has no parameters .1 such runs.: fill the cell in"),
    ({"params": None}, "nothing says how many parameters its models have: give a column .parameters."),
    ({"params": "1M", "train_tokens": "5"}, "all runs have 1M parameters and 5 tokens: a law of size needs runs of two sizes")])
def test_a_table_that_says_no_sizes(tmp_path, changed, message):
    path = table(tmp_path, **changed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        swarm = read_tables(path, path, domains=DOMAINS, targets=["val_loss"])
    with pytest.raises(ValueError, match=message): at_size(swarm, ["val_loss"], 1e7, 1e9)


def test_what_was_not_asked_for_is_what_all_runs_have(tmp_path):
    swarm = read(table(tmp_path, train_tokens="100M"))
    assert at_size(swarm, ["val_loss"], 1.6e7).meta["at"]["tokens"] == 1e8
    with pytest.raises(ValueError, match="the runs have 3 numbers of parameters, from 300K to 4M: say for which"): at_size(swarm, ["val_loss"])


def test_counts_are_read_as_people_write_them():
    assert [as_count(v) for v in ("60M", "1.5b", "25e9", 330, "80 K", 1e6)] == [6e7, 1.5e9, 25e9, 330, 8e4, 1e6]
    assert [as_size(v) for v in (6e7, 1.5e9, 25e9, 330, 8e4, 999_900)] == ["60M", "1.5B", "25B", "330", "80K", "1M"]


def test_the_shell_fits_at_a_size(tmp_path, capsys):
    from regmix.cli import app
    path = table(tmp_path)
    def run(*words):
        code = app([*words, "--json"], standalone_mode=False)
        out = capsys.readouterr()
        return code, json.loads(out.out), out.err
    files = ["--mixtures", str(path), "--losses", str(path), "--target", "val_loss", "--law", "log-linear"]
    code, told, said = run("fit", *files, "--at", "16M:1B", "--out", str(tmp_path/"fit"))
    assert not code and told["runs"] == 48 and "brought to 16M parameters and 1B tokens" in " ".join(told["notes"]) and "brought to 16M" in said
    assert "taken as runs of one size" not in said
    for wrong, message in ((["--at", "16M:0"], "--at 16M:0: tokens '0': give a number above 0"), (["--at", ":"], "write PARAMETERS:TOKENS, as in 1B:25B")):
        code, told, _ = run("fit", *files, *wrong, "--out", str(tmp_path/"no"))
        assert code and message in told["error"] and not (tmp_path/"no").exists()
    code, told, _ = run("fit", *files[:4], "--higher", "val_loss", "--at", "16M:1B", "--out", str(tmp_path/"no"))
    assert code and "--at is for losses, and 'val_loss' is better when HIGHER" in told["error"]
