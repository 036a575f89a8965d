"""Each chapter of the book runs from its first cell to its last, with all its assertions, in a process of its own."""
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SLOW = ["57_choice", "70_evaluation", "75_baselines", "78_schedules", "65_optima", "25_corpora", "45_training",
        "50_regression", "40_proxies"]


def rank(path): return SLOW.index(path.stem) if path.stem in SLOW else len(SLOW)


def execute(path):
    "Execute a chapter as `nbdev_test` does."
    from nbdev.test import test_nb
    return test_nb(path, skip_flags=["slow"], basepath=ROOT)[0]


PAGES = [*(ROOT/"nbs").glob("[0-9i]*.ipynb"), ROOT/"nbs/walkthrough/clusters.ipynb"]

@pytest.mark.parametrize("path", sorted(PAGES, key=rank), ids=lambda p: p.stem)
def test_chapter_runs(path, processes):
    pytest.importorskip("nbdev")
    with ProcessPoolExecutor(1, mp_context=processes, max_tasks_per_child=1) as pool: passed = pool.submit(execute, path).result()
    assert passed, f"the traceback stands in the captured output; alone: nbdev_test --path nbs/{path.name}"
