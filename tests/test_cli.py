"""The command line: one object for machines, one line for errors, a number that tells them apart, nothing overwritten or half-written."""
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from regmix.cli import app

REGMIX = [sys.executable, "-c", "from regmix.cli import app; app(prog_name='regmix')"]   # what the console script does
LAWS = '--law log-linear --law "mixing law" --law ridge'


@pytest.fixture
def room(tmp_path, monkeypatch):
    "An empty folder to work in, and the tables of 40 runs."
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.dirichlet([4, 2, 1, 1], 40), columns=["web", "code", "law", "wiki"], index=pd.Index([f"run{i}" for i in range(40)], name="run"))
    loss = 2 + np.exp(X.to_numpy() @ [-0.5, -1.5, 0.3, -1.0]) + rng.normal(0, 0.01, 40)
    X.to_csv("m.csv")
    pd.DataFrame({"val_loss": loss, "arc_acc": 80 - 10 * loss, "note": "ok", "flat": 1.0}, X.index).to_csv("l.csv")
    Path("tokens.json").write_text('{"web": 4e9, "code": 1e9, "law": 5e8, "wiki": 2e8}')
    return tmp_path


def ask(line, status=0):
    "Run a command, check its status, and that there is one JSON object or nothing but text on standard output."
    found = CliRunner().invoke(app, shlex.split(line))
    assert found.exit_code == status, found.stderr + repr(found.exception)
    assert "Traceback" not in found.stderr
    if "--json" in line: return json.loads(found.stdout, parse_constant=lambda c: pytest.fail(f"{c} is no JSON")), found.stderr
    return found.stdout, found.stderr


MADE = {}   # line: what it printed; the files of its fit


def fitted(line=f"fit --mixtures m.csv --losses l.csv --target val_loss {LAWS} --out fit"):
    "Fit the tables of the room: once for each line, and a copy after that, as the tables are always the same."
    if line not in MADE: MADE[line] = ask(line), {p.name: p.read_bytes() for p in Path("fit").iterdir()}
    said, files = MADE[line]
    Path("fit").mkdir(exist_ok=True)
    for name, data in files.items(): Path("fit", name).write_bytes(data)
    return said


def test_from_tables_to_a_report(room):
    out, err = fitted()
    assert "* log-linear" in out and "regret" in out and "chosen: log-linear" in out and "fit: saved" in out and not err
    assert sorted(p.name for p in Path("fit").iterdir()) == ["fit.json", "losses.parquet", "manifest.json", "mixtures.parquet", "out_of_fold.parquet"]
    out, _ = ask("propose fit --prior tokens.json --kl 0.05 --available tokens.json --tokens 5e9 --stability 3 --extrapolate --out p.json")
    assert re.search(r"^code +0\.8000 +0\.1754 +4\.00", out, re.M) and "under the prior" in out and "distance to the nearest" in out and "19 in 20 trained mixtures have a neighbour within" in out
    told = json.loads(Path("p.json").read_text())
    assert abs(sum(told["mixture"].values()) - 1) < 1e-9 and told["epochs"]["code"] <= 4 + 1e-6 and set(told["stability"]) == {"web", "code", "law", "wiki"}
    assert ask("export p.json --to megatron --path code=c")[0].startswith("--data-path ")
    assert "max_repetition_ratio: 4.0" in ask("export p.json --to olmo-core")[0]
    ask("report fit p.json --out r.html --title 'For <us>'")
    page = Path("r.html").read_text()
    assert page.count("<svg") == page.count("<figure>") > 2 and "For &lt;us&gt;" in page and not re.search(r"https?://|src=|<script", page.replace("http://www.w3.org/", ""))
    ask("report fit --out alone.html")
    assert not [p for p in room.iterdir() if p.name.startswith(".")], "something was left half-written"


