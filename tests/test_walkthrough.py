"""The walk-through on a corpus of one's own: it runs on three domains that nobody has seen, and its shell lines do the same."""
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import regmix.runner as runner
from regmix.cli import app
from regmix.runner import execute, last_words, main, perform
from toys import execute_page

ROOT = Path(__file__).parent.parent
PAGE = ROOT/"nbs/walkthrough/your_corpus.ipynb"
WORDS = {"web": "tree river stone cloud wind rain hill road", "code": "if else return while break def yield pass", "law": "court judge law appeal plea verdict claim party"}
TOY = dict(targets=["code", "law"], vocab_size=300, n=8, tokens=1024, context=32, batch=4, evals=2, eval_tokens=64, laws=["own weight", "log-linear", "ridge"],
           bounds={"web": [0.1, None]}, resamples=2, small_model="80K", small_tokens=1024, seeds=2)


@pytest.fixture(scope="module")
def walked(tmp_path_factory, processes):
    "The page, run on a small folder of text: its folder, and what its cells said."
    room = tmp_path_factory.mktemp("walk")
    rng = np.random.default_rng(0)
    (room/"my text").mkdir()
    for d, many in {"web": 160, "code": 60, "law": 30}.items():
        rows = [{"body": " ".join(rng.choice([*WORDS[d].split(), "the", "of"], 200))} for _ in range(many)]
        if d == "law": rows += rows[:3]
        (room/"my text"/f"{d}-0.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    before = set((ROOT/"build/corpora").glob("my*text-*"))
    given = {**TOY, "text": str(room/"my text"), "text_field": "body", "folder": str(room/"out")}
    walk = processes.Process(target=execute_page, args=(PAGE, room/"page.ipynb", given))
    walk.start()
    walk.join()
    nb = nbformat.read(room/"page.ipynb", 4)
    assert walk.exitcode == 0
    yield room/"out", "\n".join(o.get("text", "") for c in nb.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "stream"), nb
    for new in set((ROOT/"build/corpora").glob("my*text-*")) - before: shutil.rmtree(new)


def test_what_it_leaves(walked):
    out, said, nb = walked
    assert {"fit", "mix.yaml", "mixtures.csv", "model", "rivals.csv", "proposal.json", "report.html", "result.json", "small", "swarm"} <= {p.name for p in out.iterdir()}
    told = json.loads((out/"result.json").read_text())
    assert told["domains"] == ["code", "law", "web"] and told["targets"] == ["code", "law"] and told["runs"] == 8
    assert abs(sum(told["mixture"].values()) - 1) < 1e-9 and told["mixture"]["web"] > 0.1 - 1e-6 and abs(sum(told["prior"].values()) - 1) < 1e-9
    assert told["verdict"] in ("helped", "did harm", "made no difference beyond the noise")
    assert all(m["low"] <= m["difference"] <= m["high"] for m in told["measured"].values())
    assert set(told["predicted"]) == {"code", "law"} and set(told["measured"]) == {"code", "law", "web"}
    trained = pd.read_parquet(out/"small/mixtures.parquet").set_index("run")
    assert set(trained.index) == {f"{m}-{s}" for m in ["prior", "proposed", *told["rivals"]] for s in (0, 1)}
    assert json.loads((out/"model/config.json").read_text())["vocab_size"] == 300
    pictures = sum("image/png" in o.get("data", {}) for c in nb.cells if c.cell_type == "code" for o in c.outputs)
    assert pictures == 4 and "cannot: ridge needs at least 10 runs" in said
    assert "note: 3 of 253 documents are exact copies of others and were dropped: 3 of 33 in law" in said


def test_the_answer_follows_from_what_was_measured(walked):
    "The verdict again, from the losses of the small models."
    from regmix.swarms import load_swarm
    out, _, _ = walked
    final, told = load_swarm(out/"small").final_losses()[["code", "law"]].mean(axis=1), json.loads((out/"result.json").read_text())
    apart = final[["proposed-0", "proposed-1"]].mean() - final[["prior-0", "prior-1"]].mean()
    assert told["over_targets"]["difference"] == pytest.approx(apart)
    beyond = told["over_targets"]["high"] < 0 or told["over_targets"]["low"] > 0
    assert (told["verdict"] == "made no difference beyond the noise") != beyond


def test_rivals_stand_in_the_verdict(walked):
    "The targets' own text alone, half of that, and the best proxy: trained as the proposal was, or named as the same mixture."
    from regmix.swarms import load_swarm
    out, _, nb = walked
    told, small = json.loads((out/"result.json").read_text()), load_swarm(out/"small")
    final, prior = small.final_losses()[["code", "law"]].mean(axis=1), pd.Series(told["prior"])
    assert set(told["rivals"]) | set(told["same"]) == {"targets_alone", "half_targets", "best_proxy"}
    swarm = load_swarm(out/"swarm")
    best = swarm.mixtures.loc[swarm.final_losses()[["code", "law"]].mean(axis=1).idxmin()]
    alone = pd.Series({"code": 0.5, "law": 0.5, "web": 0.0})
    for name, mixture in {"targets_alone": alone, "half_targets": (alone + prior) / 2, "best_proxy": best}.items():
        found = small.mixtures.loc[f"{told['same'].get(name, name)}-0"]
        assert (found - mixture).abs().sum() < 0.003, name
    for name, r in told["rivals"].items():
        assert r["difference"] == pytest.approx(final[[f"{name}-0", f"{name}-1"]].mean() - final[["proposed-0", "proposed-1"]].mean())
    better = {n for n, r in told["rivals"].items() if r["high"] < 0}
    tied = {n for n, r in told["rivals"].items() if r["low"] <= 0 <= r["high"]}
    assert told["instead"] in (better or tied or {None}) and (told["instead"] != "best_proxy" or better or tied == {"best_proxy"})
    said = "better than the proposal" if better else "as good" if tied else "No rival is as good"
    assert said in told["advice"] and told["advice"] in last_words(out.parent/"page.ipynb")
    page = (out/"report.html").read_text()
    assert "Did it help?" in page and "half_targets" in page and "best_proxy" in page


def test_it_ends_with_the_result(walked):
    out, _, _ = walked
    said, told = last_words(out.parent/"page.ipynb"), json.loads((out/"result.json").read_text())
    assert said.startswith("proposal: ") and told["verdict"] in said and "Of the 1 other domains, which nobody asked about" in said
    for name in ("report.html", "proposal.json", "mix.yaml", "result.json"): assert str(out/name) in said and (out/name).is_file()


def test_the_shell_lines_do_the_same(walked, monkeypatch):
    "Each line as it is printed, into other files; the swarms are found finished, so their definitions are the same."
    out, said, _ = walked
    monkeypatch.chdir(ROOT)
    lines = [shlex.split(l)[2:] for l in said.splitlines() if l.startswith("$ regmix ")]
    assert all(l[l.index("--text-field") + 1] == "body" for l in lines if l[0] in ("sample", "train"))
    assert [l[0] for l in lines] == ["sample", "train", "fit", "propose", "train", "export", "report"]
    for line in lines:
        if line[0] != "train": line[-1] = line[-1].replace(str(out), str(out.parent/"again"))
        found = CliRunner().invoke(app, line + (["--quiet"] if line[0] == "train" else []))
        assert found.exit_code == 0, found.stderr
        if line[0] == "train": assert re.search(r"(\d+) of \1 runs", found.stdout)
    again = out.parent/"again"
    assert (again/"mixtures.csv").read_text() == (out/"mixtures.csv").read_text() and (again/"mix.yaml").read_text() == (out/"mix.yaml").read_text()
    ours, theirs = (json.loads((p/"proposal.json").read_text()) for p in (out, again))
    for part in ("mixture", "prior", "epochs"): assert theirs[part] == pytest.approx(ours[part], abs=1e-6)
    assert theirs["caveats"] == ours["caveats"] and theirs["settings"] == ours["settings"]
    for d, moves in ours["stability"].items(): assert theirs["stability"][d] == pytest.approx(moves, abs=1e-6)
    assert not any(l.endswith("--overwrite") for l in said.splitlines())


def test_a_wrong_word_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "execute", lambda *given, **how: execute(*given))   # here: a kernel would import all anew
    with pytest.raises(ValueError, match="has no parameter 'proxies'; it has text, targets"):
        main(["nbs/walkthrough/your_corpus.ipynb", "--set", "proxies=3"])
    with pytest.raises(SystemExit) as e: perform(PAGE, tmp_path/"page.ipynb", {"text": str(tmp_path/"nowhere")})
    assert str(e.value).splitlines()[-1].startswith("your_corpus.ipynb: AssertionError: text: there is no folder")


def test_ctrl_c_at_the_start_is_no_traceback():
    "While the runner still imports what it needs."
    with subprocess.Popen([sys.executable, "-X", "importtime", "-m", "regmix.runner", "--list"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as p:
        next(line for line in p.stderr if line.endswith(" signal\n"))
        next(line for line in p.stderr if line.rstrip().endswith("ast"))
        p.send_signal(signal.SIGINT)
        rest = p.stderr.read()
    assert p.returncode in (-signal.SIGINT, 1) and "Traceback" not in rest
