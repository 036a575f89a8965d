"""The rules of the notebooks: exports in sync, notebooks clean, ids and tags kept, directives spelled right."""
import ast
import filecmp
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
NBS = ROOT/"nbs"
CHAPTERS = sorted(NBS.glob("[0-9]*.ipynb"))
EXHIBITS = sorted((NBS/"exhibits").glob("*.ipynb")) + sorted((NBS/"beyond").glob("*.ipynb"))
RUNNABLE = sorted((NBS/"stages").glob("*.ipynb")) + EXHIBITS
WALKS = sorted((NBS/"walkthrough").glob("*.ipynb"))
ALL = sorted(p for p in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)   # Jupyter leaves those
DIRECTIVES = {"default_exp", "export", "exporti", "exports", "hide", "eval:", "slow", "echo:", "fig-alt:", "hide_line"}


def cells(path, kind=None):
    return [c for c in nbformat.read(path, 4).cells if kind in (None, c.cell_type)]


def name(path): return str(path.relative_to(NBS))


def default_exp(path):
    found = [m.group(1) for c in cells(path, "code") for m in [re.search(r"^#\|\s*default_exp\s+(\S+)", c.source, re.M)] if m]
    return found[0] if found else None


@pytest.mark.parametrize("path", ALL, ids=name)
def test_format(path):
    nb = nbformat.read(path, 4)
    nbformat.validate(nb)
    assert (nb.nbformat, nb.nbformat_minor) >= (4, 5), "cells need ids: nbformat 4.5"
    ids = [c.id for c in nb.cells]
    assert len(ids) == len(set(ids))
    assert nb.metadata.kernelspec.name == "python3"
    slides = {"slideshow"} if path.parent.name == "sessions" else set()
    assert all(set(c.metadata) <= {"tags"} | slides for c in nb.cells)
    assert path.read_text().count("\n") > 20, "written as one line: use nbformat.write"


@pytest.mark.parametrize("path", ALL, ids=name)
def test_directives(path):
    for c in cells(path, "code"):
        body = False
        for line in c.source.splitlines():
            if line.startswith("#|"):
                word = line[2:].split()[0]
                assert word in DIRECTIVES, f"unknown directive {line!r}"
                assert not body, f"{line!r} stands below code, where nbdev does not see it"
            elif line.strip(): body = True


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_chapter(path):
    first = cells(path)[0]
    assert re.match(r"# .+\n\n> .+", first.source), "a chapter begins with '# Title' and '> subtitle'"
    assert default_exp(path), "a chapter exports a module"
    for c in cells(path, "code"):
        assert not re.search(r"^from \S+ import \*", c.source, re.M), "import names, not *"


@functools.cache
def sources(path):
    "The source of a module, or of each cell of a notebook."
    return [c.source for c in cells(path)] if path.suffix == ".ipynb" else path.read_text()


@functools.cache
def signature_lines(source):
    "The numbers of the lines that belong to a function's signature, where each argument has its comment."
    tree = ast.parse(source)
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {i for f in functions for i in range(f.lineno, f.body[0].lineno)}


def may_be_wide(source, row):
    "A signature with its comments, the names that nbdev exports, and the first line of a module, which is a subtitle."
    line = source.splitlines()[row - 1]
    return row in signature_lines(source) or line.startswith("__all__") or row == 1 and line.startswith('"""')