def test_python_and_shell_give_the_same(room):
    from regmix.choice import load_fit
    from regmix.proposals import propose_fit
    fitted()
    told, _ = ask("propose fit --bound web=0.3:0.5 --bound law=0 --stability 0 --json")
    want = propose_fit(load_fit("fit"), lower={"web": 0.3, "law": 0.0}, upper={"web": 0.5, "law": 0.0})
    assert told["mixture"] == want.mixture.to_dict() and told["mixture"]["law"] == 0 and 0.3 - 1e-9 <= told["mixture"]["web"] <= 0.5 + 1e-9


def test_higher_is_better(room):
    told, _ = ask(f"fit --mixtures m.csv --losses l.csv --higher arc_acc {LAWS} --out up --unit percent --json")
    assert told["laws"]["arc_acc"] == "log-linear" and not any(r["left_out"] for r in told["comparison"] if r["law"] == "log-linear")
    best, _ = ask("propose up --stability 0 --extrapolate --json")
    p = best["predicted"]["arc_acc"]
    assert 50 < p["low"] < p["value"] < p["high"] < 80 and best["mixture"]["code"] > 0.9     # code lowers the loss most
    _, err = ask(f"fit --mixtures m.csv --losses l.csv --target arc_acc {LAWS} --out down")
    assert "sounds like more is better" in err and "--higher arc_acc" in err


def test_the_line_says_which_law_was_chosen_and_why(room):
    from regmix.choice import COLUMNS
    from regmix.cli import _chosen
    table = pd.DataFrame([dict.fromkeys(COLUMNS) | dict(zip(("law", "rho", "behind_low", "rmse"), r)) for r in (("ridge", 0.95, 0, 1), ("log-linear", 0.94, -0.1, 1), ("stack", 0.9, -0.1, 1))])
    assert _chosen(table, "log-linear") == ("  chosen: log-linear (these runs do not tell it from ridge, which has the highest rho, and its best mixture can be computed); "
                                            "not told apart either: stack")
    assert _chosen(table[:1], "ridge") == "  chosen: ridge (highest rho on unseen runs)"
    assert _chosen(table.drop(1), "ridge").endswith("not told apart by these runs: stack")


def test_resamples_that_fail_are_a_note_and_the_column_stays(room, monkeypatch):
    import regmix.proposals
    real = regmix.proposals.stability
    fitted()
    def some(*args, **same):
        warnings.warn("1 of 3 resamples could not be solved and were left out")
        return real(*args, **same).iloc[:-1]
    monkeypatch.setattr(regmix.proposals, "stability", some)
    told, err = ask("propose fit --stability 3 --json")
    assert set(told["stability"]) == {"web", "code", "law", "wiki"} and "regmix: note: 1 of 3 resamples could not be solved" in err
    def none(*args, **same): raise ValueError("none of the resamples could be solved")
    monkeypatch.setattr(regmix.proposals, "stability", none)
    told, err = ask("propose fit --stability 3 --json")
    assert told["stability"] is None and "note: no stability: none of the resamples could be solved" in err


def test_guard_worst_and_importance(room):
    fitted(f"fit --mixtures m.csv --losses l.csv --target val_loss --higher arc_acc {LAWS} --out fit")
    for extra in ("--guard 0.01", "--worst", "--importance val_loss=10"): assert ask(f"propose fit --prior tokens.json {extra} --stability 0 --json")[0]["mixture"]
    told, _ = ask("propose fit --prior tokens.json --stability 0 --json")
    assert any("give each its importance" in c for c in told["caveats"])
    ask("propose fit --importance nothing=1", 2)
    ask("propose fit --worst --stability 0", 2)                 # worst than what? there is no prior


def test_laws_that_cannot_be_solved_are_searched(room):
    ask("fit --mixtures m.csv --losses l.csv --target val_loss --law 'quadratic ridge' --out fit")
    told, _ = ask("propose fit --stability 1 --json")
    assert told["gap"] is None and any("not of the form that can be solved exactly" in c for c in told["caveats"]) and told["predicted"]["val_loss"]["low"] is not None


