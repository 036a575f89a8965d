"""Swarms: three sources, one object; nothing half-written, nothing silently dropped."""
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regmix.swarms import Swarm, join_swarms, load_swarm, long_losses, mixtures_digest, save_swarm


def make(n=6, d=4, targets=3, seed=0, tokens=1000):
    rng = np.random.default_rng(seed)
    names = [f"domain{i}" for i in range(d)]
    mixtures = pd.DataFrame(rng.dirichlet(np.ones(d), n), index=[f"r{i}" for i in range(n)], columns=names)
    wide = pd.DataFrame(rng.uniform(1, 8, (n, targets)), index=mixtures.index, columns=names[:targets])
    return mixtures, wide, long_losses(wide, tokens)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 20), d=st.integers(1, 12), seed=st.integers(0, 99))
def test_long_and_back(n, d, seed):
    mixtures, wide, losses = make(n, d, d, seed)
    swarm = Swarm("s", mixtures, losses)
    assert np.array_equal(swarm.final_losses().to_numpy(), wide.to_numpy())
    X, y = swarm.xy("domain0")
    assert X.index.equals(y.index) and np.array_equal(y, wide["domain0"])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99))
def test_order_of_rows_of_losses_does_not_matter(seed):
    mixtures, wide, losses = make(seed=seed)
    shuffled = Swarm("s", mixtures, losses.sample(frac=1, random_state=seed)).final_losses()
    assert np.array_equal(shuffled[wide.columns].loc[wide.index], wide)


def test_saved_bytes_do_not_change(tmp_path):
    mixtures, _, losses = make()
    swarm = Swarm("s", mixtures, losses, {"seed": 1})
    a, b = save_swarm(swarm, tmp_path/"a"), save_swarm(swarm, tmp_path/"b")
    for file in ("mixtures.parquet", "losses.parquet", "swarm.json"):
        assert (a/file).read_bytes() == (b/file).read_bytes()
    assert load_swarm(a).meta == {"seed": 1}


def test_a_crash_while_saving_keeps_the_old_swarm(tmp_path, monkeypatch):
    mixtures, _, losses = make()
    home = save_swarm(Swarm("old", mixtures, losses), tmp_path/"s")
    def crash(*a, **k): raise OSError("disk full")
    monkeypatch.setattr(pd.DataFrame, "to_parquet", crash)
    with pytest.raises(OSError, match="disk full"): save_swarm(Swarm("new", mixtures, losses), home, overwrite=True)
    monkeypatch.undo()
    assert load_swarm(home).name == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("spoil, message", [
    (lambda m, w: (m, w.drop(index="r2").reindex(w.index)), "run 'r2' has no usable loss"),
    (lambda m, w: (m.drop(index="r1"), w), "run 'r1' has losses but no mixture"),
    (lambda m, w: (m, w.drop(index="r3")), "no loss for run 'r3'"),
    (lambda m, w: (m * 0.5, w), "r0"),
    (lambda m, w: (m.assign(domain1=np.nan), w), "domain1"),
])
def test_bad_csv_files_are_refused_by_name(tmp_path, spoil, message):
    mixtures, wide, _ = make()
    mixtures, wide = spoil(mixtures, wide)
    pair = tmp_path/"m.csv", tmp_path/"l.csv"
    mixtures.rename_axis("run").to_csv(pair[0])
    wide.rename_axis("run").to_csv(pair[1])
    with pytest.raises(ValueError, match=message): load_swarm(pair)


def test_long_csv_with_tokens(tmp_path):
    mixtures, wide, losses = make()
    more = pd.concat([losses.assign(tokens=10, loss=losses["loss"] + 1), losses])
    mixtures.rename_axis("run").to_csv(tmp_path/"m.csv")
    more.to_csv(tmp_path/"l.csv", index=False)
    swarm = load_swarm((tmp_path/"m.csv", tmp_path/"l.csv"))
    assert np.allclose(swarm.final_losses(), wide)


def test_released_weights_are_kept_as_released(authors):
    from regmix.paper import load_appendix_g
    swarm = load_swarm("authors/1b-test")
    raw = pd.read_csv(authors/"test_mixture_1B.csv").iloc[:, 1:]
    assert np.array_equal(swarm.mixtures.to_numpy(), raw.to_numpy())
    weights, _ = load_appendix_g()
    assert list(swarm.mixtures.index) == list(weights.index)


