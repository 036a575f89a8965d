"""The pipeline: the graph follows from the parameters; stages and exhibits run warm and alone; the ledger is whole."""
import ast
import importlib
import os
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from regmix.files import FIGURES, load_result
from regmix.ledger import (BEYOND, BEYOND_COLUMNS, COLUMNS, EXHIBITS, OTHER, TABLES, VERDICTS, Rows, by_source, cells_of, collect, judge,
                           paper_rows, summary)
from regmix.runner import LATE, Section, build, check_parameters, digests, fresh, graph, main, needs, run, sections
from regmix.swarms import AUTHORS, load_swarm

ROOT = Path(__file__).parent.parent
PARAMS = ROOT/"nbs/params/reproduce.yaml"
RUNS = sections(PARAMS)
MORE = sections(ROOT/"nbs/params/beyond.yaml")
quiet = [].append


@pytest.fixture(scope="module", autouse=True)
def warm():
    "What the runner imports, once, and not in each copy of this process."
    for name in LATE: importlib.import_module(name)


def stage(notebook, name, last="result.json", **given):
    kind = {"20": "fits", "25": "laws", "30": "simulations", "32": "proposals"}[notebook[:2]]
    return Section(name, ROOT/f"nbs/stages/{notebook}.ipynb", {"name": name, **given}, f"build/{kind}/{name}", last)