FAULTS = [
    ("fit --mixtures m.csv --losses l.csv --out fit", "name at least one target"),
    ("fit --mixtures m.csv --target a --out fit", "give either --swarm FOLDER, or --mixtures FILE and --losses FILE"),
    ("fit --swarm s --mixtures m.csv --losses l.csv --target a --out fit", "give either --swarm"),
    ("fit --mixtures m.csv --losses l.csv --target lass --out fit", "l.csv: no column 'lass'; there is 'val_loss', 'arc_acc'"),
    ("fit --mixtures m.csv --losses l.csv --target flat --out fit", "target 'flat' is 1 in all 40 runs: there is nothing to regress"),
    ("fit --mixtures m.csv --losses l.csv --target note --out fit", "'ok' is no number"),
    ("fit --mixtures no.csv --losses l.csv --target a --out fit", "no.csv: there is no such file"),
    ("fit --mixtures m.csv --losses l.csv --target val_loss --law cubic --out fit", "no law 'cubic'; choose from"),
    ("fit --mixtures m.csv --losses l.csv --target val_loss --law 'own weight' --out fit", "no law can be fitted"),
    ("fit --mixtures m.csv --losses l.csv --target val_loss --folds 1 --out fit", "folds = 1"),
    ("propose m.csv", "no fit.json"),
    ("export l.csv --to json", "l.csv: 5 columns"),
    ("export m.csv --to json", "m.csv: 5 columns"),
    ("sample nowhere --out x.csv", "nowhere: there is no such folder"),
    ("sample tokens.json --out x.xlsx", "write .csv, .parquet"),
    ("sample tokens.json --out x.csv --n 0", "n = 0"),
    ("train l.csv installed --out s", "'ok' is no number"),
    ("report nowhere --out r.html", "no fit.json"),
]


@pytest.mark.parametrize("line, message", FAULTS, ids=[m[:30] for _, m in FAULTS])
def test_errors_are_one_line_and_2(room, line, message):
    told, err = ask(line + " --json", 2)
    lines = [l for l in err.splitlines() if not l.startswith("regmix: note:")]
    assert len(lines) == 1 and lines[0].startswith("regmix: ") and message in lines[0]
    assert told["exit"] == 2 and message in told["error"]
    assert not any((room/n).exists() for n in ("fit", "x.csv", "s", "r.html"))


@pytest.mark.parametrize("line, message", [("--bound web", "write name=low:high"), ("--bound web=a", "'a' is no low:high"), ("--bound x=0.1", "no domain 'x'"), ("--bound web=0.9:0.1", "lower limit above its upper"), ("--bound web=0.6: --bound code=0.6:", "sum to 1.2000"),
                                           ("--tokens 1e9", "give --available and --tokens together"), ("--kl 1", "give one"), ("--available tokens.json --tokens 1e12", "allow more epochs"), ("--prior bad.json", "'moon', which the fit does not have"), ("--prior part.json", "part.json: no weight for law, wiki"),
                                           ("--stability -3", "--stability -3"), ("--prior tokens.json --kl -1", "kl = -1"), ("--bound web=0.5:nan", "upper limit of 'web' is nan"), ("--available tokens.json --tokens -5", "numbers above 0"),
                                           ("--available shares.json --tokens 1e6", "these are shares")])
def test_impossible_questions(room, line, message):
    Path("bad.json").write_text('{"moon": 1}')
    Path("part.json").write_text('{"web": 1, "code": 2}')
    Path("shares.json").write_text('{"web": 0.4, "code": 0.2, "law": 0.2, "wiki": 0.2}')
    fitted()
    assert message in ask(f"propose fit {'' if '--stability' in line else '--stability 0'} {line}", 2)[1]


def test_a_target_has_one_direction(room):
    assert "which is it?" in ask(f"fit --mixtures m.csv --losses l.csv --target val_loss --higher val_loss {LAWS} --out fit", 2)[1]


def test_a_proposal_of_another_fit_is_refused(room):
    fitted()
    ask(f"fit --mixtures m.csv --losses l.csv --higher arc_acc {LAWS} --out other")
    ask("propose fit --prior tokens.json --stability 0 --out p.json")
    assert "from another fit" in ask("report other p.json --out r.html", 2)[1] and not Path("r.html").exists()
    ask("report fit p.json --out r.html")
    page = Path("r.html").read_text()
    assert "Train on" in page and "under the prior" in page


