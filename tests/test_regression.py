"""Estimators on mixtures: known laws are recovered, names are kept, measures agree with scipy and scikit-learn."""
import json
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as skm
from sklearn.base import clone
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsRegressor

from regmix.measures import METRICS, draw_counts, drawn_ranks, drawn_rho, evaluate, rho_interval, row_ranks, spearman
from regmix.regression import (ALPHAS, ESTIMATORS, REPEATABLE, BoostedTrees, MixtureRegressor, RidgeByFolds, booster, 
                               coefficients, curve_band, fit_early_stopped, fold_scores, learning_curve, load_model,
                               make_estimator, save_model, stopping_round)

SLOPES = np.array([-0.8, 0.3, 0.0, 0.1, 0.4])


def toy(n=120, noise=0.0, seed=0, law=lambda p: 5 + p @ SLOPES, d=5):
    rng = np.random.default_rng(seed)
    runs = pd.Index([f'r{i}' for i in range(n)], name='run')
    X = pd.DataFrame(rng.dirichlet(np.ones(d), n), index=runs, columns=[f'dom {c}' for c in 'abcdefg'[:d]])
    return X, pd.Series(law(X.to_numpy()) + noise * rng.standard_normal(n), index=runs, name='loss')


def swarm(name='toy', **kw):
    X, y = toy(**kw)
    return SimpleNamespace(name=name, xy=lambda target: (X, y))


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield


# ---------------------------------------------------------------- estimators

def test_settings_are_the_papers():
    assert np.allclose(ALPHAS, [1e-3, 1e-2, 1e-1, 1, 10, 100, 1000])
    ridge, trees = make_estimator('ridge'), make_estimator('lightgbm', seed=7)
    assert ridge.cv == 5 and list(ridge.alphas) == list(ALPHAS)
    assert (trees.n_estimators, trees.learning_rate, trees.random_state) == (1000, 0.01, 7)
    with pytest.raises(ValueError, match='choose from ridge, lightgbm'): make_estimator('lasso')


def test_settings_for_repeatable_fits_do_not_change_the_answer():
    from lightgbm import LGBMRegressor
    X, y = toy(noise=0.1)
    plain = LGBMRegressor(n_estimators=1000, learning_rate=0.01, verbosity=-1, n_jobs=1).fit(X.to_numpy(), y)
    assert np.array_equal(plain.predict(X.to_numpy()), MixtureRegressor('lightgbm').fit(X, y).predict(X))


@settings(max_examples=25, deadline=None)
@given(st.integers(10, 90), st.integers(2, 40), st.integers(0, 99), st.sampled_from([0.0, 0.01, 1.0]), st.booleans())
def test_ridge_is_scikit_learns_to_the_last_bit(n, d, seed, noise, by_columns):
    rng = np.random.default_rng(seed)
    X = np.asarray(rng.dirichlet(np.ones(d), n).round(3), order='F' if by_columns else 'C')
    y = 5 + X @ rng.normal(size=d) + noise * rng.normal(size=n)
    ours, theirs = RidgeByFolds().fit(X, y), RidgeCV(alphas=ALPHAS, cv=5).fit(X, y)
    assert ours.alpha_ == theirs.alpha_ and ours.intercept_ == theirs.intercept_
    assert np.array_equal(ours.coef_, theirs.coef_) and np.array_equal(ours.predict(X), theirs.predict(X))


def test_scores_on_folds_are_scikit_learns_to_the_last_bit():
    X, y = (t.to_numpy() for t in toy(n=83, noise=0.1))
    X = np.ascontiguousarray(X)
    theirs = [cross_val_score(Ridge(alpha), X, y, cv=5) for alpha in ALPHAS]
    assert np.array_equal(fold_scores(X, y), theirs)


def test_losses_that_are_all_equal_have_no_best_strength():
    X, _ = toy(n=30)
    ours, theirs = RidgeByFolds().fit(X.to_numpy(), np.full(30, 3.0)), RidgeCV(alphas=ALPHAS, cv=5).fit(X.to_numpy(), np.full(30, 3.0))
    assert ours.alpha_ == theirs.alpha_ and np.array_equal(ours.coef_, theirs.coef_)


