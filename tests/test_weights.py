"""Weights: what any trainer's file says is read to the same mixture, or refused in one line."""
import json
import shlex
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from regmix.cli import app
from regmix.mixtures import PREFIX, load_mixture, load_mixtures, read_yaml, save_mixture
from regmix.proposals import load_proposal
from regmix.recipes import RECIPES, export_mixture
from regmix.weights import named_as, read_tokens, read_weights


def read(path, text, reader=read_weights):
    "Write a file and read it: the numbers, and the notes."
    path.write_bytes(text.encode())
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        found = reader(path)
    return found.round(9).to_dict(), [str(n.message).removeprefix(f"{path}: ") for n in notes]


def ask(line, status=0):
    found = CliRunner().invoke(app, shlex.split(line))
    assert found.exit_code == status, found.stderr + repr(found.exception)
    return found.stdout, found.stderr


HARD = ["no", "1e5", "null", "a: b", "a/b", "two words", " lead", "it's", 'a "b"', "#c", "a#b", "- x", "{", "网页", "Юникод", "🙂", "x\ty", "line\nend", "\u2028", "\x85\x7f",
        "mix", "train", "domains", "data/x_text_document", "--data-path", "0.5", "a=b", "%s", "\\", "true", "<<", "~", "x.jsonl"]
names = st.lists(st.sampled_from(HARD) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), min_size=1, max_size=7, unique=True)


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=names, seed=st.integers(0, 10_000), elsewhere=st.booleans())
@example(names=["train", "mix"], seed=1, elsewhere=True)
@example(names=HARD, seed=2, elsewhere=False)
def test_any_mixture_any_recipe_out_and_back(tmp_path_factory, names, seed, elsewhere):
    rng, folder = np.random.default_rng(seed), tmp_path_factory.mktemp("w")
    weights = rng.dirichlet(np.full(len(names), 0.5))
    if len(names) > 2: weights[-1] = 7e-8
    if len(names) > 3: weights[-2] = 0
    mixture = pd.Series(weights / weights.sum(), names)
    paths = {d: [f"/x/{i}/train", f"/y/{i}/train"][:1 + i % 2] for i, d in enumerate(names[::2])} if elsewhere else None
    for i, (to, recipe) in enumerate(RECIPES.items()):
        path = folder/(f"r{recipe.ending}" if (i + seed) % 2 else f"r-{to}")           # by its ending, or by what is in it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path.write_bytes(export_mixture(mixture, to, paths).encode())
            back = load_proposal(path)["mixture"] if i % 3 == 0 else named_as(read_weights(path), names)
        assert recipe.read_back and set(back.index) <= set(names), to
        assert (back.reindex(names, fill_value=0.0) - mixture).abs().max() < 1e-6, to