NAMES = [r"$\frac{1$", "50% $x$ _\\", "x" * 100, "web|page", "中文", "עברית"]


def test_names_of_any_kind_reach_the_report(room):
    "What a name holds is never read as a formula, a pattern or a piece of the page."
    X, Y = pd.read_csv("m.csv", index_col="run"), pd.read_csv("l.csv", index_col="run")
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.dirichlet(np.ones(len(NAMES)), len(X)), X.index, NAMES)
    X.to_csv("names.csv")
    Y[NAMES[0]] = 2 + np.exp(-X[NAMES[1]]) + rng.normal(0, 0.01, len(X))
    Y.to_csv("losses.csv")
    ask(shlex.join(["fit", "--mixtures", "names.csv", "--losses", "losses.csv", "--target", NAMES[0], "--unit", NAMES[1], "--law", "ridge", "--out", "odd"]))
    told, _ = ask("propose odd --stability 0 --out p.json --json")
    assert set(told["mixture"]) == set(NAMES)
    ask("report odd p.json --out r.html")
    import html
    page = html.unescape(Path("r.html").read_text())
    for name in NAMES: assert name in page, name


def test_what_gets_worse_is_said_first(room):
    fitted()
    told, _ = ask("propose fit --prior tokens.json --bound code=:0.01 --bound law=0.9: --stability 0 --json")     # what the target wants is forbidden
    p = told["predicted"]["val_loss"]
    assert p["value"] > p["under the prior"] and told["caveats"][0].startswith("Predicted to be WORSE than under the prior: val_loss")
    told, _ = ask("propose fit --prior tokens.json --stability 0 --json")
    assert not any("WORSE" in c for c in told["caveats"]) and any("More weight than any trained mixture had: code" in c for c in told["caveats"]) == (told["mixture"]["code"] > pd.read_csv("m.csv").filter(like="code").max().item() + 0.005)


def test_usage_errors_are_2(room):
    for line in ("nothing", "fit", "propose", "export m.csv", "sample tokens.json --n many --out x.csv"): ask(line, 2)


def test_nothing_is_overwritten_unless_asked(room):
    fitted()
    before = {p: p.read_bytes() for p in Path("fit").iterdir()}
    for line in (f"fit --mixtures m.csv --losses l.csv --target val_loss {LAWS} --out fit", "propose fit --out tokens.json", "export tokens.json --to json --out m.csv", "report fit --out m.csv", "sample tokens.json --out m.csv"):
        assert "--overwrite" in ask(line, 2)[1]
    assert before == {p: p.read_bytes() for p in Path("fit").iterdir()}
    ask(f"fit --mixtures m.csv --losses l.csv --target val_loss --law ridge --out fit --overwrite")
    assert json.loads(Path("fit/fit.json").read_text())["targets"]["val_loss"]["law"] == "ridge"
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("years of work")
    ask(f"fit --mixtures m.csv --losses l.csv --target val_loss --law ridge --out mine --overwrite", 2)
    ask("sample tokens.json --out mine --overwrite", 2)
    assert Path("mine/thesis.tex").is_file()


def test_a_fault_of_ours_is_70_and_still_one_line(room, monkeypatch):
    import regmix.choice
    fitted()
    monkeypatch.setattr(regmix.choice, "load_fit", lambda folder: 1 / 0)
    told, err = ask("propose fit --json", 70)
    line = "ZeroDivisionError: division by zero. This is a fault of regmix; run again with --traceback to see where"
    assert told == {"error": line, "exit": 70} and err == f"regmix: {line}\n"
    for words, environment in (("propose fit --traceback", {}), ("propose fit", {"REGMIX_TRACEBACK": "1"})):
        found = CliRunner().invoke(app, shlex.split(words), env=environment)
        assert found.exit_code == 70 and "Traceback" in found.stderr and "test_cli.py" in found.stderr and found.stderr.endswith(f"regmix: {line}\n")