@pytest.mark.parametrize('n', [20, 39, 40, 64, 128, 300])
@pytest.mark.parametrize('rounded', [False, True])
def test_trees_are_lightgbms_to_the_last_bit(n, rounded):
    from lightgbm import LGBMRegressor
    X, y = (t.to_numpy() for t in toy(n, noise=0.1, seed=n))
    X = X.round(1) if rounded else X
    ours = BoostedTrees(n_estimators=200, learning_rate=0.05, random_state=n).fit(X, y)
    theirs = LGBMRegressor(n_estimators=200, learning_rate=0.05, random_state=n, **REPEATABLE).fit(X, y)
    unseen, _ = toy(500, seed=9)
    assert np.array_equal(ours.predict(unseen), theirs.predict(unseen.to_numpy()))
    if n > 40:   # a single leaf has `leaf_weight=0`, and after LightGBM read it back `leaf_weight=`
        assert ours.booster_.model_to_string() == theirs.booster_.model_to_string()


def test_both_estimators_keep_the_rules_of_scikit_learn():
    X, y = (t.to_numpy() for t in toy(noise=0.05))
    for model in (RidgeByFolds(cv=4), BoostedTrees(n_estimators=30, learning_rate=0.1)):
        assert clone(model).get_params().keys() == model.get_params().keys()
        assert cross_val_score(model, X, y, cv=4).min() > 0.5
        from sklearn.exceptions import NotFittedError
        with pytest.raises(NotFittedError): clone(model).predict(X)


@settings(max_examples=15, deadline=None)
@given(arrays(float, 4, elements=st.floats(-2, 2)), st.floats(-5, 5), st.floats(1, 9))
def test_ridge_recovers_slopes_up_to_the_common_shift(slopes, shift, level):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.dirichlet(np.ones(4), 300), columns=list('abcd'))
    y = pd.Series(level + X.to_numpy() @ (slopes + shift))
    found = coefficients(MixtureRegressor('ridge').fit(X, y))
    assert found.shape == (1, 4) and abs(found.to_numpy().sum()) < 1e-7
    assert np.allclose(found.iloc[0], slopes - slopes.mean(), atol=0.01)


def test_lightgbm_follows_a_bend_that_ridge_cannot():
    law = lambda p: 2 + 3 * np.exp(-4 * p[:, 0])
    (X, y), (A, b) = toy(500, law=law, seed=1), toy(300, law=law, seed=2)
    error = {e: evaluate(b, MixtureRegressor(e).fit(X, y).predict(A), n_boot=0).value for e in ESTIMATORS}
    assert error['lightgbm']['rmse'] < 0.3 * error['ridge']['rmse'] and error['lightgbm']['rho'] > 0.99


@pytest.mark.parametrize('name', ESTIMATORS)
def test_fits_are_deterministic_and_blind_to_the_order_of_columns_and_layout(name):
    X, y = toy(noise=0.05)
    model = MixtureRegressor(name).fit(X, y)
    again = MixtureRegressor(name).fit(pd.DataFrame(np.ascontiguousarray(X), X.index, X.columns), y)
    assert np.array_equal(model.predict(X), again.predict(X))
    assert np.array_equal(model.predict(X), model.predict(X[X.columns[::-1]]))
    assert np.array_equal(model.predict(X), model.predict(np.asfortranarray(X.to_numpy())))
    assert np.array_equal(model.predict(X), MixtureRegressor(name).fit(X, y.sample(frac=1, random_state=1)).predict(X))


def test_several_targets_are_several_models():
    X, y = toy(noise=0.05)
    Y = pd.DataFrame({'a': y, 'b': 1 - y ** 2})
    model = MixtureRegressor('ridge').fit(X, Y)
    assert model.target_names_ == ['a', 'b'] and model.predict(X).shape == (120, 2)
    for j, t in enumerate(Y):
        assert np.array_equal(model.predict(X)[:, j], MixtureRegressor('ridge').fit(X, Y[t]).predict(X))
    assert MixtureRegressor('ridge').fit(X, Y[['a']]).predict(X).shape == (120, 1)      # a table in, a table out