def test_the_formats_of_others(tmp_path):
    "One file each of what trainers and papers use, nested as they nest it; the notes say what was scaled or left."
    web = {"web": 0.75, "law": 0.25}
    left = "`priors.relative_sizes` was read, and not `priors.token_counts`"
    for name, text, wanted, said in [
        ("a.yaml", "train:\n  train_the_pile_web: 0.6\n  train_the_pile_law: 0.2\nvalid:\n  valid_the_pile_x: 1.0\nseed: 1\n", web, ["the numbers sum to 0.8, not to 1; they were read as shares and divided by their sum"]),
        ("b.yaml", "name: x\nmix:\n  dclm:\n    weight: 0.6\n    code: {weight: 0.5}\n    law: {weight: 0.5, repetition_factor: 2}\n  wiki: {weight: .4}\n", {"dclm:code": 0.3, "dclm:law": 0.3, "wiki": 0.4}, []),
        ("c.yaml", "mix:\n  s2:\n    cs: {weight: 0.6, deep: {weight: 1}}\n    bio: {weight: 0.4}\n", {"s2:cs:deep": 0.6, "s2:bio": 0.4}, []),
        ("d.yaml", "priors:\n  token_counts: {web: 3_000, law: 7_000}\n  relative_sizes: {web: 0.75, law: 0.25}\n", web, [left]),
        ("e.yaml", "dataset:\n  sources:\n  - {source_name: web, target_ratio: .75, paths: [a]}\n  - {source_name: law, target_ratio: 25e-2, paths: [b]}\n", web, []),
        ("f.json", '{"train_domain_weights": {"web": 0.75, "law": 0.25}, "eval_domain_weights": {"web": 1.0, "law": 0.0}}', web, []),
        ("g.yaml", "data:\n  configs:\n    web: {train_urls: [u]}\n  train_weights:\n    web: 3\n    law: 1\n", web, ["the numbers sum to 4, not to 1; they were read as shares and divided by their sum"]),
        ("h.yaml", "data_weights: [[0, {web: 0.75, law: 0.25}]]\n", web, []),
        ("i.yaml", "train_loader:\n  dataset:\n    streams:\n      web: {local: a, proportion: 0.75}\n      law: {local: b, proportion: 0.25}\n", web, []),
        ("j.yaml", "data_stages:\n- data:\n    dataset:\n      dataset_folder: [s3://b/web, data/law]\n      dataset_weights: [0.75, 0.25]\n", web, []),
        ("k.yaml", "model:\n  data:\n    data_prefix: [0.75, /a/web_text_document, 0.25, /a/law_text_document]\n", web, []),
        ("l", "75 /a/web_text_document\n25 /a/law_text_document\n", web, ["the weights sum to 100 and were read as per cent"]),
        ("m.json", '{"train": "0.75 /a/web 0.25 /a/law", "valid": null, "test": null}', web, []),
        ("n.yaml", "a: &a {no: 0.5, 1e5: 0.25}\nmixture: {<<: *a, yes: 0.25}\n", {"no": 0.5, "1e5": 0.25, "yes": 0.25}, []),
        ("o.tsv", "domain\ttokens\nweb\t750\nlaw\t250\n", web, ["the numbers sum to 1000, not to 1; they were read as tokens and divided by their sum"]),
        ("p.txt", "domain,share\nweb,0.75\nlaw,0.25\n", web, []),
        ("q.json", '{"web": "75", "law": 25}', web, ["the weights sum to 100 and were read as per cent"]),
        ("r.yaml", "web: 0.751\nlaw: 0.25\n", {"web": round(0.751 / 1.001, 9), "law": round(0.25 / 1.001, 9)}, []),
    ]:
        assert read(tmp_path/name, text) == (wanted, said), name
    assert read(tmp_path/"d.yaml", (tmp_path/"d.yaml").read_text(), read_tokens)[0] == {"web": 3000, "law": 7000}
    assert read(tmp_path/"q.json", '{"web": 750, "law": 25}', read_tokens) == ({"web": 750, "law": 25}, [])


SECRET = "do not print this"