def numeric(name):
    "The options of a command that take a number."
    import inspect
    import regmix.cli
    parameters = inspect.signature(getattr(regmix.cli, name)).parameters.values()
    return [f"--{p.name.replace('_', '-')}" for p in parameters if getattr(p.annotation, "__origin__", None) in (int, float)]


@pytest.mark.parametrize("line", ["sample tokens.json --out x.csv --overwrite", "propose fit --prior tokens.json --available tokens.json --stability 0"])
def test_no_number_is_a_fault_of_ours(room, line):
    "Whatever number an option is given, it is taken, or refused in a sentence that names the option or the number."
    ask("fit --mixtures m.csv --losses l.csv --target val_loss --law ridge --out fit")
    for option in numeric(line.split()[0]):
        for value in ("nan", "-1", "1e308", "9" * 30) if "sample" in line else ("nan", "-1e308"):
            more = "" if option == "--tokens" or "propose" not in line else "--tokens 1e9"
            found = CliRunner().invoke(app, shlex.split(f"{line} {option}={value} {more}"))
            last = found.stderr.strip().splitlines()[-1:]
            assert found.exit_code in (0, 2) and "Traceback" not in found.stderr, (option, value, found.stderr)
            if option == "--seed": assert found.exit_code == 2 and "--seed" in last[0]


BYTES = [b"", b"[]", b"3", b"null", b'"x"', b'{"mixture": {"a": []}}', b"[[1, 2], [3]]", b"\xff\xfe", b'{"a": 1e999}', b'{"a": 1e308, "b": 1e308}', b"[" * 20_000, b'{"a":' * 40_000,
         b"a: &x [*x]", b"a: !!python/object/apply:os.system [touch x]", b"? [1, 2]\n: 3\n", b"a,b\n\"", b"x,y\na,1e400\nb,1", b"9" * 5000]


@pytest.mark.parametrize("ending", ["json", "yaml", "csv", "parquet"])
def test_no_file_is_a_fault_of_ours(room, ending):
    "Whatever bytes a prior holds, it is read, or refused in one line that names the file; nothing in it is run."
    for data in BYTES:
        Path(f"prior.{ending}").write_bytes(data)
        found = CliRunner().invoke(app, ["sample", f"prior.{ending}", "--n", "2", "--out", "x.csv"])
        last = found.stderr.strip().splitlines()[-1]
        assert found.exit_code == 2 and f"prior.{ending}" in last and len(last) < 400, (data[:40], found.exit_code, last)
        assert not Path("x").exists() and not Path("x.csv").exists()


def test_a_result_that_cannot_be_written_is_no_success(room):
    "A full disk behind standard output: one line, a number other than 0, no traceback. The chapter on the shell has the other streams."
    with open("/dev/full", "w") as full: found = subprocess.run([*REGMIX, "export", "tokens.json", "--to", "json"], stdout=full, stderr=subprocess.PIPE, text=True)
    lines = [l for l in found.stderr.splitlines() if not l.startswith("regmix: note:")]
    assert found.returncode == 1 and len(lines) == 1 and "standard output: No space left on device" in lines[0]


def test_a_wrong_option_is_one_line_and_one_object(room):
    for line, why in {"sample tokens.json": "Missing option '--out'", "sample tokens.json --out x.csv --seed=-1": "Invalid value for '--seed'", "sample tokens.json --out x.csv --zzz 1": "No such option: --zzz",
                      "sample tokens.json --out x.csv --n many": "Invalid value for '--n'", "sample tokens.json --out x.csv --n 1 --n 2": "--n is given twice"}.items():
        told, err = ask(line + " --json", 2)
        assert why in told["error"] and err == f"regmix: {told['error']}\n"


