"""Recipes: what is written is read back to the same weights, whatever the trainer's words."""
import ast
import gzip
import json
import shlex
import warnings

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from regmix.cli import app
from regmix.proposals import clean, load_proposal
from regmix.recipes import RECIPES, export_mixture, export_schedule, rounded


def blend(items):
    "Weights and prefixes in turns, as Megatron's `get_blend_from_list` has them: an even number, every other one a number."
    assert len(items) % 2 == 0
    return {path: float(w) for w, path in zip(items[::2], items[1::2])}


def parsed(to, text):
    "Parse a recipe by its trainer's grammar into weights by name, or by path where the format has only paths."
    data = yaml.safe_load(text) if RECIPES[to].ending == ".yaml" else json.loads(text) if RECIPES[to].ending == ".json" else None
    if to == "authors": return {k.removeprefix("train_the_pile_"): v for k, v in data["train"].items()}
    if to == "olmix": return {d: e["weight"] for d, e in data["mix"].items()}
    if to == "olmo-core": return {s["source_name"]: s["target_ratio"] for s in data["sources"]}
    if to == "json": return data
    if to == "mcore":
        assert {"train", "valid", "test"} <= set(data)
        return blend(data["train"])
    if to == "megatron":
        words = shlex.split(text, comments=True)
        assert words[0] == "--data-path"
        return blend(words[1:])
    if to == "nanotron":
        (stage,) = data["data_stages"]
        assert stage["name"] and stage["start_training_step"] == 1 and isinstance(stage["data"]["seed"], int)
        folders, weights = stage["data"]["dataset"]["dataset_folder"], stage["data"]["dataset"]["dataset_weights"]
        assert len(folders) == len(weights) == len(set(folders))
        return dict(zip(folders, weights))
    if to == "levanter":
        assert set(data["data"]["configs"]) == set(data["data"]["train_weights"])
        assert all(isinstance(url, str) for c in data["data"]["configs"].values() for url in c["train_urls"])
        return data["data"]["train_weights"]
    if to == "streaming":
        streams = data["train_loader"]["dataset"]["streams"]
        assert all(set(s) == {"local", "proportion"} for s in streams.values())
        return {s["local"]: s["proportion"] for s in streams.values()}
    values = {t.id: n.value for n in ast.parse(text).body if isinstance(n, ast.Assign) for t in n.targets if t.id in ("weights", "train_data", "paths")}
    if to == "litgpt": return dict(ast.literal_eval(values["train_data"]))
    if to == "nemo": return blend(ast.literal_eval(values["paths"]))
    return ast.literal_eval(values["weights"])


NAMES = ["web", "dclm:code", "it's", 'a "b"', "Юникод", "two words", "- dash", "yes", "no", "1e5", "1", "a/b", "a#b", "null", "weights", "网页"]
PATHS = {"megatron": "data/{}_text_document", "mcore": "data/{}_text_document", "nemo": "data/{}_text_document",
         "litgpt": "data/{}", "nanotron": "data/{}", "streaming": "data/{}"}


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000), d=st.integers(1, 12), alpha=st.sampled_from([0.02, 0.3, 3.0]))
def test_every_recipe_obeys_its_trainers_grammar(seed, d, alpha):
    rng = np.random.default_rng(seed)
    mixture = pd.Series(rng.dirichlet(np.full(d, alpha)), rng.permutation(NAMES)[:d])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for to in RECIPES:
            back = pd.Series(parsed(to, export_mixture(mixture, to)))
            assert abs(back.sum() - 1) < 1e-9 and (back >= 0).all(), to
            wanted = mixture.rename(index=PATHS.get(to, "{}").format)
            assert set(back.index) <= set(wanted.index), to
            assert (back.reindex(wanted.index, fill_value=0.0) - wanted).abs().max() < 1e-6, to
            if to not in ("authors", "json"): assert (back > 0).all(), to