@pytest.mark.parametrize("name, text, says", [
    ("a.yaml", f"model:\n  name: {SECRET}\n  layers: [1, 2]\noptimizer: {{lr: {SECRET}}}\n", "no mixture that is known under its keys 'model' (dict), 'optimizer' (dict); give a number for each domain"),
    ("a.json", json.dumps({"sources": [{"path": SECRET}] * 40}), "no mixture that is known under its keys 'sources' (list)"),
    ("a.json", json.dumps({"web": 0.5, "text": 900 * "long "}), "the prior of domain 'text' is 'long"),
    ("a.json", "{}", "nothing in it"), ("a.json", "[1]", "found list, expected a number for each domain"), ("a.json", f'{{"web": {SECRET}', "not readable as JSON"),
    ("a.json", '{"mix": {"web": {"weight": 1, "weight": 2}}}', "'weight' appears twice"), ("a.yaml", "mix:\n  no: {weight: 1}\n  no: {weight: 2}\n", "key 'no' appears twice (line 2 on)"),
    ("a.yaml", f"web: [{SECRET}\n", "not readable as YAML: expected ',' or ']'"), ("a.yaml", f"web: !!python/name:{SECRET.split()[0]} x\n", "not readable as YAML"),
    ("a.yaml", f"- {SECRET}\n", "found list"), ("a.yaml", "train_weights: [[0, {a: 1}], [10, {b: 1}]]\n", "train_weights: a schedule of 2 mixtures"),
    ("a.yaml", "streams: {c4: {repeat: 2}}\n", "streams: stream 'c4' has no proportion"), ("a.yaml", "sources: [{source_name: a, target_ratio: 1}, {source_name: a, target_ratio: 1}]\n", "'a' appears twice"),
    ("a.yaml", "data_stages:\n" + 2 * "- {data: {dataset: {dataset_folder: [a], dataset_weights: [1]}}}\n", "data_stages: 2 stages"),
    ("a.yaml", "mix: {s2: {weight: 1, cs: {weight: half}}}\n", "'s2:cs' is nan"), ("a.yaml", "sources: [{source_name: a, target_ratio: half}]\n", "domain 'a' is 'half'"),
    ("a.yaml", "web: true\nlaw: 1\n", "domain 'web' is 'true'"), ("a.yaml", "web: -1\nlaw: 2\n", "domain 'web' is -1"), ("a.csv", "a,b,c\n1,2,3\n", "3 columns"),
    ("a.csv", "d,t\nweb,1\nweb,2\n", "'web' of column 'd' is on lines 2, 3"), ("a.py", f"x = '{SECRET}'\n", "neither JSON, YAML, Python"), ("a.jsonl", '{"text": "x"}\n{"text": "y"}\n', "not readable as JSON"),
])
def test_what_is_no_mixture_gets_one_line(tmp_path, name, text, says):
    (tmp_path/name).write_text(text)
    with pytest.raises(ValueError) as e: read_weights(tmp_path/name)
    assert str(e.value).startswith(f"{tmp_path/name}: ") and says in str(e.value) and "\n" not in str(e.value) and len(str(e.value)) < 300 + len(str(tmp_path))
    assert SECRET not in str(e.value)


def test_yaml_takes_names_as_they_are_written(tmp_path):
    mixture = pd.Series({"no": 0.25, "1e5": 0.25, "~": 0.25, "2024-01-01": 0.25})
    assert load_mixture(save_mixture(mixture, tmp_path/"n1.yaml")).to_dict() == mixture.to_dict()
    (tmp_path/"x.yml").write_text("no: 1\nyes: {on: off, 0x1: 2}\nseed: 42\n")
    assert read_yaml(tmp_path/"x.yml") == {"no": 1, "yes": {"on": False, "0x1": 2}, "seed": 42}      # values keep their types
    assert read_yaml(tmp_path/"x.yml", as_text=True) == {"no": "1", "yes": {"on": "off", "0x1": "2"}, "seed": "42"}
    save_mixture(mixture[::-1], tmp_path/"n2.yaml", prefix="")
    assert list(load_mixtures(tmp_path, prefix=None)) == list(mixture.index)                            # with the authors' prefix, and without


def test_a_fits_names_may_have_a_prefix():
    w = pd.Series({"web": 0.7, "law": 0.3})
    for domains in (["mix/web", "mix/law"], [PREFIX + "web", PREFIX + "law", PREFIX + "code"], ["a.b.web", "a.b.law"], ["web", "law", "code"]):
        assert set(named_as(w, domains).index) < set(domains) or set(named_as(w, domains).index) == set(domains)
    for domains in (["dclm:web", "wiki:law"], ["code", "math"]): assert named_as(w, domains).equals(w)
    w.attrs["all"] = True
    with pytest.warns(UserWarning, match="the file for a trainer leaves out 'mix/code': read as weight 0"): assert named_as(w, ["mix/web", "mix/law", "mix/code"])["mix/code"] == 0


def test_the_old_name_answers():
    import regmix.tables
    with pytest.warns(DeprecationWarning, match="regmix.tables.read_weights is now regmix.weights.read_weights"): assert regmix.tables.read_weights is read_weights