def halves(**other):
    "Two swarms of runs 0 to n, trained alike but for what is given."
    mixtures, wide, losses = make()
    meta = {"config": {"lr": 0.1, "seed": 0}, "corpus": "88c8", "seeds": [0] * 6, "broken": [{"run": "r1"}]}
    late = meta | {"config": {"lr": 0.1, "seed": 1}, "seeds": [1] * 6} | other
    return Swarm("one", mixtures, losses, meta), Swarm("two", mixtures, losses.assign(loss=losses["loss"] + 0.1), late)


def test_joined_swarms_keep_every_run_under_its_own_name():
    one, two = halves()
    whole = join_swarms("both", [one, two])
    assert list(whole.mixtures.index) == [f"{s}/r{i}" for s in ("one", "two") for i in range(6)] and "'r0' is 'one/r0'" in whole.meta["notes"][0]
    assert whole.meta["seeds"] == [0] * 6 + [1] * 6 and [b["run"] for b in whole.meta["broken"]] == ["one/r1", "two/r1"]
    assert np.allclose(whole.final_losses().loc["two/r3"], two.final_losses().loc["r3"])
    with pytest.raises(ValueError, match="run 'r0' is in swarm 'one' and in swarm 'one', with the same mixture"): join_swarms("twice", [one, one])


@pytest.mark.parametrize("other, message", [({"config": {"lr": 0.2}}, "configuration: lr is 0.1 and 0.2"), ({"corpus": "77aa"}, "corpus: 88c8 and 77aa")])
def test_swarms_that_were_trained_otherwise_are_refused(other, message):
    with pytest.raises(ValueError, match=f"swarms 'one' and 'two' differ in their {message}"): join_swarms("both", halves(**other))


def test_a_domain_that_came_later_has_weight_0_before():
    one, two = halves()
    later = Swarm("two", two.mixtures.rename(columns={"domain3": "news"}), two.losses)
    whole = join_swarms("both", [one, later])
    assert (whole.mixtures["news"][:6] == 0).all() and (whole.mixtures["domain3"][6:] == 0).all()
    assert any("a domain that came later" in n for n in whole.meta["notes"]) and any("only one of them says its configuration" in n for n in whole.meta["notes"])


def begun(tmp_path):
    "A swarm's folder as training leaves it: the definition holds the digest of the mixtures."
    mixtures, wide, losses = make()
    home = save_swarm(Swarm("s", mixtures, losses), tmp_path/"s")
    (home/"definition.json").write_text(json.dumps({"mixtures": mixtures_digest(mixtures), "seeds": [0] * len(mixtures)}))
    return home, mixtures


@pytest.mark.parametrize("swap", [lambda m: m.set_axis([*m.columns[[1, 0]], *m.columns[2:]], axis=1),
                                  lambda m: m.set_axis(["r1", "r0", *m.index[2:]]), lambda m: m.iloc[::-1], lambda m: m.iloc[:-1]])
def test_mixtures_with_swapped_names_are_refused(tmp_path, swap):
    home, mixtures = begun(tmp_path)
    assert load_swarm(home).mixtures.equals(mixtures.rename_axis("run"))
    swap(mixtures).rename_axis("run").reset_index().to_parquet(home/"mixtures.parquet", index=False)
    with pytest.raises(ValueError, match="mixtures.parquet: not the mixtures that definition.json stands for"): load_swarm(home)


def test_only_a_folder_that_should_have_a_manifest_is_noted_for_having_none(tmp_path, recwarn):
    "A swarm still grows where it was trained; a copy of its tables was written whole, with a manifest."
    home, mixtures = begun(tmp_path)
    (home/"manifest.json").unlink(missing_ok=True)
    load_swarm(home)
    assert not recwarn.list
    (home/"definition.json").unlink()
    with pytest.warns(UserWarning, match="has no manifest.json"): load_swarm(home)


def test_rows_that_somebody_is_adding_do_not_count_yet(tmp_path):
    home, mixtures = begun(tmp_path)
    more = pd.concat([mixtures, mixtures.iloc[:1].rename({"r0": "new"})])
    more.rename_axis("run").reset_index().to_parquet(home/"mixtures.parquet", index=False)
    assert list(load_swarm(home).mixtures.index) == list(mixtures.index)


def test_a_folder_without_a_manifest_is_read_with_a_note(tmp_path):
    mixtures, _, losses = make()
    home = save_swarm(Swarm("s", mixtures, losses), tmp_path/"s")
    (home/"manifest.json").unlink()
    with pytest.warns(UserWarning, match="has no manifest.json"): assert len(load_swarm(home)) == 6
