"""Simulation: the fast scorer is LightGBM to the last bit; the search is what sorting everything would give."""
import builtins
import shutil
import sys
import warnings
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import regmix.forests as forests
import regmix.simulation as sim
from regmix.forests import FastForest
from regmix.simulation import CHUNK, candidates, release_recipe, score, simulate
from toys import run_with_package


def forest(n=200, d=5, leaves=31, trees=20, seed=0, min_child=5, **more):
    rng = np.random.default_rng(seed)
    X = rng.dirichlet(np.full(d, 0.5), n).round(3)
    y = np.sin(7 * X).sum(axis=1) + rng.normal(0, 0.1, n)
    return lgb.LGBMRegressor(n_estimators=trees, num_leaves=leaves, min_child_samples=min_child, verbosity=-1, n_jobs=1, random_state=seed, **more).fit(X, y), X


@settings(max_examples=25, deadline=None)
@given(d=st.integers(1, 100), leaves=st.integers(2, 200), trees=st.integers(1, 30), n=st.integers(1, 3000), seed=st.integers(0, 99))
def test_equal_to_lightgbm_to_the_last_bit(d, leaves, trees, n, seed):
    model, _ = forest(300, d, leaves, trees, seed)
    X = np.random.default_rng(seed + 1).dirichlet(np.full(d, 0.3), n).round(4)
    assert np.array_equal(FastForest.from_lightgbm(model).predict(X), model.predict(X))


def test_on_thresholds_zeros_and_outside_the_simplex():
    model, X = forest()
    cuts = FastForest.from_lightgbm(model).cuts
    rng = np.random.default_rng(0)
    for values in (rng.choice(cuts, (500, 5)), np.zeros((3, 5)), rng.normal(0, 3, (500, 5)), np.nextafter(rng.choice(cuts, (500, 5)), 9)):
        assert np.array_equal(score(model, values), model.predict(values))


@pytest.mark.parametrize("leaves, dtype", [(256, np.uint8), (257, np.uint16), (1500, np.uint16)])
def test_trees_of_many_leaves(leaves, dtype):
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(3000, 6))
    model = lgb.LGBMRegressor(n_estimators=5, num_leaves=leaves, max_bin=255, min_child_samples=1, verbosity=-1, n_jobs=1).fit(X, rng.normal(size=3000))
    fast = FastForest.from_lightgbm(model)
    assert max(fast.near.max(), fast.far.max()) == leaves - 1 and fast.far.dtype == dtype
    assert np.array_equal(fast.predict(X), model.predict(X))


def test_a_tree_as_deep_as_it_has_leaves():
    n = 1200
    X = np.arange(n, dtype=float)[:, None]
    model = lgb.LGBMRegressor(n_estimators=3, num_leaves=n, max_bin=n, min_data_in_bin=1, min_child_samples=1, learning_rate=1.0, verbosity=-1, n_jobs=1)
    model.fit(X, 1.02 ** X[:, 0])
    assert np.array_equal(score(model, X), model.predict(X))


@pytest.mark.parametrize("n", [0, 1, 1023, 1024, 1025, 64 * 1024 + 1])
def test_any_number_of_mixtures(n):
    model, _ = forest(trees=3)
    X = np.random.default_rng(0).dirichlet(np.ones(5), n).reshape(n, 5)
    assert np.array_equal(score(model, X), model.predict(X) if n else np.empty(0))


def test_single_leaf_trees():
    model = lgb.LGBMRegressor(n_estimators=5, verbosity=-1).fit(np.random.default_rng(0).uniform(size=(30, 3)), np.ones(30))
    assert np.array_equal(score(model, np.eye(3)), model.predict(np.eye(3)))


def test_more_than_255_thresholds_a_domain_and_100_domains():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(5000, 2))
    model = lgb.LGBMRegressor(n_estimators=200, max_bin=2000, min_child_samples=2, verbosity=-1, n_jobs=1).fit(X, np.sin(40 * X).sum(axis=1))
    fast = FastForest.from_lightgbm(model)
    assert fast.cut.dtype == np.uint16
    assert np.array_equal(fast.predict(X), model.predict(X))
    wide, X = forest(400, 100, trees=50)
    assert np.array_equal(score(wide, X), wide.predict(X))