def test_keeps_the_rules_of_scikit_learn():
    X, y = toy(noise=0.05)
    model = MixtureRegressor('ridge', seed=3)
    assert clone(model).get_params() == {'estimator': 'ridge', 'seed': 3}
    assert cross_val_score(model, X, y, cv=4).min() > 0.8
    assert cross_val_score(model, X.to_numpy(), y.to_numpy(), cv=4).min() > 0.8
    search = GridSearchCV(MixtureRegressor(), {'estimator': ['ridge', KNeighborsRegressor(3)]}, cv=3).fit(X, y)
    assert search.best_params_ == {'estimator': 'ridge'}
    assert 'MixtureRegressor' in repr(model)
    from sklearn.exceptions import NotFittedError
    with pytest.raises(NotFittedError): model.predict(X)


def refused(action, *words):
    with pytest.raises(ValueError) as e: action()
    for w in words: assert w in str(e.value), str(e.value)


def test_tables_that_cannot_be_right_are_refused_by_name():
    X, y = toy()
    model = MixtureRegressor('ridge').fit(X, y)
    refused(lambda: model.predict(X.drop(columns='dom b')), 'missing: dom b', 'column of zeros')
    refused(lambda: model.predict(X.assign(new=0.0)), 'unknown: new')
    refused(lambda: model.predict(X.rename(columns={'dom b': 'x'})), 'missing: dom b', 'unknown: x')
    refused(lambda: model.predict(X.rename(columns={'dom b': 'dom a'})), 'duplicate domains', 'dom a')
    refused(lambda: model.predict(X.to_numpy()[:, :3]), '5 columns')
    refused(lambda: model.predict(X.to_numpy()[0]), 'shape (5,)')
    refused(lambda: model.predict(X.head(0)), 'empty')
    refused(lambda: model.fit(X.astype(object).assign(**{'dom a': 'many'}), y), 'must be numbers')
    for bad in (np.nan, np.inf):
        holed = X.copy(); holed.loc['r7', 'dom c'] = bad
        refused(lambda: model.fit(holed, y), "'r7'", "'dom c'", str(bad))
        refused(lambda: model.predict(holed), "'r7'")
        refused(lambda: model.fit(X, y.where(y.index != 'r9', bad)), "loss of run 'r9'", "'loss'")


def test_runs_must_agree():
    X, y = toy()
    refused(lambda: MixtureRegressor('ridge').fit(X, y.iloc[1:]), '120 mixtures but 119 losses')
    refused(lambda: MixtureRegressor('ridge').fit(X, y.rename(lambda r: 'q' + r)), 'different runs', "'r0'")
    twice = X.rename({'r1': 'r0'})
    refused(lambda: MixtureRegressor('ridge').fit(twice, y), 'different runs')
    MixtureRegressor('ridge').fit(twice, y.set_axis(twice.index))       # a resample: equal indices are fine
    refused(lambda: MixtureRegressor('ridge').fit(X.head(9), y.head(9)), 'at least 10 runs')


def test_too_few_runs_for_a_tree_are_said_aloud():
    X, y = toy(39)
    with pytest.warns(UserWarning, match='39 runs are too few'): model = MixtureRegressor('lightgbm').fit(X, y)
    assert np.ptp(model.predict(X)) == 0
    result = evaluate(y, model.predict(X))                               # no order: undefined, not zero
    assert result.loc[['rho', 'r']].isna().all(axis=None) and result.loc['mae'].notna().all()


def test_coefficients_only_of_linear_models():
    X, y = toy()
    refused(lambda: coefficients(MixtureRegressor('lightgbm').fit(X, y)), 'no coefficients')
    assert coefficients(MixtureRegressor(Ridge(1e-6)).fit(X, y)).columns.tolist() == X.columns.tolist()


# ---------------------------------------------------------------- measures