def test_what_a_file_cannot_hold_is_rounded_away_in_one_way():
    mixture = pd.Series({"web": 0.7 - 7e-8, "code": 0.3, "rare": 7e-8, "none": 0.0})
    for to in RECIPES:
        with pytest.warns(UserWarning, match="rounded away, as recipes hold millionths: 'rare'$"): text = export_mixture(mixture, to)
        assert "e-" not in "".join(str(w) for w in parsed(to, text).values())
        assert [w for w in parsed(to, text).values() if w] == [0.7, 0.3]
    assert rounded(pd.Series({"a": 1 - 2e-6, "b": 2e-6}))["b"] == 2e-6
    assert rounded(pd.Series(1 / 3, list("abc"))).sum() == 1


def test_a_domain_in_several_places():
    mixture, at = pd.Series({"web": 0.8, "math": 0.2}), {"math": ["p/a", "p/b"]}
    for to in RECIPES:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            text = export_mixture(mixture, to, at)
        said = [str(n.message) for n in notes]
        if to in PATHS:
            assert parsed(to, text)["p/a"] == parsed(to, text)["p/b"] == 0.1 and ["'math': the weight was divided equally" in n for n in said] == [True], to
        else: assert said == [] and parsed(to, text) == {"web": 0.8, "math": 0.2}, to
    assert yaml.safe_load(export_mixture(mixture, "levanter", at))["data"]["configs"]["math"]["train_urls"] == ["p/a", "p/b"]
    assert yaml.safe_load(export_mixture(mixture, "olmo-core", at))["sources"][1]["paths"] == ["p/a", "p/b"]
    with pytest.raises(ValueError, match="'x' is given for 'web' and for 'math'"): export_mixture(mixture, "nemo", {"web": "x", "math": "x"})


def test_a_limit_on_passes_is_kept_or_said():
    mixture, often = pd.Series({"web": 0.8, "math": 0.2}), {"web": 0.4, "math": 3.2}
    for to, recipe in RECIPES.items():
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            text = export_mixture(mixture, to, repetition=often, tokens=5e9)
        if recipe.keeps: assert not notes and "3.2" in text, to
        else: assert f"{to} keeps no limit on how often a domain is read" in str(notes[0].message) and "math (3.2), which is a training of 5e+09 tokens" in str(notes[0].message)
        assert ("# for a training of 5,000,000,000 tokens" in text) == bool(recipe.comment)
        assert parsed(to, text)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            export_mixture(mixture, to, repetition={"web": 0.9})       # nobody is read twice: nothing to say


def test_names_of_the_authors_get_one_prefix():
    once = export_mixture({"arxiv": 0.5, "github": 0.5}, "authors")
    assert export_mixture({"train_the_pile_arxiv": 0.5, "train_the_pile_github": 0.5}, "authors") == once and once.count("train_the_pile_") == 2
    assert "train_the_pile_train_the_pile_arxiv" in export_mixture({"train_the_pile_arxiv": 0.5, "github": 0.5}, "authors")   # or two names could meet


def test_olmo_core_accepts_what_it_would_be_given():
    sources = yaml.safe_load(export_mixture(pd.Series({"web": 0.5, "code": 0.5, "none": 0.0}), "olmo-core", repetition={"web": 3.2, "code": 0.1}))["sources"]
    assert [s["source_name"] for s in sources] == ["web", "code"]
    for s in sources: assert set(s) == {"source_name", "target_ratio", "paths", "max_repetition_ratio"} and 0 < s["target_ratio"] <= 1 and s["paths"] and s["max_repetition_ratio"] >= 1
    assert [s["max_repetition_ratio"] for s in sources] == [3.2, 1.0]