def test_lines_and_names():
    "120 columns a line, signatures with their comments excepted; no import and no name that nobody uses."
    found = subprocess.run([Path(sys.executable).parent/"ruff", "check", "--isolated", "--select", "E501,F401,F811,F821,F841", "--line-length", "120",
                            "--output-format", "json", "regmix", "nbs", "tests"], cwd=ROOT, capture_output=True, text=True)
    wrong = []
    for f in json.loads(found.stdout):
        path, row, cell = Path(f["filename"]), f["location"]["row"], f.get("cell")
        if path.name == "_modidx.py": continue
        source = sources(path)[cell - 1] if cell else sources(path)
        if f["code"] == "E501" and (path.parent.name == "tests" or may_be_wide(source, row)): continue
        wrong.append(f"{path.relative_to(ROOT)}{f':cell {cell}' if cell else ''}:{row}: {f['message']}")
    assert not wrong, "\n".join(wrong[:40])


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_no_module_takes_private_names_of_another(path):
    for c in cells(path, "code"):
        if not c.source.startswith("#| export"): continue
        for node in ast.walk(ast.parse(c.source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("regmix"):
                private = [a.name for a in node.names if a.name.startswith("_") and not a.name.startswith("__")]
                assert not private, f"{path.name}: {', '.join(private)} of {node.module}"


def test_one_notebook_a_module_and_back():
    exports = [default_exp(p) for p in ALL if default_exp(p)]
    assert len(exports) == len(set(exports)), "two notebooks export to one module"
    modules = {p.stem for p in (ROOT/"regmix").glob("*.py")} - {"__init__", "_modidx"}
    assert modules == set(exports), "a module without a notebook, or the other way round"


@pytest.mark.parametrize("path", RUNNABLE, ids=name)
def test_runnable(path):
    from regmix.runner import parameters
    found = parameters(path)
    assert found, "no parameters"
    tagged = [c for c in cells(path, "code") if "parameters" in c.metadata.get("tags", [])][0]
    for line in tagged.source.splitlines():
        assert not line.strip() or "#" in line, f"a comment for each parameter: {line!r}"
    rest = "\n".join(c.source for c in cells(path, "code") if c is not tagged and c.source != tagged.source)
    for p in found: assert re.search(rf"\b{p}\b", rest), f"parameter {p!r} is never used"
    assert not any(isinstance(n, ast.ClassDef) for n in ast.walk(ast.parse(rest)))
    assert len(cells(path)) <= 25
    assert not any(c.get("outputs") for c in cells(path, "code")), "stages and exhibits are committed without outputs"


@pytest.mark.parametrize("path", [NBS/"walkthrough/your_corpus.ipynb"], ids=name)
def test_walk(path):
    "A walk-through: parameters like a stage, pictures like a chapter, and for each step the line that does the same in a shell."
    from regmix.runner import parameters
    found, code = parameters(path), cells(path, "code")
    tagged = [c for c in code if "parameters" in c.metadata.get("tags", [])][0]
    for line in tagged.source.splitlines(): assert "#" in line, f"a comment for each parameter: {line!r}"
    rest = "\n".join(c.source for c in code if c is not tagged)
    for p in found: assert re.search(rf"\b{p}\b", rest), f"parameter {p!r} is never used"
    assert re.match(r"# .+\n\n> .+", cells(path)[0].source) and len(cells(path)) <= 45
    assert not any(isinstance(n, ast.ClassDef | ast.FunctionDef) for n in ast.walk(ast.parse(rest))), "what is worth a name belongs into a chapter"
    for command in ("sample", "train", "fit", "propose", "export", "report"): assert re.search(rf"\$ regmix {command} ", rest), f"say how to {command} from a shell"
    assert all(c.get("outputs") for c in code[2:]), "it is read as it was run: store its outputs"
    assert not any("injected-parameters" in c.metadata.get("tags", []) for c in code)
    assert path.stat().st_size < 600_000, "small pictures"


def verdicts_by_hand(code):
    "List the verdicts that code writes down itself, plain or as branches of a choice."
    found, tree = [], list(ast.walk(ast.parse(code)))
    given = [k.value for n in tree if isinstance(n, ast.Call) for k in n.keywords if k.arg == "verdict"]
    given += [n.value for n in tree if isinstance(n, ast.Assign) and "verdict" in ast.unparse(n.targets[0])]
    while given:
        v = given.pop()
        if isinstance(v, ast.IfExp): given += [v.body, v.orelse]
        elif isinstance(v, ast.Constant) and v.value is not None: found.append(v.value)
    return found


def test_verdicts_by_hand_are_found():
    by_hand = ["rows.add('a', 1, verdict='close')", "verdict = 'close' if x > 0 else 'differs'", "add(verdict=None if known else 'match')"]
    assert [len(verdicts_by_hand(code)) for code in by_hand] == [1, 2, 1]
    assert not verdicts_by_hand("verdict = judge_words(x, above=0, holds='match')\nrows.add('a', verdict=verdict)")


@pytest.mark.parametrize("path", EXHIBITS, ids=name)
def test_exhibit(path):
    first = cells(path)[0].source
    title = r"Table \d|Figure \d|Appendix \w" if path.parent.name == "exhibits" else path.stem.split("_")[0].capitalize()
    assert re.match(rf"# ({title})", first) and "\n> " in first
    code = "\n".join(c.source for c in cells(path, "code"))
    assert "assert " in code and "Rows(" in code and re.search(r"save_(figure|table)\(", code)
    assert not re.search(r"(?<!Ridge\(alpha=a\))\.fit\(|train_swarm", code), "an exhibit reads and draws; it fits nothing but a line"
    assert not verdicts_by_hand(code), "a verdict follows from a rule: judge, judge_words or weakest"
    if "save_figure(" in code: assert f"](../../figures/{path.stem}.png)" in first, "show the picture where the page begins"


def run(tool, cwd):
    env = {k: v for k, v in os.environ.items() if k != "IN_TEST"} | {"PYTHONPATH": str(cwd)}
    subprocess.run([str(Path(sys.executable).parent/tool)], cwd=cwd, env=env, check=True, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    "A copy of the project, exported and cleaned once more."
    copy = tmp_path_factory.mktemp("copy")/"regmix"
    copy.mkdir()
    for part in ("nbs", "regmix"): shutil.copytree(ROOT/part, copy/part, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for file in ("settings.ini", "pyproject.toml"): shutil.copy(ROOT/file, copy)
    run("nbdev_export", copy)
    run("nbdev_clean", copy)
    return copy


def test_export_changes_nothing(again):
    ours = {p.name for p in (ROOT/"regmix").glob("*.py")}
    theirs = {p.name for p in (again/"regmix").glob("*.py")}
    assert ours == theirs
    _, mismatch, errors = filecmp.cmpfiles(ROOT/"regmix", again/"regmix", sorted(ours), shallow=False)
    assert not mismatch and not errors, "run `make prep`: the notebooks and regmix/ differ"


@pytest.mark.parametrize("path", ALL, ids=name)
def test_clean_changes_nothing(path, again):
    assert (again/"nbs"/path.relative_to(NBS)).read_bytes() == path.read_bytes(), "run `make prep`"


@pytest.mark.parametrize("path", ALL, ids=name)
def test_no_machine_in_outputs(path):
    text = json.dumps([c.get("outputs", []) for c in cells(path, "code")])
    assert not re.search(r"/home/|/work/|/root/|/tmp/|/Users/", text)
    assert '"output_type": "error"' not in text


@pytest.mark.parametrize("path", CHAPTERS + WALKS, ids=name)
def test_pictures_are_on_the_page(path):
    for c in cells(path, "code"):
        if re.search(r"^plt\.show\(\)", c.source, re.M):
            assert any("image/png" in o.get("data", {}) for o in c.outputs), "run `make outputs`: a figure is not stored"
