"""The exercises at the ends of the chapters: a blank stays open, a solution passes, a plausible wrong answer does not."""
import ast
import json
import re
import shutil

import pytest

from regmix import exercises
from regmix.exercises import (SOLUTIONS, Verdict, attempt, chapters, check_open, check_sealed, code_cells, exercises_in, main, seal_of,
                              solutions_in, split_blank, try_chapter, try_exercise)

CHAPTERS = chapters()
ASKED = {name: (path, cell) for path in CHAPTERS for name, cell in exercises_in(path).items()}


@pytest.fixture(scope="module")
def solved():
    return {name: pair for path in CHAPTERS for name, pair in solutions_in(SOLUTIONS/path.name).items()}


def test_every_chapter_ends_with_two_or_three():
    for path in CHAPTERS:
        names, number = list(exercises_in(path)), path.stem.split("_")[0]
        assert names == [f"{number}.{i + 1}" for i in range(len(names))] and 2 <= len(names) <= 3, (path.name, names)
    assert len(ASKED) == sum(len(exercises_in(p)) for p in CHAPTERS), "a name comes twice"


def test_every_exercise_has_a_solution_and_no_solution_is_left_over(solved):
    assert solved.keys() == ASKED.keys()
    assert {p.name for p in SOLUTIONS.glob("*.ipynb")} == {p.name for p in CHAPTERS}


@pytest.mark.parametrize("name", ASKED)
def test_blank_solution_and_wrong_answer(name, solved):
    path, cell = ASKED[name]
    tried = try_exercise(cell, *solved[name])
    assert tried["blank"] == "blank" and tried["solution"] == "right" and tried["wrong"] == "wrong", (name, tried)
    assert tried["seconds"] < 9, "blank, solution and wrong answer: three seconds each at most"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_question_learning_and_hint_stand_above_each_blank(path):
    cells = json.loads(path.read_text())["cells"]
    for name, cell in exercises_in(path).items():
        at = next(i for i, c in enumerate(cells) if "".join(c["source"]) == cell)
        above = "".join(cells[at - 1]["source"])
        assert above.startswith(f"**Exercise {name}: ") and "\n\n*You learn* " in above and "\n\n*Hint.* " in above, name
        if "'c'" in split_blank(cell)[1]: assert above.count("\n- `'") >= 3, f"{name}: its choices, one a line"


def test_a_chapter_holds_no_answer(solved):
    "Neither the solution's lines nor the sealed answer stand in the chapter's cell, and no chapter imports solutions."
    for name, (path, cell) in ASKED.items():
        before, blank, after = split_blank(cell)
        answer = solved[name][0][len(before):len(solved[name][0]) - len(after)].strip()
        assert answer and answer not in "\n".join(code_cells(path)), name
        assert not re.search(r"solutions", cell), name
        assert re.match(r"(answer = \.\.\.|def \w+\(.*\):.*\n    return \.\.\.)", blank), f"{name}: the blank is one of two kinds"
    assert not (SOLUTIONS/"__init__.py").exists()


def test_a_foreseen_mistake_is_not_the_answer(solved):
    "A hint's seal is never that of the right answer."
    for name, (_, cell) in ASKED.items():
        seals = re.findall(r"'([0-9a-f]{8})'", cell)
        assert len(seals) == len(set(seals)), name


@pytest.mark.parametrize("answer, state", [(0.08, "right"), (0.0803, "right"), (0.082, "wrong"), (float("nan"), "wrong"), ("0.08", "wrong"),
                                           (True, "wrong"), (None, "wrong"), ([0.08], "wrong"), (..., "blank")])
def test_a_sealed_number(answer, state):
    told = check_sealed("1.1", answer, seal_of("1.1", 0.08, 0.001), step=0.001)
    assert told.state == state and repr(told).startswith("Exercise 1.1: ")


@pytest.mark.parametrize("answer, state", [("b", "right"), (" B ", "right"), ("a", "wrong"), (2, "wrong"), ("", "wrong"), (..., "blank")])
def test_a_sealed_choice(answer, state):
    assert check_sealed("1.1", answer, seal_of("1.1", "b")).state == state


@pytest.mark.parametrize("answer, state, word", [
    (lambda x: 2 * x, "right", "right"), (lambda x: x, "wrong", "twice 3 is 6"), (lambda x: ..., "blank", "not yet answered"),
    (lambda x: None, "wrong", "twice 3 is 6"), (lambda: 6, "wrong", "TypeError"), (lambda x: x.no, "wrong", "AttributeError"), (..., "blank", "not yet")])
def test_an_open_check_says_what_should_hold(answer, state, word):
    told = check_open("1.1", answer, {"twice 3 is 6": lambda f: f(3) == 6})
    assert told.state == state and word in repr(told)