@pytest.fixture
def rows(tmp_path):
    "Rows as people have them: other fields in each domain and in each file, one file compressed, a text that is a number."
    for d, files in {"web": 3, "it's [1]": 2, "none": 1}.items():
        for i in range(files):
            more = [{"url": "u", "n": 1}, {"meta": {"stars": 3.5}, "n": "one"}, {"meta": ["a"]}][i]
            lines = "".join(json.dumps({"text": 7 if k == 0 else d} | more) + "\n" for k in range(10))
            path = tmp_path/f"{list('wxn')[len(d) % 3]}{i}.jsonl"
            path.write_text(lines) if i < 2 else gzip.open(f"{path}.gz", "wt").write(lines)
    return {"web": str(tmp_path/"w*.jsonl*"), "it's [1]": [str(tmp_path/f"n{i}.jsonl") for i in range(2)], "none": str(tmp_path/"x*")}


def test_the_snippet_for_datasets_runs_on_ordinary_rows_and_keeps_the_limit(rows, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    mixture = pd.Series({"web": 0.4, "it's [1]": 0.6, "none": 0.0})
    found = {}
    exec(export_mixture(mixture, "datasets", rows, repetition={"web": 8.0, "it's [1]": 3.2}), found)
    drawn = [row["text"] for row in found["mixed"]]
    assert set(drawn) == {"web", "it's [1]", "7"}
    counts = pd.Series(drawn).value_counts()
    assert counts["it's [1]"] <= 4 * 18 and counts["web"] <= 8 * 27 and max(counts["it's [1]"] / 72, counts["web"] / 216) > 0.9   # the first used up ends it
    assert abs(counts["web"] / (counts["web"] + counts["it's [1]"]) - 0.4) < 0.15
    exec(export_mixture(mixture, "datasets", rows), found)                       # nothing is known of passes: one at most
    assert pd.Series([row["text"] for row in found["mixed"]]).value_counts()["it's [1]"] <= 18
    with pytest.raises(FileNotFoundError, match="web: no file is called"): exec(export_mixture(mixture, "datasets", rows | {"web": "nowhere/*.jsonl"}), found)


def test_what_is_no_mixture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sums to 0.9"): clean({"a": 0.5, "b": 0.4})
    with pytest.raises(ValueError, match="negative"): clean({"a": 1.5, "b": -0.5})
    with pytest.raises(ValueError, match="no format 'nemi'; choose from authors"): export_mixture({"a": 1}, "nemi")
    with pytest.raises(ValueError, match="paths: no domain 'b'"): export_mixture({"a": 1}, "megatron", {"b": "x"})
    (tmp_path/"counts.json").write_text('{"web": 7, "code": 3}')
    with pytest.warns(UserWarning, match="counts.json: the numbers sum to 10"): assert load_proposal(tmp_path/"counts.json")["mixture"].to_dict() == {"web": 0.7, "code": 0.3}


def test_what_was_here_answers_with_a_note():
    import regmix.proposals as now
    import regmix.recipes as once
    for old, new in {"held": "never_moved", "wobble": "resampled_weights", "caveats": "caveats", "propose_fit": "propose_fit"}.items():
        with pytest.warns(DeprecationWarning, match=f"regmix.recipes.{old} is now regmix.proposals.{new}"): found = getattr(once, old)
        assert found is getattr(now, new)


def test_a_trainer_named_in_other_words_is_led_to_its_format(tmp_path):
    (tmp_path/"mix.json").write_text('{"data.mix.web page": 0.7, "data.mix.code": 0.3}')
    for name, format in (("llm-foundry", "streaming"), ("Megatron-LM", "megatron")):
        found = CliRunner().invoke(app, ["export", str(tmp_path/"mix.json"), "--to", name])
        assert found.exit_code == 2 and f"what it reads is called '{format}'" in found.stderr
    for name in ("web page", "data.mix.web page"):   # with or without what all names of a table's columns begin with
        found = CliRunner().invoke(app, ["export", str(tmp_path/"mix.json"), "--to", "megatron", "--path", f"{name}=/d/w"])
        assert "--data-path 0.7 /d/w 0.3 " in found.stdout


# --- schedules ---

def phases_in(to, text, tokens, steps):
    "Parse a schedule by its trainer's grammar: where each phase begins, as a share, and its weights by domain."
    data = None if to == "megatron" else json.loads(text) if to == "json" else yaml.safe_load(text)   # YAML 1.1 reads 1e-06 as text
    name = {"nanotron": "data/", "streaming": "data/"}.get(to, "")
    if to == "json":
        assert sum(p["tokens"] for p in data["phases"]) == data["tokens"] == tokens
        return [(p["step"] / steps, p["weights"]) for p in data["phases"]]
    if to == "levanter":
        assert {d for _, w in data["data"]["train_weights"] for d in w} == set(data["data"]["configs"])
        return [(step / steps, w) for step, w in data["data"]["train_weights"]]
    if to == "nanotron":
        assert len({s["name"] for s in data["data_stages"]}) == len(data["data_stages"]) and data["data_stages"][0]["start_training_step"] == 1
        sets = [s["data"]["dataset"] for s in data["data_stages"]]
        found = [{f.removeprefix(name): w for f, w in zip(s["dataset_folder"], s["dataset_weights"], strict=True)} for s in sets]
        return [((s["start_training_step"] - 1) / steps, w) for s, w in zip(data["data_stages"], found)]
    if to == "streaming":
        curriculum = data["callbacks"]["curriculum_learning"]
        lengths = [int(t.removesuffix("tok")) for t in [curriculum["duration"], *(s["duration"] for s in curriculum["schedule"])]]
        assert f"{sum(lengths)}tok" == data["max_duration"] == f"{tokens}tok" and min(lengths) > 0
        sets = [data["train_loader"]["dataset"], *(s["dataset"] for s in curriculum["schedule"])]
        found = [{s["local"].removeprefix(name): s["proportion"] for s in d["streams"].values()} for d in sets]
        return [(sum(lengths[:i]) / tokens, w) for i, w in enumerate(found)]
    lines = dict(line.split("=", 1) for line in text.splitlines() if line[0] != "#")
    words = {k: shlex.split(v.strip("()")) for k, v in lines.items()}
    assert words["transitions"][0] == "--phase-transition-iterations"
    begins = [0, *map(int, words.pop("transitions")[1].split(","))]
    found = [{d.removesuffix("_text_document").removeprefix("data/"): w for d, w in blend(w[1:]).items()} for w in words.values()]
    return [(b / steps, w) for b, w in zip(begins, found, strict=True)]


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000), d=st.integers(2, 8), n=st.integers(2, 6), steps=st.integers(60, 5000))
@example(seed=0, d=2, n=4, steps=60)   # a weight of 1e-06
def test_every_trainer_of_phases_gets_the_schedule(seed, d, n, steps):
    rng = np.random.default_rng(seed)
    begins = [0.0, *sorted(rng.choice(np.arange(1, 20), n - 1, replace=False) / 20)]
    names = [name for name in NAMES if "/" not in name]
    schedule = pd.DataFrame(rng.dirichlet(np.full(d, 0.3), n), begins, rng.permutation(names)[:d])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for to in (to for to, r in RECIPES.items() if r.phases):
            found = phases_in(to, export_schedule(schedule, to, tokens=64 * steps, steps=steps), 64 * steps, steps)
            assert len(found) == n, to
            for (begin, weights), (share, row) in zip(found, schedule.iterrows()):
                assert abs(begin - share) <= 0.5 / steps + 1e-9 and abs(sum(weights.values()) - 1) < 1e-9, to
                assert (pd.Series(weights).reindex(row.index, fill_value=0.0) - row).abs().max() < 1e-6, to
        for to in (to for to, r in RECIPES.items() if not r.phases):
            with pytest.raises(ValueError, match=f"'{to}' reads one mixture, and the schedule has {n} phases.*--phase 1"): export_schedule(schedule, to)
            assert parsed(to, export_schedule(schedule, to, phase=n)) == parsed(to, export_mixture(schedule.iloc[-1], to))


