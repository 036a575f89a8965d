"""Mixtures: properties of the sampler, Dirichlet moments, refusals, YAML round trips."""
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from regmix.mixtures import (PAPER, RELEASE, as_prior, check_mixtures, coverage, dirichlet, effective_domains, epochs,
                             load_mixture, load_mixtures, max_weights, round_to_grid, sample_mixtures, save_mixture,
                             save_mixtures, tempered)
from regmix.paper import DOMAINS, PRIOR

counts = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=12)
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=40, deadline=None)


def as_dict(values): return {f'd{i}': v for i, v in enumerate(values)}


# ---- priors

@quick
@given(counts, st.floats(0, 3))
def test_tempered_prior_is_a_distribution_that_keeps_the_order(values, temperature):
    flat = tempered(as_dict(values), temperature)
    assert flat.sum() == pytest.approx(1) and (flat >= 0).all()
    by_size = np.argsort(values, kind='stable')
    assert (np.diff(flat.to_numpy()[by_size]) >= -1e-15).all()


@pytest.mark.parametrize('bad, says', [
    ({'a': 1, 'b': -2}, "domain 'b' is -2"), ({'a': np.nan}, "domain 'a'"), ({'a': np.inf}, "domain 'a'"), ({'a': 'x'}, "'x'"),
    ({'a': 0, 'b': 0}, 'sums to 0'), ({}, 'sums to 0'), ([1, 2], 'not list'), (pd.Series([1, 1], ['a', 'a']), "'a' twice"),
    (pd.Series([1, 1], [1, '1']), "'1' twice")])
def test_bad_priors_are_refused_by_name(bad, says):
    with pytest.raises(ValueError, match=says): as_prior(bad)


# ---- dirichlet