@pytest.fixture
def toy(tmp_path):
    "A function that makes a section of a notebook with the code given."
    def make(code, name="toy", params="recipe = 'guess'  # a name", **given):
        nb = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}})
        nb.cells = [nbformat.v4.new_code_cell(params, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(code)]
        (tmp_path/"stages").mkdir(exist_ok=True)
        nbformat.write(nb, tmp_path/f"stages/{name}.ipynb")
        return Section(name, tmp_path/f"stages/{name}.ipynb", given, str(tmp_path), f"{name}.txt")
    return make


@pytest.mark.parametrize("name", [*RUNS, *MORE])
def test_every_section_fits_its_notebook(name):
    section = (RUNS | MORE)[name]
    check_parameters(section.notebook, section.given)


def test_each_notebook_of_an_exhibit_is_one():
    for runs, folder in ((RUNS, "exhibits"), (MORE, "beyond")):
        stems = {p.stem for p in (ROOT/"nbs"/folder).glob("*.ipynb")}
        assert stems == {n for n, s in runs.items() if s.notebook.parent.name == folder}
    assert not set(RUNS) & set(MORE)


def test_the_graph_follows_from_the_parameters():
    "Whatever a section names is needed by it; what stands behind a fit or a search is found; there is no cycle."
    assert needs(RUNS["smoke_search"], RUNS) == {"smoke_ridge"}
    assert needs(RUNS["smoke_ridge"], RUNS) == {"smoke", "smoke_unseen"}
    assert needs(RUNS["figure_14"], RUNS) == {"top_512_1m", "top_256_1m", "top_256_60m"}
    assert set(graph(["figure_14"], RUNS)) == {"figure_14", "top_512_1m", "top_256_1m", "top_256_60m",
                                               "lightgbm_512", "lightgbm_256_1m", "lightgbm_256_60m"}
    assert needs(MORE["laws"], MORE) == {"panel"} and needs(MORE["optima_ours"], MORE) == {"ours_proposals"}
    targets = sections(ROOT/"nbs/params/targets-cpu.yaml")
    assert {"ours_text"} <= needs(targets["targets"], RUNS | MORE | targets)
    assert {"ours_transitions", "ours_horizons"} <= needs(targets["targets_schedules"], RUNS | MORE | targets)
    assert {"targets", "targets_others"} == needs(targets["targets_scores"], RUNS | MORE | targets)
    for runs in (RUNS, MORE): digests(graph(runs, runs), runs)


def opens_results():
    "The names of the functions that open a result: `load_result`, and what calls it in the chapter of the exhibits."
    tree = ast.parse((ROOT/"regmix/analysis.py").read_text())
    functions = [f for f in tree.body if isinstance(f, ast.FunctionDef)]
    return ["load_result", *(f.name for f in functions if "load_result(" in ast.unparse(f))]


def test_every_result_that_an_exhibit_opens_is_in_its_parameters():
    "Else the runner could not know that it needs it."
    opens = rf"\b({'|'.join(opens_results())})\("
    for name, section in (RUNS | MORE).items():
        if section.notebook.parent.name == "stages": continue
        code = "\n".join(c.source for c in nbformat.read(section.notebook, 4).cells if c.cell_type == "code")
        assert bool(needs(section, RUNS | MORE)) == bool(re.search(opens, code)), name
        assert not re.search(opens + r"[^)]*['\"]\)", code), f"{name}: the name of a result belongs to the parameters"


def test_unknown_section_and_parameter_are_refused(toy):
    with pytest.raises(ValueError, match="no section 'table_99'"): main(["table_99"])
    with pytest.raises(ValueError, match="no parameter 'proxies'; it has name, swarm"):
        run(stage("20_fit_regression", "x", proxies=3))


def test_a_failing_notebook_leaves_the_old_result(toy, tmp_path):
    section = toy("raise ValueError(f'{recipe=}')")
    section.result.write_text("old")
    found = run(section)
    assert found.state == "failed" and "recipe='guess'" in found.why
    assert section.result.read_text() == "old"
    assert "recipe='guess'" in section.log.read_text(), "the page up to there is kept"


@pytest.mark.parametrize("end", ["raise KeyboardInterrupt", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
                                 "import os; os._exit(3)", "raise SystemExit(2)", "raise MemoryError"])
def test_a_fault_ends_one_notebook_and_no_other(toy, end):
    write = "open({!r}, 'w').write('x')"
    known = {n: toy(code, n, f"before = {before!r}  # a name") for n, before, code in (
        ("a", "", end), ("b", "a", "pass"), ("c", "", "pass"))}
    known = {n: toy(write.format(str(s.result)) if n != "a" else end, n, f"before = {'a' if n == 'b' else ''!r}  # a name")
             for n, s in known.items()}
    found = build(list(known), known, 2, quiet)
    assert {n: o.state for n, o in found.items()} == {"a": "failed", "b": "blocked", "c": "ran"}


def test_what_was_drawn_is_part_of_a_result(toy, tmp_path, monkeypatch):
    "A picture that was deleted or changed is drawn again."
    picture = FIGURES/"pytest_toy.txt"
    section = toy(f"from regmix.files import write_file\nwrite_file({str(picture)!r}, 'drawn')\nwrite_file({str(tmp_path/'toy.txt')!r}, '1')")
    try:
        assert [run(section).state, run(section).state] == ["ran", "kept"]
        picture.write_text("changed")
        assert run(section).state == "ran" and picture.read_text() == "drawn"
        picture.unlink()
        assert run(section).state == "ran" and picture.read_text() == "drawn"
    finally: picture.unlink(missing_ok=True)


@pytest.fixture
def whole(toy, tmp_path):
    "A result of several files in a folder of its own, made by a run."
    folder = tmp_path/"result"
    code = f"from pathlib import Path\nfolder = Path({str(folder)!r})\n(folder/'part').mkdir(parents=True, exist_ok=True)\n"
    code += "for name in ('table.parquet', 'part/0.parquet', 'result.json'): (folder/name).write_text('{\"whole\": true}')"
    section = replace(toy(code), home=str(folder), last="result.json")
    assert [run(section, "now").state, run(section, "now").state] == ["ran", "kept"]
    return section


DAMAGE = {"deleted": Path.unlink, "emptied": lambda p: p.write_bytes(b""), "cut": lambda p: p.write_bytes(p.read_bytes()[:p.stat().st_size // 2]),
          "flipped": lambda p: p.write_bytes(bytes([p.read_bytes()[0] ^ 1]) + p.read_bytes()[1:])}


def test_a_damaged_result_is_not_fresh(whole):
    "Whatever happened to whichever file of a result, or to its mark, it is made again."
    folder = whole.result.parent
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert {p.name for p in files} == {"table.parquet", "0.parquet", "result.json", "result.digest"}
    for path in files:
        kept = path.read_bytes()
        for how, damage in DAMAGE.items():
            damage(path)
            assert not fresh(whole, "now"), f"{path.name}, {how}"
            path.write_bytes(kept)
        assert fresh(whole, "now")
    for mark in ("[]", '{"digest": "now"}', '{"digest": "now", "wrote": {}}', '{"digest": "now", "wrote": null}'):
        whole.result.with_suffix(".digest").write_text(mark)
        assert not fresh(whole, "now"), mark
    (folder/"table.parquet").unlink()
    assert run(whole, "now").state == "ran" and fresh(whole, "now")
    (folder/"note.txt").write_text("of somebody")   # what the run did not write is nobody's business
    assert fresh(whole, "now")


def test_a_skip_that_cannot_be_written_leaves_the_old_rows(toy, monkeypatch):
    "The old part goes when the note that takes its place is there, and not before."
    from regmix import runner
    section = toy("pass")
    section.result.write_text("old rows")
    def full(path, data): raise OSError(28, "No space left on device", str(path))
    monkeypatch.setattr(runner, "write_file", full)
    with pytest.raises(OSError): runner._settle(section, runner.Outcome("skipped", "no logs"), "now")
    assert section.result.read_text() == "old rows"
    monkeypatch.undo()
    runner._settle(section, runner.Outcome("skipped", "no logs"), "now")
    assert not section.result.exists() and "no logs" in section.result.with_suffix(".skipped").read_text()


def test_exhibits_that_run_alone_say_which_table_lacks_their_rows(monkeypatch, capsys):
    from regmix import runner
    for page, known in (("reproduce", RUNS), ("beyond", MORE)):
        name = next(n for n, s in known.items() if not s.own_folder)
        for state, said in (("ran", f"{TABLES[page]} is as it was; `make {page}` puts in the rows of {name}\n"), ("kept", "")):
            monkeypatch.setattr(runner, "build", lambda names, *rest: {n: runner.Outcome(state) for n in names})
            assert main([name]) == 0
            assert capsys.readouterr().out.partition(f"{int(state == 'ran')} ran, 1 in all")[0] == said


@pytest.mark.parametrize("error, status, line", [(OSError(28, "No space left on device", "build/x"), 1, "build/x: No space left on device"), (KeyboardInterrupt(), 130, "stopped; what is finished is kept"),
                                                 (KeyError("zz"), 70, "KeyError: 'zz'. This is a fault of regmix; run again with --traceback to see where")])
def test_what_goes_wrong_in_the_runner_is_one_line(monkeypatch, capsys, error, status, line):
    from regmix import runner
    from regmix.shell import run_main
    def fails(*args): raise error
    monkeypatch.setattr(runner, "build", fails)
    assert run_main(lambda: main(["table_02"]), "regmix.runner") == status
    assert capsys.readouterr().err == f"regmix.runner: {line}\n"


def test_warm_is_the_same_as_a_fresh_kernel(name="table_01_ours"):
    "The same bytes of pictures, tables and rows, whichever way a notebook is executed."
    section = RUNS[name]
    drawn = lambda: {p.name: p.read_bytes() for p in [*FIGURES.glob(f"{name}.*"), section.result]}
    assert run(section, now="warm").state in ("ran", "kept")
    warm = drawn()
    for p in warm: assert warm[p]
    assert run(section, now="fresh kernel", warm=False).state == "ran"
    assert drawn() == warm and {p.partition(".")[2] for p in warm} == {"pdf", "png", "csv", "md"}


def test_killed_at_random_and_called_again(toy, processes, tmp_path):
    "kill -9 of the runner at any time: its notebooks die with it, and the next call ends with the same bytes."
    code = "import time\ntime.sleep({})\nopen({!r}, 'w').write({!r})"
    known = {}
    for i in range(4):
        known[f"n{i}"] = toy(code.format(0.1 * (i + 1), str(tmp_path/f"n{i}.txt"), f"{i}"), f"n{i}", f"before = {f'n{i-1}' if i else ''!r}  # a name")
    for there in ("stages", "n0.txt", "n1.txt"):   # at once, and in the middle of the second and of the third
        process = processes.Process(target=build, args=(list(known), known, 2, quiet))
        process.start()
        end = time.monotonic() + 60
        while not (tmp_path/there).exists() and time.monotonic() < end: time.sleep(0.01)
        process.kill()
        process.join()
    assert not (tmp_path/"n3.txt").exists(), "killed too late to show anything"
    found = build(list(known), known, 2, quiet)
    assert {o.state for o in found.values()} <= {"ran", "kept"}
    assert [(tmp_path/f"n{i}.txt").read_text() for i in range(4)] == ["0", "1", "2", "3"]


def test_stages_end_to_end(authors):
    "Stage 20 and stage 30 at smoke size: real logs, real fits, files as promised."
    known = {"pytest_fit": stage("20_fit_regression", "pytest_fit", estimator="lightgbm", n_proxies=0),
             "pytest_search": stage("30_simulate_mixtures", "pytest_search", fit="pytest_fit")}
    found = build(["pytest_search"], known, 1, quiet)
    assert {o.state for o in found.values()} <= {"ran", "kept"}, found
    metrics = load_result("fits", "pytest_fit").table("metrics").set_index("metric")
    assert metrics.loc["rho", "value"] > 0.98 and (metrics["low"] <= metrics["value"]).all()
    mixture = load_result("simulations", "pytest_search").table("mixture").set_index("domain")["weight"]
    assert abs(mixture.sum() - 1) < 1e-9 and mixture.idxmax() == "pile_cc"


def test_laws_and_proposals_end_to_end():
    "Stage 25 and stage 32 at smoke size, on our own proxies."
    laws = stage("25_compare_laws", "pytest_laws", swarm="replication/main", tests=["replication/main_unseen"])
    assert run(laws).state in ("ran", "kept")
    found = load_result("laws", "pytest_laws").table("predictions")
    rho = found[found["size"] == 256].groupby("law")[["true", "predicted"]].corr("spearman")["true"].xs("predicted", level=1)
    assert rho["log-linear"] > rho["ridge"] > rho["own weight"] > 0.3
    assert run(stage("32_propose_mixtures", "pytest_proposals", swarm="replication/main", resamples=2, points=3)).state in ("ran", "kept")
    mixtures = load_result("proposals", "pytest_proposals").table("mixtures").drop(columns=["law", "aim", "asked"])
    assert len(mixtures) == 2 * 2 * 2 + 2 + 2 and np.allclose(mixtures.sum(axis=1), 1, atol=1e-6) and (mixtures >= 0).all(axis=None)


def test_logs_missing_is_a_skip_and_not_a_crash(toy, monkeypatch):
    import regmix.paper as paper
    if (paper.DATA/"authors").exists(): pytest.skip("the authors' logs are in data/authors")
    monkeypatch.delenv("REGMIX_AUTHORS_DIR", raising=False)
    section = toy("from regmix.paper import authors_dir\nauthors_dir()")
    found = run(section)
    assert found.state == "skipped" and "make data" in found.why
    assert "make data" in section.result.with_suffix(".skipped").read_text()


def test_the_ledger_names_every_exhibit_and_loses_no_number(tmp_path):
    ledger = collect(tmp_path)
    assert list(ledger.columns) == COLUMNS
    elsewhere = {"Figure 3", "Figure 11", "Figure 12", "Figure 13"}   # no claim, or one that is judged at Figure 10
    assert set(EXHIBITS) - set(ledger["exhibit"]) == elsewhere and len(ledger) == len(paper_rows())
    assert (ledger["verdict"] == "out of reach").all() and (ledger["note"] != "").all()


def test_committed_ledger():
    ledger = pd.read_csv(ROOT/"figures/ledger.csv", dtype=str, keep_default_na=False)
    assert list(ledger.columns) == COLUMNS and set(ledger["verdict"]) <= set(VERDICTS)
    assert set(EXHIBITS) <= set(ledger["exhibit"]) and not set(BEYOND) & set(ledger["exhibit"])
    key = ["exhibit", "quantity"]
    assert not ledger.duplicated([*key, "source"]).any()
    missing = paper_rows().merge(ledger, on=key, how="left", indicator=True).query("_merge == 'left_only'")
    assert missing.empty
    assert (ledger.query("verdict == 'differs'")["note"] != "").all()
    assert (ledger.query("verdict == 'out of reach'")["ours"] == "").all()
    open_rows = ledger.query("verdict == 'out of reach'")
    assert not [k for k in zip(open_rows["exhibit"], open_rows["quantity"]) if cells_of(*k)] and len(open_rows) < 15
    assert (ledger.query("verdict != 'out of reach'")["ours"] != "").all()
    assert set(ledger.query("ours != ''")["source"]) <= {"authors", "replication", "published"}
    alone = ledger.query("verdict == 'ours alone'").merge(paper_rows(), on=key, how="inner")
    assert alone.empty, "what the paper prints or claims is not ours alone"
    own = ledger.merge(paper_rows()[key], on=key, how="left", indicator=True).query("_merge == 'left_only' and verdict in ('match', 'close', 'differs')")
    own = own[~own["quantity"].str.contains(", if ")]   # another choice is judged as the row it stands beside
    assert own["note"].str.contains("Judged a(?:gainst|s)|should sum to one|its claim holds|The claim: ").all(), "nothing to be close to: say what it is judged against"


def test_committed_table_of_what_goes_beyond():
    beyond = pd.read_csv(ROOT/"figures/beyond.csv", dtype=str, keep_default_na=False)
    assert list(beyond.columns) == BEYOND_COLUMNS and set(beyond["exhibit"]) == set(BEYOND)
    assert not beyond.duplicated(["exhibit", "quantity", "source"]).any()
    assert (beyond.query("ours == ''")["note"] != "").all(), "a number that is missing has a note"


def test_swarms_of_the_authors(authors):
    sizes = {name: len(load_swarm(name)) for name in AUTHORS}
    assert list(sizes.values()) == [512, 256, 256, 64]


def test_rows_refuse_what_the_paper_does_not_have():
    with pytest.raises(ValueError, match="no quantity"): Rows("Table 2").add("LightGBM, rho, 3B", 1.0)
    with pytest.raises(ValueError, match="leave new= out"): Rows("Table 2").add("LightGBM, rho, 1M", 99.0, new=True)
    for new in (False, True):
        with pytest.raises(ValueError, match="is data .scores., which is counted in"): Rows("Table 4").add("RegMix, HellaSwag", 44.2, new=new)
        with pytest.raises(ValueError, match="is data .settings., which has no row"): Rows("Figure 2").add("models at 1B", 64, new=new)
    Rows("Table 4").add("RegMix, HellaSwag, ours", 44.2, new=True)
    with pytest.raises(ValueError, match="the paper claims this"): Rows("Figure 9").add("LightGBM over Linear", 9.0, verdict="ours alone")


def test_verdicts_of_what_has_no_printed_number():
    rows = Rows("Figure 9")
    rows.add("trees", 1000, new=True)
    rows.add("trees of another", new=True)
    rows.add("LightGBM over Linear", 9.0, verdict="close")
    rows.add("rho of LightGBM at 1M, squared", 98.1, new=True, verdict=judge("100", 98.1, 97.5, 98.6), note="Judged against 100.")
    assert rows.frame()["verdict"].to_list() == ["ours alone", "out of reach", "close", "differs"]


def test_an_interval_meets_what_a_printed_number_stands_for():
    assert judge("0.5", 0.40, 0.38, 0.46) == "inconclusive" and judge("0.5", 0.40, 0.38, 0.44) == "differs"
    assert judge("0.0", 0.004) == "match" and judge("0.0", 0.004, decimals=3) == "differs"
    assert judge("0.87", 0.868) == "match" and judge("0.87", 0.868, 0.856, 0.881, "weight", decimals=3) == "close"
    assert judge("0.87", 0.868, 0.682, 1.0, "weight", decimals=3) == "inconclusive"


def test_counts_by_source_lose_no_row(tmp_path):
    ledger = pd.read_csv(ROOT/"figures/ledger.csv", dtype=str, keep_default_na=False)
    for counts in (summary(ledger), by_source(ledger)):
        assert list(counts.columns[1:]) == [*VERDICTS, OTHER] and counts.iloc[:, 1:].to_numpy().sum() == len(ledger)


def test_the_gallery_names_the_rows_of_its_notes():
    page = (ROOT/"figures/README.md").read_text()
    notes = re.findall(r"^- (.*)$", page, re.M)
    assert notes and all(re.match(rf"\*({'|'.join(VERDICTS)})\*, \S", n) for n in notes)


@pytest.mark.parametrize("path", sorted((ROOT/"nbs/params").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_parameter_file_fits_its_notebooks(path):
    runs = sections(path)
    assert len({s.result for s in runs.values()}) == len(runs) > 0
    for s in runs.values():
        check_parameters(s.notebook, s.given)
        if not s.notebook.stem.startswith("35_"): continue
        for simulation in s.given["simulations"].values(): assert (runs | RUNS)[simulation].notebook.stem.startswith("30_")
        for schedule in s.given.get("schedules", {}).values(): assert MORE[schedule.partition(" ")[0]].notebook.stem.startswith("33_")


MAKEFILE = re.sub(r"^#.*\n", "", (ROOT/"Makefile").read_text(), flags=re.M)
TARGETS = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M)
EVIL = "it's \"a b\" ; touch ran; $(touch ran) `touch ran` $(shell touch ran) ${HOME} $$PATH $x\n& > ran | touch ran # * \\"


def given():
    "The variables of Make that somebody can set: those that the Makefile reads and does not set itself, or sets to a default."
    read = {a or b for a, b in re.findall(r"\$\(([A-Z]+)\)|\$\$\{?([A-Z]+)", MAKEFILE)}
    return read - {"MAKE"} - set(re.findall(r"^(?:export )?([A-Z]+) :?=", MAKEFILE, re.M))


def recipe(target):
    "What a target runs, with the lines that it calls."
    lines = re.search(rf"^{target}:.*\n((?:\t.*\n)*)", MAKEFILE, re.M)[1]
    each = re.search(r"^each = (.*\n(?:\t.*\n)*)", MAKEFILE, re.M)[1]
    return lines + (each if "call each" in lines else "")


def test_the_makefile_takes_every_value_as_data():
    assert given() == set(re.search(r"^GIVEN := (.*)", MAKEFILE, re.M)[1].split())
    for target in TARGETS:
        text = re.sub(r"\$\(if (\$\([A-Z]+\))+,", "", recipe(target))   # whether it was given may be asked
        assert not set(re.findall(r"\$\(([A-Z]+)\)", text)) & given(), f"{target}: a value would be read as a part of a command"


@pytest.fixture
def bench(tmp_path):
    "A copy of the Makefile in a folder of its own, and an environment that runs nothing and writes down what it was given."
    for name in ("Makefile", "pyproject.toml", "constraints.txt"): shutil.copy(ROOT/name, tmp_path)
    there = tmp_path/EVIL/"bin"
    there.mkdir(parents=True)
    for name in ("python", "jupyter", "nbdev_export", "nbdev_clean"):
        (there/name).write_text("#!/bin/sh\nprintf '%s\\0' \"$@\" >> record\n"
                                "if [ \"$2\" = venv ]; then mkdir -p .venv/bin; cp \"$0\" .venv/bin/python; fi\n")
        (there/name).chmod(0o755)
    return tmp_path, there


def make(folder, target, values, environment=False):
    "Run a target with values on the command line, or in the environment; return the words that reached Python."
    (folder/"build").mkdir(exist_ok=True)
    (folder/"build/index.md").write_text("")
    (folder/"record").write_text("")
    words = [] if environment else [f"{name}={value}" for name, value in values.items()]
    clean = {k: v for k, v in os.environ.items() if k not in given() | {"MAKEFLAGS", "MAKELEVEL"}} | (values if environment else {})
    found = subprocess.run(["make", "-s", target, *words], cwd=folder, env=clean, capture_output=True, text=True)
    assert found.returncode == 0, f"{target}: {found.stderr}"
    assert not list(folder.rglob("ran")), f"{target}: a value was run"
    return (folder/"record").read_text().split("\0")


@pytest.mark.parametrize("environment", [False, True], ids=["command line", "environment"])
@pytest.mark.parametrize("target", TARGETS)
def test_no_value_given_to_make_is_run(bench, target, environment):
    "Each variable of each target, with all that a shell or Make could read as more than a value: nothing runs, and it arrives whole."
    folder, there = bench
    values = {name: f"{name.lower()} {EVIL}" for name in given()} | {"PYTHON": str(there/"python"), "VENV": "" if target == "install" else str(there.parent)}
    words = make(folder, target, values, environment)
    for name in sorted(given() - {"PYTHON", "VENV"}):
        if not re.search(rf"\$\$\{{?{name}\b", recipe(target)): continue
        split = values[name].split()
        whole = any(values[name] in word for word in words)
        assert whole or any(words[i:i + len(split)] == split for i in range(len(words))), f"{target}: {name} did not arrive whole: {words}"
    assert len(words) > 1 or target in ("help", "clean"), f"{target} did not run the Python that it was given"


def test_paths_with_blanks_stay_whole(bench):
    folder, there = bench
    (folder/"my tasks").mkdir()
    words = make(folder, "evaluate", {"VENV": str(there.parent), "MODEL": "my model", "TASKS": "my tasks", "SHOTS": "0 5"})
    assert words[2:-1] == ["--shots", "0", "5", "--tasks", "my tasks", "--", "my model"]
    words = make(folder, "mine", {"VENV": str(there.parent), "TEXT": "my text/", "TARGETS": "law 'my code'", "SET": "n=64 domain_bytes=0"})
    assert words[2:-1] == ["nbs/walkthrough/your_corpus.ipynb", "--log", "build/walkthrough/my text.ipynb", "--set-text=text=my text/",
                           "--set-words=targets=law 'my code'", "--settings=n=64 domain_bytes=0"]
    assert make(folder, "mine", {"VENV": str(there.parent)})[4:-1] == ["build/walkthrough/installed.ipynb"]


def test_the_runner_reads_what_make_passes_on():
    from regmix.runner import _arguments
    args = _arguments(["nbs/walkthrough/your_corpus.ipynb", "--set-text=text=2024", "--set-words=targets=law 'my code'", "--settings=n=64 bounds='{web: [0.1, null]}'"])
    assert args.given == {"text": "2024", "targets": ["law", "my code"], "n": 64, "bounds": {"web": [0.1, None]}}
    assert _arguments(["--", "table_02 figure_03"]).names == ["table_02", "figure_03"] and _arguments(["--"]).names == []
    for argv, why in {("--set-text=n=1", "--set", "n=2"): "n is given twice", ("--settings=n='1",): "No closing quotation"}.items():
        with pytest.raises(ValueError, match=why): _arguments(list(argv))