@settings(max_examples=60, deadline=None)
@given(st.data())
def test_measures_agree_with_scipy_and_scikit_learn(data):
    n = data.draw(st.integers(3, 40))
    grid = st.integers(-20, 20).map(lambda k: k / 4)                     # few values, so many ties
    y, p = (data.draw(arrays(float, n, elements=grid)) for _ in range(2))
    found = evaluate(y, p, n_boot=0).value
    assert tuple(found.index) == METRICS
    assert np.isclose(found['mse'], skm.mean_squared_error(y, p), atol=1e-12)
    assert np.isclose(found['rmse'], skm.root_mean_squared_error(y, p), atol=1e-12)
    assert np.isclose(found['mae'], skm.mean_absolute_error(y, p), atol=1e-12)
    if np.ptp(y) and np.ptp(p):
        assert np.isclose(found['rho'], stats.spearmanr(y, p).statistic, atol=1e-12)
        assert np.isclose(found['r'], stats.pearsonr(y, p).statistic, atol=1e-9)
    else: assert np.isnan(found['rho']) and np.isnan(found['r'])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ranks_and_their_resamples_agree_with_scipy_to_the_last_bit(data):
    n = data.draw(st.integers(1, 40))
    grid = st.integers(-20, 20).map(lambda k: k / 4)                     # few values, so many ties
    y, p = (data.draw(arrays(float, n, elements=grid)) for _ in range(2))
    rows = np.random.default_rng(n).integers(0, n, (30, n))
    assert np.array_equal(row_ranks(y[rows]), stats.rankdata(y[rows], axis=1))
    counts = draw_counts(rows)
    found = drawn_rho(drawn_ranks(y, counts), drawn_ranks(p, counts), counts)
    assert np.array_equal(found, spearman(y[rows], p[rows]), equal_nan=True)


def test_a_nan_has_no_rank():
    A = np.array([[1.0, np.nan, 3.0], [3.0, 1.0, 2.0]])
    assert np.array_equal(row_ranks(A), stats.rankdata(A, axis=1), equal_nan=True)
    counts = draw_counts(np.array([[0, 1, 2]]))
    assert np.isnan(drawn_rho(drawn_ranks(A[0], counts), drawn_ranks(A[1], counts), counts)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(-1, 1), st.integers(5, 80))
def test_intervals_hold_the_value_and_stay_in_range(seed, r, n):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n); p = r * y + np.sqrt(1 - r * r) * rng.normal(size=n)
    result = evaluate(y, p, n_boot=200)
    assert (result.loc[['rho', 'r'], 'low'] <= result.loc[['rho', 'r'], 'value']).all()
    assert (result.loc[['rho', 'r'], 'high'] >= result.loc[['rho', 'r'], 'value']).all()
    assert (result.loc[['rho', 'r']].abs() <= 1).all(axis=None) and (result.low <= result.high).all()
    assert tuple(rho_interval(y, p, n_boot=200)) == tuple(result.loc['rho'])


@pytest.mark.parametrize('r', [0.5, 0.9, 0.99])
def test_interval_of_rho_covers(r):
    rng, truth = np.random.default_rng(1), 6 / np.pi * np.arcsin(r / 2)
    held = []
    for k in range(300):
        y, p = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], 64).T
        i = rho_interval(y, p, n_boot=300, seed=k)
        held.append(i.low <= truth <= i.high)
    assert 0.91 <= np.mean(held) <= 0.99


def test_interval_of_the_error_covers():
    rng, held = np.random.default_rng(2), []
    for k in range(300):
        e = rng.normal(size=100)
        i = evaluate(np.zeros(100), e, n_boot=300, seed=k, metrics=('mae',)).loc['mae']
        held.append(i.low <= np.sqrt(2 / np.pi) <= i.high)
    assert 0.90 <= np.mean(held) <= 0.99


def test_intervals_depend_on_seed_level_and_nothing_else():
    rng = np.random.default_rng(0); y = rng.normal(size=50); p = y + rng.normal(size=50)
    np.random.seed(1); first = evaluate(y, p)
    np.random.seed(2); assert first.equals(evaluate(y, p)) and not first.equals(evaluate(y, p, seed=1))
    wide, narrow = evaluate(y, p, level=0.99), evaluate(y, p, level=0.5)
    assert (wide.low < narrow.low).all() and (wide.high > narrow.high).all()
    perfect = rho_interval(y, 2 * y)
    assert np.allclose(perfect, 1)