def test_a_line_for_fit_is_told_all_that_it_lacks(room):
    "Every option that is needed in one message, with the line to write; the help names the laws."
    from regmix.laws import LAWS
    for line, why in {"fit": "missing: --swarm, or --mixtures with --losses, --target (or --higher), --out; write: regmix fit --json --swarm SWARM --target COLUMN --out fit",
                      "fit --mixtures m.csv": "missing: --losses, --target (or --higher), --out; write: regmix fit --mixtures m.csv --json --losses TABLE --target COLUMN --out fit",
                      "fit --losses l.csv --higher acc --out f": "missing: --mixtures; write:", "fit --swarm s --out f": "missing: --target (or --higher); write:",
                      "fit m.csv": "write: regmix fit --mixtures m.csv --losses m.csv --json --target COLUMN --out fit"}.items():
        told, err = ask(line + " --json", 2)
        assert why in told["error"] and err == f"regmix: {told['error']}\n"
    for command in ("fit", "plan"):
        said = "".join(CliRunner().invoke(app, [command, "--help"]).stdout.split())   # lines break at hyphens, too
        assert all(law.replace(" ", "") in said for law in LAWS) and "LAWS" not in said


def test_few_runs_say_what_they_lack(room):
    X, Y = pd.read_csv("m.csv")[:12], pd.read_csv("l.csv")[:12]
    X.to_csv("few.csv", index=False), Y.to_csv("fewl.csv", index=False)
    told, _ = ask("fit --mixtures few.csv --losses fewl.csv --target val_loss --out fit --json")
    left = {r["law"]: r["left_out"] for r in told["comparison"]}
    assert "needs at least 40 runs" in left["lightgbm"] and "9 parameters for 4 domains, and there are 9 runs" in left["AutoScale"] and left["log-linear"] is None


def test_fit_is_deterministic_and_refits_on_load(room):
    from regmix.choice import load_fit
    fitted()
    again = load_fit("fit")
    want = load_fit("fit").predict(again.mixtures)
    assert np.array_equal(again.predict(again.mixtures), want)
    table = pd.read_parquet("fit/losses.parquet")
    table.loc[3, "val_loss"] += 0.1
    table.to_parquet("fit/losses.parquet", index=False)
    assert "changed since" in ask("propose fit", 2)[1]
    assert not [p for p in Path("fit").iterdir() if p.suffix not in (".json", ".parquet")]


def test_sample(room):
    told, _ = ask("sample tokens.json --n 12 --seed 3 --out a.csv --json")
    assert told["mixtures"] == 12 and pd.read_csv("a.csv").shape == (12, 5)
    ask("sample tokens.json --n 12 --seed 3 --out b.parquet")
    ask("sample tokens.json --n 12 --seed 3 --out folder")
    from regmix.tables import read_mixtures
    tables = [read_mixtures(p) for p in ("a.csv", "b.parquet", "folder")]
    for t in tables[1:]: assert np.allclose(t, tables[0][t.columns]) and list(t.index) == list(tables[0].index)
    ask("sample tokens.json --n 3 --out folder --overwrite")
    assert len(list(Path("folder").iterdir())) == 3


def test_a_folder_of_mixtures_stays_until_the_new_one_is_there(room, monkeypatch):
    ask("sample tokens.json --n 3 --out folder")
    before = {p.name: p.read_bytes() for p in Path("folder").iterdir()}
    import regmix.files
    real = os.rename
    def fails(a, b):
        if str(b) == "folder" and ".new-" in str(a): raise OSError("no space left")
        return real(a, b)
    with monkeypatch.context() as patch:
        patch.setattr(regmix.files, "_exchange", lambda a, b: False)   # as on a system that cannot exchange two folders
        patch.setattr(os, "rename", fails)
        assert "no space" in ask("sample tokens.json --n 2 --out folder --overwrite", 1)[1]
    assert {p.name: p.read_bytes() for p in Path("folder").iterdir()} == before and not [p for p in room.iterdir() if p.name.startswith(".")]


def test_help_has_an_example_each():
    for name in ("sample", "plan", "next", "train", "fit", "propose", "export", "report", "recipes"):
        out, _ = ask(f"{name} --help")
        assert re.search(rf"Example:\n +regmix {name}", out), name