STAGES = pd.DataFrame({"web": [0.7, 0.25], "code": [0.3, 0.25], "law": [0.0, 0.5]}, [0, 0.25])


def test_a_phase_says_what_is_rounded_away_and_divided_once():
    tiny = STAGES.assign(rare=[7e-8, 0.0])
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        text = export_schedule(tiny, "nanotron", {"web": ["/a/1", "/b/1"]}, tokens=1e9, steps=100)
    assert [str(n.message).partition(",")[0] for n in notes] == ["phase 1: rounded away", "'web': the weight was divided equally among several paths; change that if one is larger"]
    assert text.startswith("# for a training of 1,000,000,000 tokens\n") and '# domains: {' in text


@pytest.mark.parametrize("given, why", [
    (dict(to="nanotron"), "'nanotron' counts in steps.*--steps"), (dict(to="streaming", steps=9), "'streaming' counts in tokens.*--tokens"),
    (dict(to="json", steps=1), "2 stages in 1 steps"), (dict(to="json", tokens=1), "2 stages in 1 tokens"), (dict(to="json", steps=0), "steps are '0'"),
    (dict(to="json", tokens=float("nan")), "tokens are 'nan'"), (dict(to="json", phase=3), "no phase 3: the schedule has 2"), (dict(to="json", phase=0), "no phase 0"),
    (dict(to="llm-foundry"), "is called 'streaming'"), (dict(to="json", paths={"lwa": "x"}, phase=1), None), (dict(to="nanotron", steps=9, paths={"lwa": "x"}), "no domain 'lwa'")])