def test_evaluate_refuses_what_it_cannot_measure():
    refused(lambda: evaluate([1, 2, 3], [1, 2]), 'vectors of one length')
    refused(lambda: evaluate(np.ones((4, 2)), np.ones((4, 2))), 'one target at a time')
    refused(lambda: evaluate([1, 2, 3], [1, np.nan, 3]), 'predicted loss in row 1 is nan')
    refused(lambda: evaluate([1, 2], [1, 2]), 'at least 3')
    refused(lambda: evaluate([1, 2, 3], [1, 2, 3], level=95), '0.95')
    y = pd.Series([1., 2, 3], index=list('abc'))
    refused(lambda: evaluate(y, y[::-1]), 'another order')


# ---------------------------------------------------------------- learning curves

def test_learning_curve():
    train, tests = swarm('train', n=100, noise=0.05), {'one': swarm(n=50, seed=1), 'two': swarm(n=40, seed=2)}
    curve = learning_curve(train, tests, 'loss', 'ridge', sizes=(20, 50, 100), repeats=3, seed=5)
    assert list(curve.columns) == ['size', 'repeat', 'test', *METRICS]
    assert curve.groupby(['size', 'test']).size().to_dict() == {(20, 'one'): 3, (20, 'two'): 3, (50, 'one'): 3, (50, 'two'): 3,
                                                                (100, 'one'): 1, (100, 'two'): 1}
    assert curve.query('size == 20 and test == "one"').rho.nunique() == 3                    # different subsets
    X, y = train.xy('loss'); A, b = tests['two'].xy('loss')
    full = evaluate(b, MixtureRegressor('ridge').fit(X, y).predict(A), n_boot=0).value
    assert np.array_equal(curve.query('size == 100 and test == "two"')[list(METRICS)].iloc[0].to_numpy(float), full.to_numpy())
    part = learning_curve(train, tests, 'loss', 'ridge', sizes=(50,), repeats=2, seed=5, n_jobs=2)
    assert part.equals(curve.query('size == 50 and repeat < 2').reset_index(drop=True))      # each cell by its own seed
    band = curve_band(curve)
    assert list(band.repeats) == [3, 3, 1, 3, 3, 1] and band[band['size'] == 100][['low', 'high']].isna().all(axis=None)
    refused(lambda: learning_curve(train, tests, 'loss', 'ridge', sizes=(20, 101)), '[101]', "'train'")


# ---------------------------------------------------------------- files

@pytest.mark.parametrize('name', ESTIMATORS)
@pytest.mark.parametrize('table', [False, True])
def test_saved_models_predict_the_same_bits(tmp_path, name, table):
    X, y = toy(200, noise=0.1)
    y = pd.DataFrame({'a "quoted" é': y, 'b': y ** 2}) if table else y
    model = MixtureRegressor(name, seed=11).fit(X, y)
    file = save_model(model, tmp_path / 'fits' / 'one', meta={'swarm': 'toy'})
    assert file == tmp_path / 'fits' / 'one' / 'model.json' and [p.name for p in file.parent.iterdir()] == ['model.json']
    back, first = load_model(tmp_path / 'fits' / 'one'), file.read_bytes()
    assert np.array_equal(back.predict(X), model.predict(X))
    assert back.get_params() == model.get_params() and back.target_names_ == model.target_names_
    assert list(back.feature_names_in_) == list(X.columns) and back.meta_['swarm'] == 'toy' and 'numpy' in back.meta_['versions']
    refused(lambda: back.predict(X.drop(columns='dom a')), 'missing: dom a')
    save_model(back, file, meta={'swarm': 'toy'})
    assert np.array_equal(load_model(file).predict(X), model.predict(X))
    save_model(MixtureRegressor(name, seed=11).fit(X, y), file, meta={'swarm': 'toy'})
    assert file.read_bytes() == first                                     # the same fit: the same bytes
    if name == 'ridge': assert coefficients(back).equals(coefficients(model))