@quick
@given(st.lists(st.floats(1e-300, 50), min_size=2, max_size=20), seeds)
def test_dirichlet_rows_are_mixtures_for_any_parameters(alpha, seed):
    x = dirichlet(alpha, 50, seed)
    assert x.shape == (50, len(alpha)) and (x >= 0).all()
    np.testing.assert_allclose(x.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize('strength', [1e-3, 0.1, 1.0, 5.0, 300.0])
def test_dirichlet_mean_and_covariance_follow_theory(strength):
    p, n = as_prior(PRIOR).to_numpy(), 200_000
    x = dirichlet(strength * p, n, rng=1)
    cov = (np.diag(p) - np.outer(p, p)) / (strength + 1)
    assert (np.abs(x.mean(axis=0) - p) < 5 * np.sqrt(np.diag(cov) / n)).all()
    np.testing.assert_allclose(np.cov(x.T), cov, atol=0.01 / (strength + 1))


def test_dirichlet_marginal_is_a_beta():
    stats = pytest.importorskip('scipy.stats')
    alpha = np.array([0.05, 0.4, 1.5])
    x = dirichlet(alpha, 20_000, rng=3)
    for i in (1, 2): assert stats.kstest(x[:, i], stats.beta(alpha[i], alpha.sum() - alpha[i]).cdf).pvalue > 1e-3


@pytest.mark.parametrize('scale', [1e-6, 1e-100, 1e-300])
def test_tiny_parameters_pick_corners_with_the_prior_as_odds(scale):
    p = np.array([.6, .3, .1])
    x = dirichlet(scale * p, 50_000, rng=2)
    assert np.isfinite(x).all()
    np.testing.assert_allclose((x > .5).mean(axis=0), p, atol=0.01)
    assert (x.max(axis=1) > 0.999).mean() > 0.999


def test_dirichlet_takes_one_row_of_parameters_for_each_draw_and_keeps_zeros():
    x = dirichlet(np.array([[1., 0., 1.], [0., 2., 0.]]), 2, 0)
    assert x[0, 1] == 0 and list(x[1]) == [0, 1, 0]
    for alpha in ([-1, 1], [np.nan, 1], [0, 0], [np.inf, 1], [], np.ones((3, 2))):
        with pytest.raises(ValueError, match='alpha'): dirichlet(alpha, 2, 0)


# ---- the grid

@quick
@given(st.integers(2, 20), st.sampled_from([2e-4, 1e-3, 0.01, 0.05]), seeds)
def test_largest_remainders_sum_to_one_and_move_less_than_a_step(d, step, seed):
    x = dirichlet(np.full(d, .3), 60, seed)
    out = round_to_grid(x, step)
    units = out / step
    np.testing.assert_allclose(units, np.rint(units), atol=1e-6)
    assert (np.rint(units).sum(axis=1) == round(1 / step)).all()
    assert np.abs(out - x).max() < step and (out >= 0).all() and (out[x == 0] == 0).all()


@quick
@given(st.integers(2, 12), seeds)
def test_rounding_does_not_depend_on_the_order_of_domains(d, seed):
    rng = np.random.default_rng(seed)
    x, order = dirichlet(np.full(d, .5), 20, rng), rng.permutation(d)
    np.testing.assert_array_equal(round_to_grid(x)[:, order], round_to_grid(x[:, order]))


def test_rounding_agrees_with_a_plain_largest_remainder():
    for row in dirichlet(np.full(9, .4), 300, 4):
        units = np.floor(row * 1000)
        for i in np.argsort(-(row * 1000 - units))[:int(round(1000 - units.sum()))]: units[i] += 1
        np.testing.assert_allclose(round_to_grid(row[None], 1e-3)[0], units / 1000)


# ---- the sampler

@quick
@given(counts, st.sampled_from([None, 3.0, 15.0]), seeds)
def test_samples_are_mixtures_on_the_grid_within_the_bound(values, bound, seed):
    prior, step = as_prior(as_dict(values)), 1e-3
    try: out = sample_mixtures(prior, 5, seed=seed, bound=bound, step=step, floor=step)
    except ValueError as e:
        assert 'different mixtures' in str(e)
        return
    assert out.shape == (5, len(prior)) and list(out.columns) == list(prior.index) and list(out.index) == list('12345')
    assert (out >= 0).all(axis=None)
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(out / step, (out / step).round(), atol=1e-6)
    assert not out.duplicated().any()
    if bound: # floor and rounding come after the bound: normalising may add d floors, rounding one step
        assert (out <= np.minimum(1, bound * prior) / (1 - len(prior) * step) + step).all(axis=None)


@quick
@given(st.sampled_from([dict(PAPER), dict(RELEASE), {}]), seeds)
def test_the_same_seed_gives_the_same_table(options, seed):
    a, b, c = (sample_mixtures(PRIOR, 20, seed=s, **options) for s in (seed, seed, seed + 1))
    pd.testing.assert_frame_equal(a, b)
    assert not a.equals(c)


def test_global_random_state_is_neither_used_nor_changed():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    a = sample_mixtures(PRIOR, 20, seed=1)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(6)
    pd.testing.assert_frame_equal(a, sample_mixtures(PRIOR, 20, seed=1))


def test_permuting_the_domains_permutes_the_distribution():
    p = pd.Series({'a': 6., 'b': 3., 'c': 1.})
    x, y = sample_mixtures(p, 2000, seed=1), sample_mixtures(p[['c', 'a', 'b']], 2000, seed=2)
    assert list(y.columns) == ['c', 'a', 'b']
    a, b = coverage(x), coverage(y).loc[['a', 'b', 'c']]
    assert (a - b).abs().max(axis=None) < 0.05
    assert (coverage(x).loc['a', 'mean'] - coverage(y).loc['b', 'mean']) > 0.1 # and the test could fail


def plain_release(prior, n, rng):
    "The authors' recipe, read off their description: 15 draws, one kept, all held, neighbours compared."
    flat = np.sqrt(prior) / np.sqrt(prior).sum()
    pool, draws = [], np.array([rng.dirichlet(s * flat, 100 * n) for s in np.geomspace(.1, 5, 15)])
    for x in draws[rng.integers(15, size=100 * n), np.arange(100 * n)]:
        if (x > np.minimum(1, 15 * prior)).any(): continue
        x = np.where(x < 2e-4, 0, x)
        pool.append(np.round(x / x.sum() / 2e-4) * 2e-4)
    pool = np.array(pool)
    pool = pool[np.lexsort(pool.T)]
    kept = pool[np.r_[True, np.abs(np.diff(pool, axis=0)).sum(axis=1) > 1e-5]]
    return kept[rng.choice(len(kept), n, replace=False)]


def test_release_preset_has_the_distribution_of_the_plain_recipe():
    "One draw at a random strength, and a subset chosen by keys: the same statistics as the long way."
    prior = as_prior(PRIOR).to_numpy()
    plain = np.vstack([plain_release(prior, 60, np.random.default_rng(s)) for s in range(3)])
    ours = np.vstack([sample_mixtures(PRIOR, 60, seed=s, **RELEASE) for s in range(30)])
    for f in (lambda x: (x == 0).mean(axis=1), lambda x: x.max(axis=1), lambda x: (x > 0).sum(axis=1), lambda x: x @ np.arange(17.)):
        a, b = f(plain), f(ours)
        assert abs(a.mean() - b.mean()) < 4 * np.sqrt(a.var() / len(a) + b.var() / len(b))


def test_every_different_candidate_is_equally_likely_to_be_kept():
    "Corners appear many times in the pool and must not be favoured for it."
    options = dict(strength=0.05, levels=1, bound=None, step=.25, floor=0, oversample=40, temperature=1.)
    p = {'a': 8., 'b': 1., 'c': 1.}
    tables = [sample_mixtures(p, 3, seed=s, **options) for s in range(150)]
    corner = np.mean([(t['a'] == 1).any() for t in tables])
    assert corner < 0.9 # drawn without removing repetitions it would be there (nearly) always
    repeats = [sample_mixtures(p, 3, seed=s, **{**options, 'min_distance': None}) for s in range(40)]
    assert np.mean([(t['a'] == 1).any() for t in repeats]) > 0.95


def test_paper_preset_is_a_mixture_of_dirichlets_around_the_prior():
    x = sample_mixtures(PRIOR, 20_000, seed=0, **PAPER)
    p = as_prior(PRIOR)
    spread = np.log(6.0 / 1.1) / 4.9 # the mean of 1 / (strength + 1), strength uniform on 0.1 to 5
    np.testing.assert_allclose(x.mean(), p, atol=0.01)
    np.testing.assert_allclose(x.var(), p * (1 - p) * spread, atol=0.003)


def test_release_preset_keeps_the_bound_and_its_rounding():
    x = sample_mixtures(PRIOR, 512, seed=0, **RELEASE)
    assert (x <= np.minimum(1, 15 * as_prior(PRIOR)) + 2e-4 * 18).all(axis=None)
    assert not np.allclose(x.sum(axis=1), 1, atol=1e-9) and (x.sum(axis=1) - 1).abs().max() < 0.002


def test_results_do_not_hold_the_pool_in_memory():
    "600 x 100 weights are 0.5 MB; the pool of a hundred times as many would be 48 MB."
    import tracemalloc
    prior = {f'd{i}': 1 for i in range(100)}
    tracemalloc.start()
    sample_mixtures(prior, 600, seed=0, bound=None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize('options, says', [
    (dict(n=0), 'n = 0'), (dict(strength=0), 'strength = 0'), (dict(strength=(5, 1)), 'strength'), (dict(strength=(1, 2, 3)), 'strength'),
    (dict(levels=0), 'levels = 0'), (dict(spacing='x'), 'spacing'), (dict(floor=.5), 'floor'), (dict(floor=-1), 'floor'),
    (dict(step=.3), 'whole number'), (dict(step=.9), 'step'), (dict(oversample=0), 'oversample'), (dict(min_distance=0), 'min_distance'),
    (dict(bound=.5), 'no mixture'), (dict(bound={'a': 1}), "domain 'b'"), (dict(bound={'a': 1, 'b': 0, 'c': 1}), "domain 'b'"),
    (dict(temperature=-1), 'temperature'), (dict(n=500, step=.1, floor=.1), 'different mixtures')])
def test_options_that_make_no_sense_are_refused(options, says):
    with pytest.raises(ValueError, match=says): sample_mixtures({'a': 6, 'b': 3, 'c': 1}, **{'n': 4, **options})


def test_presets_cannot_be_changed_by_accident():
    with pytest.raises(TypeError): RELEASE['floor'] = 0
    assert set(PAPER) == set(RELEASE)


def test_domains_without_tokens_get_no_weight():
    x = sample_mixtures({'a': 6, 'b': 3, 'none': 0}, 30)
    assert (x['none'] == 0).all() and list(x.columns) == ['a', 'b', 'none']


# ---- diagnostics

def test_epochs_and_max_weights_are_inverse_to_each_other():
    have = {'a': 50., 'b': 20., 'c': 1000.}
    top = max_weights(have, 100., 4)
    assert top.to_dict() == {'a': 1, 'b': .8, 'c': 1}
    assert epochs(pd.Series({'b': .8, 'a': .2, 'c': 0.}), 100., have).to_dict() == {'b': 4, 'a': .4, 'c': 0}
    table = pd.DataFrame({'a': [.5, 0.], 'b': [.5, 1.]})
    assert epochs(table, 100., {'a': 50., 'b': 0.}).to_numpy().tolist() == [[1, np.inf], [0, np.inf]]


@quick
@given(counts, seeds)
def test_effective_domains_lie_between_one_and_all(values, seed):
    x = pd.DataFrame(dirichlet(values, 10, seed))
    e = effective_domains(x)
    assert (e >= 1 - 1e-9).all() and (e <= len(values) + 1e-9).all()


# ---- check_mixtures

def table(): return pd.DataFrame({'web': [.5, .2], 'code': [.5, .3], 'law': [0, .5]}, index=['r1', 'r2'])


def test_a_sound_table_comes_back_clean_and_is_left_alone():
    mine = pd.DataFrame({'web': ['0.5', 1], 'law': [0.5, 0]}, index=[7, 8])
    before = mine.copy(deep=True)
    out = check_mixtures(mine, domains=['law', 'web'])
    assert list(out.index) == ['7', '8'] and list(out.columns) == ['law', 'web'] and (out.dtypes == float).all()
    pd.testing.assert_frame_equal(mine, before)


@pytest.mark.parametrize('change, says', [
    (lambda t: t.assign(web=[.5, np.nan]), "run 'r2', domain 'web': nan"),
    (lambda t: t.assign(web=['half', .2]), "run 'r1', domain 'web': 'half'"),
    (lambda t: t.assign(web=[None, .2]), "run 'r1', domain 'web'"),
    (lambda t: t.assign(web=[np.inf, .2]), "domain 'web': inf"),
    (lambda t: t.assign(web=[.6, .2], law=[-.1, .5]), "run 'r1', domain 'law': -0.1 is negative"),
    (lambda t: t.assign(web=[.0, .2]), "run 'r1' sums to 0.5"),
    (lambda t: t.set_axis(['r', 'r']), "run 'r' appears twice"),
    (lambda t: t.set_axis([1, '1']), "run '1' appears twice"),
    (lambda t: t.set_axis(['web', 'web', 'law'], axis=1), "domain 'web' appears twice"),
    (lambda t: t.rename(columns={'law': 'laws'}), "unknown domain 'laws': did you mean 'law'"),
    (lambda t: t.drop(columns='law'), "no column for domain 'law'"),
    (lambda t: t.rename_axis('run').reset_index(), 'set_index'),
    (lambda t: t.iloc[:0], 'empty'), (lambda t: t.to_numpy(), 'ndarray')])
def test_faults_in_a_table_are_refused_by_name(change, says):
    with pytest.raises(ValueError, match=says): check_mixtures(change(table()), domains=['web', 'code', 'law'])


@pytest.mark.parametrize('total, ok', [(0.996, True), (1.003, True), (0.99, False), (1.01, False)])
def test_the_default_tolerance_takes_the_releases_sums(total, ok):
    t = pd.DataFrame({'a': [total - .5], 'b': [.5]})
    if ok: assert check_mixtures(t).sum(axis=1).iloc[0] == pytest.approx(total)
    else:
        with pytest.raises(ValueError, match='sums to'): check_mixtures(t)


def test_a_repeated_mixture_is_a_warning():
    with pytest.warns(UserWarning, match="'a' and 'b' have the same mixture"):
        check_mixtures(table().iloc[[0, 0]].set_axis(['a', 'b']))


# ---- YAML

@quick
@given(counts, seeds)
def test_a_mixture_survives_its_file(tmp_path_factory, values, seed):
    x = pd.Series(dirichlet(values, 1, seed)[0], index=list(as_dict(values)))
    extra = {'valid': {'valid_the_pile_d0': 1.0}, 'model_name': 'tinyllama_1M', 'learning_rate': 4e-4, 'note': 'é: "x"'}
    back = load_mixture(save_mixture(x, tmp_path_factory.mktemp('y') / 'n3.yaml', extra))
    assert back.to_dict() == x.to_dict() and back.name == '3' and back.attrs['extra'] == extra


def test_a_folder_survives_and_is_in_the_order_of_numbers(tmp_path):
    x = sample_mixtures(PRIOR, 12, seed=3)
    files = save_mixtures(x, tmp_path / 'new' / 'config', extra={'max_step': 1001})
    assert [f.name for f in files][:2] == ['n1.yaml', 'n2.yaml'] and not [f for f in files[0].parent.iterdir() if f.suffix != '.yaml']
    back = load_mixtures(files[0].parent)
    pd.testing.assert_frame_equal(back, x)
    assert back.attrs['extra'] == {'max_step': 1001}
    with pytest.raises(ValueError, match="run 'n1'"): save_mixtures(x.rename({'1': 'n1'}), tmp_path)
    with pytest.raises(ValueError, match="run '../x'"): save_mixtures(x.rename({'1': '../x'}), tmp_path)
    (files[3]).write_text('train:\n  train_the_pile_arxiv: 1.0\n')
    with pytest.raises(ValueError, match='n4.yaml: domain'): load_mixtures(files[0].parent)


def test_a_file_written_by_the_authors_tools_is_read(tmp_path):
    (tmp_path / 'n7.yaml').write_text('train:\n' + ''.join(f'  {d.train_column}: {0 if n != "pile_cc" else 1}\n' for n, d in DOMAINS.items())
                                      + 'valid:\n  valid_the_pile_pile_cc: 1.0\nseed: 42\n\nmodel_name: tinyllama_1M')
    x = load_mixture(tmp_path / 'n7.yaml')
    assert list(x.index) == list(DOMAINS) and x['pile_cc'] == 1 and x.attrs['extra']['seed'] == 42


@pytest.mark.parametrize('text, says', [
    ('train:\n  a: 0.5\n  a: 0.5\n', "key 'a' appears twice"), ('train:\n  a: x\n', "bad.yaml: train: a: 'x'"), ('train:\n  a:\n', 'train: a: None'),
    ('train:\n  a: true\n', 'train: a: True'), ('train:\n  a: .nan\n', 'train: a: nan'), ('train:\n  a: 1.5\n  b: -0.5\n', 'train: b: -0.5'),
    ('train:\n  a: 0.5\n', 'sum to 0.5'), ('valid:\n  a: 1\n', 'no key `train:`'), ('train: 3\n', 'no key `train:`'), ('', 'found NoneType'),
    ('- a\n- b\n', 'found list'), ('train: {a: 1\n', 'not readable as YAML'), ('train:\n  a: [1]\n', r'train: a: \[1\]')])
def test_bad_files_are_refused_by_file_and_key(tmp_path, text, says):
    (tmp_path / 'bad.yaml').write_text(text)
    with pytest.raises(ValueError, match=says) as e: load_mixture(tmp_path / 'bad.yaml', prefix='')
    assert 'bad.yaml' in str(e.value)


def test_a_wrong_prefix_and_a_bad_mixture_are_refused(tmp_path):
    path = save_mixture(pd.Series({'a': .25, 'b': .75}), tmp_path / 'n1.yaml', prefix='train_')
    with pytest.raises(ValueError, match="does not begin with 'train_the_pile_'"): load_mixture(path)
    assert load_mixture(path, prefix='train_').to_dict() == {'a': .25, 'b': .75}
    with pytest.raises(ValueError, match='sums to 0.5'): save_mixture(pd.Series({'a': .5}), tmp_path / 'n2.yaml')
    assert [p.name for p in tmp_path.iterdir()] == ['n1.yaml']


# ---- the release, and the weight of the module

def test_the_released_tables_pass(authors):
    for name, n in (('train_mixture_1m', 512), ('test_mixture_1m', 256), ('test_mixture_1B', 64)):
        raw = pd.read_csv(authors / f'{name}.csv', index_col=0)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert check_mixtures(raw).shape == (n, 17)


def test_one_domain_cannot_be_mixed():
    with pytest.raises(ValueError, match="one domain only \\('web'\\)"): sample_mixtures({"web": 10, "code": 0}, 4)