def test_every_command_reads_what_export_writes(tmp_path, monkeypatch):
    "export to propose --prior, sample and export, for every format; the second export is the first."
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.dirichlet([4, 2, 1], 24), columns=["web", "no", "a b"], index=pd.Index([f"r{i}" for i in range(24)], name="run"))
    X.to_csv("m.csv")
    pd.DataFrame({"loss": 2 + np.exp(X.to_numpy() @ [-0.5, -1.5, 0.3])}, X.index).to_csv("l.csv")
    ask("fit --mixtures m.csv --losses l.csv --target loss --law ridge --folds 2 --out fit")
    Path("mix.json").write_text('{"web": 70, "no": 30, "a b": 0}')                            # per cent, as anybody may write it
    for to, recipe in RECIPES.items():
        file = f"mix-{to}{recipe.ending}"
        ask(f"export mix.json --to {to} --out {file}")
        ask(f"sample {file} --n 2 --out s-{to}.csv")
        assert list(pd.read_csv(f"s-{to}.csv"))[:3] == ["run", "web", "no"], to
        if to not in ("authors", "megatron", "levanter"): continue
        told, err = ask(f"propose fit --prior {file} --stability 0 --json")
        assert json.loads(told)["prior"] == pytest.approx({"web": 0.7, "no": 0.3, "a b": 0.0}), to
        assert ("leaves out 'a b'" in err) == (to != "authors"), to
    assert ask("export mix-nemo.py --to nemo")[0] == Path("mix-nemo.py").read_text()
    out, err = ask("export mix.json --to olmo-core --path web=x/day=1/* --path web=y --path 'a b=z'")
    assert "- \"x/day=1/*\"\n      - \"y\"" in out and "read as per cent" in err
    assert "no domain 'wbe'" in ask("export mix.json --to nemo --path wbe=x", 2)[1] and "write domain=path" in ask("export mix.json --to nemo --path web", 2)[1]
    listed = json.loads(ask("recipes --json")[0])
    assert set(listed) == set(RECIPES) and {r["read back"] for r in listed.values()} == {"yes"}


@pytest.mark.parametrize("text, why", [
    ("web: 0.7\ncode: 0.3\ntotal: 1.0\n", "'total': no domain by name"), ("web: 70\ncode: 30\nseed: 7\n", "'seed': no domain by name"),
    ("web: 7e9\ncode: 3e9\ntotal_tokens: 1e10\n", "'total_tokens' is the sum of the others"), ("web: 70%\ncode: 30%\n", "per cent"), ("web: 1.2T\ncode: 3B\n", "1.5e9")])
def test_what_is_no_weight_beside_the_weights_is_refused(tmp_path, text, why):
    with pytest.raises(ValueError) as found: read(tmp_path/"a.yaml", text)
    assert str(found.value).startswith(f"{tmp_path/'a.yaml'}: ") and why in str(found.value)
    assert read(tmp_path/"b.yaml", "time: 70\nindex: 30\n")[0] == {"time": 0.7, "index": 0.3}   # names of domains, if they sum to one


def test_a_row_of_weights_a_script_and_toml(tmp_path):
    for text in ("web,code\n0.7,0.3\n", "run,web,code\nbest,70,30\n"):
        found, notes = read(tmp_path/"a.csv", text)
        assert found == {"web": 0.7, "code": 0.3} and "one row, read as one mixture" in notes[0]
    with pytest.raises(ValueError, match="one row of numbers, which sum to 1000"): read(tmp_path/"a.csv", "web,code\n700,300\n")
    assert read(tmp_path/"a.sh", "#!/bin/sh\ntrain \\\n  --data-path 0.7 /x/web \\\n  0.3 /x/code \\\n--split 99,1,0\n")[0] == {"web": 0.7, "code": 0.3}
    with pytest.raises(ValueError, match="TOML is not read"): read(tmp_path/"a.toml", "[training]\ndataset = 'c4'\n")
