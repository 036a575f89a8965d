"""The way in: the tour, the guide, the glossary and the sessions keep their limits, and the tour runs on both sources."""
import ast
import importlib
import json
import re
from pathlib import Path

import nbformat
import pytest

from regmix.guide import TRACKS, minutes, read_chapters, reading_map, tracks_of
from toys import execute_page

ROOT = Path(__file__).parent.parent
NBS = ROOT/"nbs"
TOUR = NBS/"tour.ipynb"
SESSIONS = sorted((NBS/"sessions").glob("*.ipynb"))
SHOWN = [TOUR, *SESSIONS]
SLIDES = {"slide", "subslide", "fragment", "skip", "notes", "-"}


def cells(path, kind=None): return [c for c in nbformat.read(path, 4).cells if kind in (None, c.cell_type)]
def prose(path): return "\n\n".join(c.source for c in cells(path, "markdown"))
def name(path): return str(path.relative_to(NBS))



@pytest.mark.parametrize("path", SHOWN, ids=name)
def test_it_imports_and_shows(path):
    "No function is defined where things are only shown; each name that is imported is there; outputs are stored."
    code = cells(path, "code")
    assert len(cells(path)) <= (25 if path == TOUR else 30)
    assert re.match(r"# .+\n\n> .+", cells(path)[0].source)
    for node in ast.walk(ast.parse("\n".join(c.source for c in code))):
        assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda), "what is worth a name belongs into a chapter"
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, a.name) for a in node.names), node.module
    for c in code:
        if "plt.show()" in c.source:
            assert any("image/png" in o.get("data", {}) for o in c.outputs), "run the page, so that it shows its outputs"
            assert "assert " in c.source or "draw_method" in c.source, "what is shown is also asserted"
    assert path.stat().st_size < 600_000, "small pictures"


@pytest.mark.parametrize("path", SESSIONS, ids=name)
def test_a_session_can_be_taught(path):
    "A plan of ninety minutes, what to read before, questions with answers, an exercise of ten points, notes."
    text, every = prose(path), cells(path)
    assert all(c.metadata.get("slideshow", {}).get("slide_type") in SLIDES for c in every)
    assert sum(int(m) for m in re.findall(r"(?m)^\| (\d+) \|", text)) == 90
    assert "**To read before**" in text and text.count("*Answer*") >= 3
    assert "Misconceptions" in every[-1].source and every[-1].metadata["slideshow"]["slide_type"] == "notes"
    exercise = next(c.source for c in every if c.source.startswith("## Exercise"))
    times = [int(n) * (3 if "each of the targets" in rest else 1)
             for n, rest in re.findall(r"(?m)^- \*\*(\d+) points?\*\*(.*)$", exercise)]
    assert sum(times) == 10
    said = [o.get("text", "") for c in every if c.cell_type == "code" and c.source.startswith("points = 0") for o in c.outputs]
    assert said == ["not yet answered\n"], "the exercise is committed blank"


def test_the_tour_runs(tmp_path, processes):
    "With fewer candidates, on our own runs; what is stored on the page was run on the authors'."
    page, given = tmp_path/"tour.ipynb", dict(source="replication", n_candidates=20_000)
    walk = processes.Process(target=execute_page, args=(TOUR, page, given))
    walk.start()
    walk.join()
    assert walk.exitcode == 0
    for path, runs in ((page, 256), (TOUR, 512)):
        said = "\n".join(o.get("text", "") for c in cells(path, "code") for o in c.outputs if o.output_type == "stream")
        assert f"{runs} small models" in said and "RegMix ties with target only, best of random" in said


def test_each_chapter_is_on_the_map():
    chapters, table = read_chapters(), reading_map()
    assert [p.stem for p in sorted(NBS.glob("[0-9]*.ipynb"))] == list(chapters.index) and len(table) == len(chapters)
    assert all(tracks_of(stem) for stem in chapters.index)
    assert {n for _, numbers in TRACKS.values() for n in numbers.split()} <= {stem[:2] for stem in chapters.index}
    assert minutes(1500, 300) == 20 and table["minutes"].between(5, 90).all()


def test_words_are_defined_before_they_are_used():
    "The paper's chapter says what a swarm and Spearman's rho are where they first stand."
    text = prose(NBS/"00_paper.ipynb")
    for word, bold in {"swarm": "**swarm**", "Spearman": "**Spearman's rank correlation**"}.items():
        assert abs(text.index(bold) + 2 - text.index(word)) < 3, word


def test_the_glossary_is_in_use():
    "Its entries lead to chapters, and chapters lead to it; each is in lower case, as a link writes it, or a name."
    text = prose(NBS/"glossary.ipynb")
    terms = re.findall(r"(?m)^### (.+)$", text)
    assert len(terms) == len(set(terms)) > 40
    for entry in re.split(r"(?m)^### ", text)[1:]: assert len(entry.split("\n## ")[0].split()) < 60, entry.split("\n")[0]
    without = [p.stem for p in NBS.glob("[0-9]*.ipynb") if "(glossary.ipynb#" not in prose(p)]
    assert set(without) <= {"06_shell", "98_exercises"}   # what a shell is told has words of its own


def test_the_front_page_begins_with_the_tour():
    first = json.loads((NBS/"index.ipynb").read_text())["cells"][0]["source"]
    links = re.findall(r"!?\[[^\]]+\]\(([^)]+)\)", "".join(first))
    assert links[:2] == ["tour.ipynb", "../figures/method.png"] and (ROOT/"figures/method.png").is_file()
    readme = (ROOT/"README.md").read_text()
    assert re.search(r"\]\((nbs/[^)]+)\)", readme).group(1) == "nbs/tour.ipynb"