def test_early_stopped_models_use_their_best_iteration():
    rng = np.random.default_rng(0)
    X, y = rng.uniform(size=(200, 3)), rng.normal(size=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lgb.LGBMRegressor(n_estimators=100, verbosity=-1, n_jobs=1).fit(X[:150], y[:150], eval_set=[(X[150:], y[150:])], callbacks=[lgb.early_stopping(3, verbose=False)])
    assert model.best_iteration_ < 100
    assert np.array_equal(score(model, X), model.predict(X))


@pytest.mark.parametrize("more", [dict(objective="poisson"), dict(zero_as_missing=True), dict(linear_tree=True), dict(boosting_type="rf", bagging_freq=1, bagging_fraction=0.5)])
def test_other_trees_fall_back_and_say_so(more):
    sim._say_once.cache_clear()
    rng = np.random.default_rng(0)
    X = rng.dirichlet(np.full(5, 0.5), 600).round(2)
    model = lgb.LGBMRegressor(n_estimators=3, min_child_samples=5, verbosity=-1, n_jobs=1, **more)
    model.fit(X, 1 + X[:, 0] + rng.uniform(0, 0.1, 600))
    with pytest.warns(UserWarning, match="LightGBM itself"): found = score(model, X)
    assert np.array_equal(found, model.predict(X))


def test_without_numba(monkeypatch):
    sim._say_once.cache_clear()
    monkeypatch.delitem(sys.modules, "regmix.forests")
    real = builtins.__import__
    def no_numba(name, *a, **k):
        if name.startswith("numba"): raise ImportError(name)
        return real(name, *a, **k)
    monkeypatch.setattr(builtins, "__import__", no_numba)
    model, X = forest()
    with pytest.warns(UserWarning, match="numba is not installed"): found = score(model, X)
    assert np.array_equal(found, model.predict(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(model, X)  # said once


def test_bad_candidates_are_refused():
    model, X = forest()
    with pytest.raises(ValueError, match="row 7, column 2"): score(model, np.where(np.arange(200 * 5).reshape(200, 5) == 37, np.nan, X))
    with pytest.raises(ValueError, match="5 weights"): score(model, X[:, :4])
    with pytest.raises(ValueError, match="k=5 of n=3"): simulate(model, np.ones(5), n=3, k=5)
    with pytest.raises(ValueError, match="4 parameters"): simulate(_named(model), np.ones(4), n=10, k=2)


def _named(model):
    class Named:
        feature_names_in_ = np.array(list("abcde"))
        def predict(self, X): return model.predict(X)
    return Named()


def test_candidates_do_not_depend_on_how_many_are_asked_for():
    few = np.concatenate(list(candidates([1.0, 2.0], CHUNK + 5, seed=3)))
    more = list(candidates([1.0, 2.0], 2 * CHUNK, seed=3))
    assert len(few) == CHUNK + 5 and np.array_equal(few[:CHUNK], more[0])
    assert not np.array_equal(more[0], more[1])


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 5000), k=st.integers(1, 300), seed=st.integers(0, 9), small=st.integers(16, 999))
def test_the_best_k_are_those_of_a_full_sort_for_any_chunk(n, k, seed, small):
    class Coarse:  # many equal predictions: ties are kept in the order of drawing
        def predict(self, X): return np.round(X[:, 0], 1)
    k, whole = min(n, k), sim.CHUNK
    try:
        sim.CHUNK = small
        found = simulate(Coarse(), np.ones(3), n=n, k=k, seed=seed)
        everything = np.concatenate(list(candidates(np.ones(3), n, seed)))
    finally: sim.CHUNK = whole
    order = np.argsort(np.round(everything[:, 0], 1), kind="stable")[:k]
    assert np.array_equal(found.top.to_numpy(), everything[order])
    assert abs(found.mixture.sum() - 1) < 1e-9


def test_same_seed_same_answer_and_names_follow_the_model():
    class Law:
        feature_names_in_ = np.array(["web", "code"])
        def predict(self, X): return (X[:, 0] - 0.3) ** 2
    one, two, other = (simulate(Law(), np.ones(2), n=5000, k=50, seed=s).mixture for s in (0, 0, 1))
    assert one.equals(two) and not one.equals(other) and list(one.index) == ["web", "code"]
    assert abs(one["web"] - 0.3) < 0.01
    with pytest.raises(ValueError, match="names the domains"): simulate(Law(), pd.Series([1, 1], ["code", "web"]), n=10, k=1)


def test_the_authors_notebook(authors):
    from regmix.paper import PRIOR
    from regmix.regression import fit_early_stopped
    from regmix.swarms import load_swarm
    train, test = load_swarm("authors/1m-train"), load_swarm("authors/1m-test")
    found = release_recipe(fit_early_stopped(*train.xy("pile_cc"), *test.xy("pile_cc")), PRIOR)
    assert round(found.mixture["pile_cc"], 4) == 0.8909


IN_A_PROCESS = """
import numpy as np, lightgbm as lgb, regmix.forests as f
assert f.__file__.startswith(folder)
X = np.random.default_rng(0).dirichlet(np.ones(3), 200)
model = lgb.LGBMRegressor(n_estimators=9, verbosity=-1, n_jobs=1).fit(X, X[:, 0])
assert np.array_equal(f.FastForest.from_lightgbm(model).predict(X), model.predict(X))
"""


def started(processes, folder, code=IN_A_PROCESS):
    process = processes.Process(target=run_with_package, args=(str(folder), code))
    process.start()
    return process


def ended(process):
    process.join()
    return process.exitcode


@pytest.fixture
def copied(tmp_path):
    "A copy of the package, which no process has compiled in yet."
    shutil.copytree(Path(sim.__file__).parent, tmp_path/"regmix", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def kept(folder): return sorted(p for p in folder.rglob("*.nb?") if "forests" in p.name)


def test_machine_code_is_shared_by_processes_and_belongs_to_its_source(copied, processes):
    both = [started(processes, copied) for _ in range(2)]
    assert [ended(p) for p in both] == [0, 0]
    assert [p.suffix for p in kept(copied)] == [".nbc", ".nbi"]
    no_compiler = IN_A_PROCESS.replace("X =", "assert f._kernel(np.uint8).stats.cache_hits; X =", 1)
    before = [p.stat().st_mtime_ns for p in kept(copied)]
    assert ended(started(processes, copied, no_compiler)) == 0
    assert [p.stat().st_mtime_ns for p in kept(copied)] == before
    module = copied/"regmix"/"forests.py"
    module.write_text(module.read_text().replace("total[i] = 0\n", "total[i] = 1\n"))
    changed = IN_A_PROCESS.replace("array_equal", "allclose").replace("X), model", "X) - 1, model")
    assert ended(started(processes, copied, changed)) == 0


@pytest.mark.parametrize("fault", [RuntimeError("no locator available"), OSError("disk full")])
def test_without_a_folder_for_machine_code(monkeypatch, fault):
    import numba
    real, asked = numba.njit, []
    def njit(*a, cache=False, **k):
        if cache: asked.append(1); raise fault
        return real(*a, **k)
    monkeypatch.setattr(numba, "njit", njit)
    forests._kernel.cache_clear()
    model, X = forest()
    assert np.array_equal(score(model, X), model.predict(X)) and asked == [1]
    forests._kernel.cache_clear()


def test_no_more_threads_than_cores(monkeypatch):
    asked = []
    class Pool(forests.ThreadPoolExecutor):
        def __init__(self, workers): asked.append(workers); super().__init__(workers)
    monkeypatch.setattr(forests, "ThreadPoolExecutor", Pool)
    monkeypatch.setenv("REGMIX_CORES", "3")
    model, X = forest(trees=3)
    score(model, X)
    assert asked == [3]


def test_the_old_name_is_kept_for_one_version():
    with pytest.warns(DeprecationWarning, match="regmix.forests.FastForest"): assert sim.FastForest is FastForest