def run(*words, **options): return subprocess.run([*REGMIX, *words], capture_output=True, text=True, timeout=60, **options)


def test_help_is_quick_and_imports_nothing_heavy():
    code = "import sys; from regmix.cli import app; heavy = {'pandas', 'numpy', 'torch', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    start = time.perf_counter()
    found = run("--help")
    assert found.returncode == 0 and "propose" in found.stdout and time.perf_counter() - start < 1
    from regmix import __version__
    assert run("--version").stdout.strip() == __version__


def test_completion():
    for words, want in (("regmix exp", "export"), ("regmix export p.json --to meg", "megatron")):
        found = subprocess.run(REGMIX, env=os.environ | {"_REGMIX_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}, capture_output=True, text=True, timeout=60)
        assert found.stdout.split() == [want], found.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("line, inside", [("report f", "regmix.choice.load_fit"), ("sample p.json --out new.csv", "regmix.weights.read_weights"),
                                          ("fit --mixtures m.csv --losses l.csv -t val_loss --out f", "regmix.choice.fit_swarm"),
                                          ("train m.csv installed --out s", "regmix.training.train_swarm")])
def test_a_signal_ends_a_command_with_one_object_and_its_number(room, monkeypatch, number, line, inside):
    "Wherever it comes; a second one while the command is ending changes nothing."
    Path("p.json").write_text('{"web": 1}')
    def stop(*args, **kwargs):
        try: signal.raise_signal(number)
        finally:
            if number != signal.SIGINT: signal.raise_signal(number)
    monkeypatch.setattr(inside, stop)
    monkeypatch.setattr("regmix.corpora.open_corpus", lambda *a, **k: None)
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    told, err = ask(f"{line} --json", 128 + number)
    assert set(told) == {"error", "exit"} and told["exit"] == 128 + number and err.splitlines()[-1] == f"regmix: {told['error']}"
    assert ask(line, 128 + number)[0] == ""
    assert {s: signal.getsignal(s) for s in before} == before


def test_who_ignores_a_signal_is_not_stopped_by_it(room, monkeypatch):
    "As under `nohup`."
    monkeypatch.setattr("regmix.weights.read_weights", lambda path: signal.raise_signal(signal.SIGHUP) or pd.Series({"web": 0.5, "law": 0.5}))
    Path("p.json").write_text('{"web": 1}')
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try: ask("sample p.json --out new.csv --n 4 --json")
    finally: signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_an_error_that_is_made_of_parts_is_one_line(room, monkeypatch):
    "A UnicodeDecodeError cannot be made of a text; that of a library keeps its words, and others name options."
    (room/"text").mkdir()
    errors = {UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"): "can't decode byte 0xff", FileNotFoundError(2, "No such file", "tok.json"): "tok.json: there is",
              ValueError("max_bytes=-3: give more"): "--max-bytes -3: give more"}
    for e, words in errors.items():
        def fail(*args, **kwargs): raise e
        monkeypatch.setattr("regmix.corpora.open_corpus", fail)
        told, _ = ask("sample text --out m2.csv --json", 2)
        assert words in told["error"]


def test_fit_says_what_a_word_without_an_option_was_taken_for(room):
    for line in ("fit m.csv", "fit m.csv l.csv", "fit m.csv l.csv --target val_loss --out f"):
        told, _ = ask(f"{line} --json", 2)
        meant = shlex.split(told["error"].partition("write: regmix ")[2])
        assert meant[:1] == ["fit"] and meant.count("--out") == 1 and "--json" in meant
    told, _ = ask(shlex.join([w for w in meant if w != "--json"] + ["--law", "ridge", "--json"]))   # the line for two tables is the right one
    assert told["runs"] == 40
    assert "no file or folder of this name" in ask("fit zz --json", 2)[0]["error"]


def test_numbers_that_are_none_are_refused_and_options_without_effect_are_named(room):
    "Also where the runs are noise, and no law is asked."
    rng = np.random.default_rng(1)
    pd.read_csv("m.csv").assign(val_loss=rng.normal(3, 0.1, 40)).to_csv("noise.csv", index=False)
    ask("fit --mixtures noise.csv --losses noise.csv -t val_loss --law ridge --law 'own weight' --out noise --json")
    for given, words in {"--kl nan": "kl = nan", "--kl -1": "kl = -1", "--guard 0.1": "measured from a prior", "--max-epochs 2": "--max-epochs is for",
                         "--kl inf --prior tokens.json": "kl = inf"}.items():
        assert words in ask(f"propose noise --stability 0 {given} --json", 2)[0]["error"]
    _, err = ask("propose noise --stability 0 --prior tokens.json --kl 0.01 --worst --json")
    assert "note: --kl, --worst changed nothing" in err
    for much in ("nan", "0", "-1", "inf"):
        assert "give a number above 0" in ask(f"next --mixtures noise.csv --losses noise.csv -t val_loss --importance val_loss={much} --json", 2)[0]["error"]
    pd.DataFrame({"run": ["a", "b"], "web": [[1, 2], [3]], "loss": [1., 2.]}).to_parquet("list.parquet")
    assert "list.parquet: row 1" in ask("fit --mixtures list.parquet --losses list.parquet -t loss --out f3 --json", 2)[0]["error"]
    assert "more than a million runs" in ask("train m.csv installed --out s --repeats 1000000000 --json", 2)[0]["error"]


def text(room):
    rng = np.random.default_rng(0)
    words = ["tree", "river", "stone", "if", "else", "return", "cloud", "court", "judge", "law"]
    for d in ("web", "code"):
        (room/"text").mkdir(exist_ok=True)
        (room/"text"/f"{d}-0.jsonl").write_text("".join(json.dumps({"text": " ".join(rng.choice(words, 200))}) + "\n" for _ in range(120)))


def test_train_resumes_after_ctrl_c(room):
    text(room)
    ask('sample text --n 6 --out mix.csv --vocab-size 300 --max-bytes 100000')
    words = ["train", "mix.csv", "text", "--out", "swarm", "--vocab-size", "300", "--max-bytes", "100000", "--model", "80K", "--context", "32", "--batch", "4", "--eval-tokens", "64", "--jobs", "1"]
    child = subprocess.Popen([*REGMIX, *words, "--tokens", "5e6"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))   # a job in the background of a script would ignore it
    for _ in range(300):
        if (room/"swarm"/"groups").is_dir() and any((room/"swarm"/"groups").iterdir()): break
        time.sleep(0.1)
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    last = [l for l in err.splitlines() if l.startswith("regmix: ")][-1]
    assert child.returncode == 130, err[-3000:]
    assert not out and "what is finished is kept" in last and "the same command again" in last and "Traceback" not in err
    told, err = ask(shlex.join([*words, "--tokens", "512", "--quiet", "--json"]), 2)
    assert "holds another swarm" in told["error"]
    told, _ = ask(shlex.join([*words, "--tokens", "512", "--quiet", "--overwrite", "--json"]))
    assert told["runs"] == 6 and told["targets"] == ["code", "web"]
    assert ask(shlex.join([*words, "--tokens", "512", "--quiet", "--json"]))[0] == told      # nothing is left to do
    told, _ = ask("fit --swarm swarm --target web --law 'own weight' --out fit --json")
    assert told["runs"] == 6 and told["domains"] == ["code", "web"]
    twice = [w if w != "swarm" else "twice" for w in words]
    told, _ = ask(shlex.join([*twice, "--tokens", "512", "--repeats", "2", "--seed", "3", "--quiet", "--json"]))
    assert told["runs"] == 12 and json.loads(Path("twice/swarm.json").read_text())["seeds"] == [3] * 6 + [4] * 6
    assert {r.rpartition("-")[2] for r in pd.read_parquet("twice/mixtures.parquet")["run"]} == {"3", "4"}
    assert "give at least 1" in ask(shlex.join([*twice, "--repeats", "0", "--json"]), 2)[0]["error"]