def test_early_stopped_models_can_be_kept(tmp_path):
    (X, y), other = toy(200, noise=0.5), toy(60, noise=0.5, seed=1)
    model = fit_early_stopped(X, y, *other)
    back = load_model(save_model(model, tmp_path / 'm.json'))
    assert np.array_equal(back.predict(X), model.predict(X)) and booster(back).num_trees() == booster(model).num_trees() < 1000
    assert clone(back).fit(X, y).models_[0].n_estimators == booster(model).num_trees()


def test_files_that_are_no_models_are_refused(tmp_path):
    refused(lambda: load_model(tmp_path / 'none.json'), 'no model at', 'none.json')
    for text in ('', '{"format": "other"}', '[1]', '{"form'):
        (tmp_path / 'bad.json').write_text(text)
        refused(lambda: load_model(tmp_path / 'bad.json'), 'bad.json', 'save it again')
    X, y = toy()
    refused(lambda: save_model(MixtureRegressor(KNeighborsRegressor(3)).fit(X, y), tmp_path / 'k.json'), 'can be saved')
    with pytest.raises(TypeError): save_model(MixtureRegressor('ridge').fit(X, y), tmp_path / 'k.json', meta={'x': object()})
    assert [p.name for p in tmp_path.iterdir()] == ['bad.json']           # a failed save leaves nothing behind


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    X, y = toy()
    file = save_model(MixtureRegressor('ridge').fit(X, y), tmp_path / 'm.json'); old = file.read_bytes()
    monkeypatch.setattr('os.replace', lambda *a: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError): save_model(MixtureRegressor('ridge').fit(X, -y), file)
    assert file.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == ['m.json']
    assert json.loads(old)['domains'] == list(X.columns)


def test_booster():
    X, y = toy(noise=0.1)
    model = MixtureRegressor('lightgbm').fit(X, pd.DataFrame({'a': y, 'b': -y}))
    assert np.allclose(booster(model, 'b').predict(X.to_numpy()), model.predict(X)[:, 1])
    assert booster(booster(model, 'a')).num_trees() == 1000 and booster(model.models_[0]).num_trees() == 1000
    refused(lambda: booster(model), 'several targets')
    refused(lambda: booster(model, 'c'), "no target 'c'")
    refused(lambda: booster(MixtureRegressor('ridge').fit(X, y)), 'no trees')


def test_early_stopping_reads_domains_by_name():
    (X, y), (A, b) = toy(200, noise=0.5), toy(60, noise=0.5, seed=1)
    assert stopping_round(X, y, A, b) == stopping_round(X, y, A[A.columns[::-1]], b) < 1000


# ---------------------------------------------------------------- the authors' logs

@pytest.fixture(scope='module')
def real(authors):
    from regmix.swarms import load_swarm
    return {n: load_swarm(f'authors/{n}').xy('pile_cc') for n in ('1m-train', '1m-test', '60m-test', '1b-test')}


def test_table_2(real):
    X, y = real['1m-train']
    rho = {e: {n: 100 * rho_interval(b, MixtureRegressor(e).fit(X, y).predict(a), n_boot=0).value
               for n, (a, b) in real.items() if n != '1m-train'} for e in ESTIMATORS}
    assert len(X) == 512 and MixtureRegressor('ridge').fit(X, y).models_[0].alpha_ == 0.01
    assert abs(rho['ridge']['1m-test'] - 90.08) < 0.1 and abs(rho['ridge']['60m-test'] - 89.26) < 0.1
    assert rho['lightgbm']['1m-test'] > 98.9 and rho['lightgbm']['60m-test'] > 98.5 and rho['lightgbm']['1b-test'] > 96.0


def test_the_printed_mse_is_no_mse(real):
    (X, y), (A, b) = real['1m-train'], real['1m-test']
    found = {e: evaluate(b, MixtureRegressor(e).fit(X, y).predict(A), n_boot=0).value for e in ESTIMATORS}
    assert b.var(ddof=0) < 0.13                                           # predicting the mean would beat the printed number
    assert found['ridge']['mse'] == pytest.approx(0.0237, abs=2e-4) and found['lightgbm']['mse'] == pytest.approx(0.0027, abs=1e-4)
    assert found['ridge']['mae'] == pytest.approx(0.125, abs=1e-3) and found['lightgbm']['mae'] == pytest.approx(0.0398, abs=4e-4)