def test_a_cell_has_one_blank():
    with pytest.raises(ValueError, match="2 statements hold three dots"): split_blank("a = ...\nb = ...\n")
    with pytest.raises(ValueError, match="0 statements"): split_blank("a = 1\n")


@pytest.fixture
def book(tmp_path, monkeypatch):
    "A book of one chapter, to break."
    shutil.copytree(SOLUTIONS, tmp_path/"nbs/solutions", ignore=lambda _, names: [n for n in names if n != "98_exercises.ipynb"])
    shutil.copy(SOLUTIONS.parent/"98_exercises.ipynb", tmp_path/"nbs")
    monkeypatch.setattr(exercises, "ROOT", tmp_path)
    monkeypatch.setattr(exercises, "SOLUTIONS", tmp_path/"nbs/solutions")
    return tmp_path/"nbs"


def test_the_table(book, capsys):
    assert main([]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in out[1:3]] == [[f"98.{i}", "blank", "right", "wrong"] for i in (1, 2)]
    assert out[-1].startswith("each blank is open")


@pytest.mark.parametrize("old, new, why", [
    ("answer = next(", "answer = 'a'  # next(", "a solution that fails its check"),
    ("from statistics import mean, median", "from statistics import median, mean", "a solution to another question"),
    ("# Wrong: a guess.\\n", "# a guess.\\n", "no wrong answer")])
def test_the_table_says_what_is_broken(book, capsys, old, new, why):
    path = book/"solutions/98_exercises.ipynb"
    path.write_text(path.read_text().replace(old, new, 1))
    assert main(["98"]) == 1, why
    assert "1 exercise" in capsys.readouterr().out


def test_an_exercise_without_a_solution(book, capsys):
    path = book/"solutions/98_exercises.ipynb"
    path.write_text(path.read_text().replace("check_open('98.2'", "check_open('98.7'"))
    with pytest.raises(ValueError, match="98_exercises.ipynb: 98.2, 98.7: an exercise without a solution"): try_chapter(book/"98_exercises.ipynb")


def test_an_unknown_chapter(capsys):
    with pytest.raises(SystemExit) as e: main(["5O"])
    assert e.value.code == 2 and "no chapter '5O'; choose from 00" in capsys.readouterr().err


def test_attempt_shows_nothing(capsys):
    told = attempt("from regmix.exercises import Verdict\nprint('noise')\nVerdict('1.1', 'right', 'right.')")
    assert told == Verdict("1.1", "right", "right.") and not capsys.readouterr().out


# The sessions: what the exercise needs of the cells before it (by id), the solution of the lecturer's notes, and a poorer answer with its points.
SESSIONS = {
    "1_mixtures_and_proxies": ([], "settings = dict(strength=3)", "settings = {}", 0),
    "2_regression_and_simulation": ([], """from regmix.choice import compare_laws
my_law, my_rho = 'log-linear', compare_laws(*mine.xy('github'), laws=['log-linear'])[0]['rho'].item()""", "my_law, my_rho = 'lightgbm', 0.99", 2),
    "3_your_corpus_and_the_critique": (["93597b70", "ee65b712"], """pair = ('javascript', 'json')
mixture = propose(model, X, {t: 1.0 if t in pair else 1e-6 for t in losses}, prior=prior, available=available, tokens=1e7,
                  guard={t: 0.05 for t in losses if t not in pair}).mixture""", "mixture = prior", 5)}


def without_pictures(source):
    "The statements of a cell, but for those that draw."
    drawn = lambda node: isinstance(node, ast.With) or ast.unparse(node).startswith("plt.")
    return ast.unparse([node for node in ast.parse(source).body if not drawn(node)])


@pytest.mark.parametrize("name", SESSIONS)
def test_the_graded_exercise_of_a_session(name, capsys):
    "The solution that the notes give scores all ten points, the blank none, and a poorer answer what it is worth."
    needed, solution, poorer, worth = SESSIONS[name]
    cells = [c for c in json.loads((SOLUTIONS.parent/f"sessions/{name}.ipynb").read_text())["cells"] if c["cell_type"] == "code"]
    source = {c["id"]: "".join(c["source"]) for c in cells}
    first, *_, asked, graded = source
    space = {}
    for cell in (first, *needed, asked): exec(without_pictures(source[cell]), space)
    exec(source[graded], space)
    assert capsys.readouterr().out.splitlines()[-1] == "not yet answered"
    for answer, points in ((solution, 10), (poorer, worth)):
        exec(answer, space)
        exec(source[graded], space)
        assert capsys.readouterr().out.splitlines()[-1] == f"{points} of 10 points", answer