def test_what_cannot_be_a_schedule_of_a_trainer_is_refused(given, why):
    if why is None: return export_schedule(STAGES, **given)   # JSON has no paths
    with pytest.raises(ValueError, match=why): export_schedule(STAGES, **given)


def test_the_shell_writes_schedules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    def ask(line, code=0):
        found = run.invoke(app, ["export", *line.split()])
        assert found.exit_code == code, found.output
        return found.stdout if code == 0 else found.stderr
    from regmix.files import save_result
    save_result("schedules", "mine", {"schedule": STAGES.rename_axis("begins").reset_index()}, {}, tmp_path)
    STAGES.rename_axis("begins").to_csv("s.csv")
    ask("schedules/mine --to json --tokens 1e6 --out s.json")
    (tmp_path/"m.json").write_text('{"web": 0.7, "code": 0.3}')
    wanted = ask("s.csv --to streaming --tokens 1e6 --path law=/d/law")
    assert wanted == ask("schedules/mine --to streaming --tokens 1e6 --path law=/d/law") == ask("s.json --to streaming --path law=/d/law")
    assert "duration: 750000tok" in wanted and 'local: "/d/law"' in wanted
    assert "max_repetition_ratio" in ask("s.csv --to olmo-core --phase 2")
    assert "m.json is one mixture, and no schedule: leave it out" in ask("m.json --to json --phase 1", 2)
    assert "write each by itself (--phase 1)" in ask("s.csv --to olmix", 2)
    (tmp_path/"bad.csv").write_text("begins,web,code\n0,0.5,0.5\n0.5,0.9,x\n")
    (tmp_path/"late.csv").write_text("begins,web\n0.1,1\n")
    (tmp_path/"bad.json").write_text('{"phases": [{"begins": 0, "weights": {"web": "1"}}]}')
    assert "bad.csv" in (said := ask("bad.csv --to json", 2)) and "'x'" in said and "'code'" in said
    assert "late.csv: the first stage begins at 0.1, not at 0" in ask("late.csv --to json", 2)
    assert 'bad.json: is not a schedule' in ask("bad.json --to json", 2)
