"""Recipes: what is written is read back to the same weights, whatever the trainer's words."""
import ast
import json
import shlex

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from regmix.proposals import clean, load_proposal
from regmix.recipes import RECIPES, export_mixture


def read_back(to, text):
    "Parse a recipe into domain: weight, by the place of the domain in its path where the format has only paths."
    name = lambda path: path.removeprefix("data/").removesuffix("_text_document")
    if to == "authors": return {k.removeprefix("train_the_pile_"): v for k, v in yaml.safe_load(text)["train"].items()}
    if to == "olmix": return {d: e["weight"] for d, e in yaml.safe_load(text)["mix"].items()}
    if to == "olmo-core": return {s["source_name"]: s["target_ratio"] for s in yaml.safe_load(text)["sources"]}
    if to == "json": return json.loads(text)
    if to == "megatron":
        words = shlex.split(text)
        assert words[0] == "--data-path"
        return {name(p): float(w) for w, p in zip(words[1::2], words[2::2])}
    values = {t.id: n.value for n in ast.parse(text).body if isinstance(n, ast.Assign) for t in n.targets if t.id in ("weights", "train_data")}
    if to == "litgpt": return {name(p): w for p, w in ast.literal_eval(values["train_data"])}
    return ast.literal_eval(values["weights"])


NAMES = ["web", "dclm:code", "it's", 'a "b"', "Юникод", "two words", "- dash", "yes", "1"]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), d=st.integers(1, 9), alpha=st.sampled_from([0.02, 0.3, 3.0]))
def test_every_recipe_is_read_back(seed, d, alpha):
    rng = np.random.default_rng(seed)
    mixture = pd.Series(rng.dirichlet(np.full(d, alpha)), rng.permutation(NAMES)[:d])
    for to in RECIPES:
        back = pd.Series(read_back(to, export_mixture(mixture, to)))
        assert abs(back.sum() - 1) < 1e-9 and (back >= 0).all(), to
        assert (back.reindex(mixture.index, fill_value=0.0) - mixture).abs().max() < 1e-6, to
        if to not in ("authors", "json"): assert (back > 0).all(), to


def test_olmo_core_accepts_what_it_would_be_given():
    sources = yaml.safe_load(export_mixture(pd.Series({"web": 0.5, "code": 0.5, "none": 0.0}), "olmo-core", repetition={"web": 3.2, "code": 0.1}))["sources"]
    assert [s["source_name"] for s in sources] == ["web", "code"]
    for s in sources: assert set(s) == {"source_name", "target_ratio", "paths", "max_repetition_ratio"} and 0 < s["target_ratio"] <= 1 and s["paths"] and s["max_repetition_ratio"] >= 1
    assert [s["max_repetition_ratio"] for s in sources] == [3.2, 1.0]


def test_the_snippet_for_datasets_runs_and_mixes(tmp_path):
    pytest.importorskip("datasets")
    mixture = pd.Series({"web": 0.6, "it's": 0.3, "law": 0.1, "none": 0.0})
    paths = {}
    for i, d in enumerate(mixture.index):
        paths[d] = str(tmp_path/f"{i}.jsonl")
        (tmp_path/f"{i}.jsonl").write_text("".join(json.dumps({"text": d}) + "\n" for _ in range(500)))
    found = {}
    exec(export_mixture(mixture, "datasets", paths), found)
    drawn = pd.Series([row["text"] for row, _ in zip(found["mixed"], range(1000))]).value_counts(normalize=True)
    assert (drawn.reindex(mixture.index, fill_value=0) - mixture).abs().max() < 0.05 and "none" not in drawn


def test_what_is_no_mixture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sums to 0.9"): clean({"a": 0.5, "b": 0.4})
    with pytest.raises(ValueError, match="negative"): clean({"a": 1.5, "b": -0.5})
    with pytest.raises(ValueError, match="no format 'nemo'; choose from authors"): export_mixture({"a": 1}, "nemo")
    with pytest.raises(ValueError, match="paths: no domain 'b'"): export_mixture({"a": 1}, "megatron", {"b": "x"})
    (tmp_path/"counts.json").write_text('{"web": 7, "code": 3}')
    with pytest.raises(ValueError, match="counts.json: run 'mixture' sums to 10"): load_proposal(tmp_path/"counts.json")


def test_what_was_here_answers_with_a_note():
    import regmix.proposals as now
    import regmix.recipes as once
    for old, new in {"held": "never_moved", "wobble": "resampled_weights", "caveats": "caveats", "propose_fit": "propose_fit"}.items():
        with pytest.warns(DeprecationWarning, match=f"regmix.recipes.{old} is now regmix.proposals.{new}"): found = getattr(once, old)
        assert found is getattr(now, new)
