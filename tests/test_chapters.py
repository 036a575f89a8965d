"""Each chapter of the book runs from its first cell to its last, with all its assertions, in a process of its own."""
import fcntl
import functools
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SLOW = ["70_evaluation", "65_optima", "75_baselines", "50_regression", "57_choice", "78_schedules", "45_training",
        "25_corpora", "55_laws", "85_report", "40_proxies", "68_tasks", "10_mixtures", "92_runner", "95_cli", "22_installed"]


def rank(path): return SLOW.index(path.stem) if path.stem in SLOW else len(SLOW)


def built_once(build, home):
    "Build the corpus that chapters practise on as `build` does, but only once; the next chapters get a copy."
    from regmix.corpora import load_corpus
    from regmix.files import digest_of
    from regmix.installed import practice_documents
    @functools.wraps(build)
    def copied(documents, folder, **options):
        if documents is not practice_documents: return build(documents, folder, **options)
        kept = home/digest_of(json.dumps(options, sort_keys=True))/Path(folder).name   # a corpus is named as its folder
        with open(home/"lock", "w") as f:
            fcntl.flock(f, fcntl.LOCK_EX)   # another chapter may be building it
            if not kept.is_dir(): build(documents, kept, **options)
        return load_corpus(shutil.copytree(kept, folder))
    return copied


def execute(path, home):
    "Execute a chapter as `nbdev_test` does."
    import nbdev.test
    import regmix.corpora
    nbdev.test.CaptureShell = functools.partial(nbdev.test.CaptureShell, mpl_format="png")   # at half the dots, as the runner draws
    regmix.corpora.build_corpus = built_once(regmix.corpora.build_corpus, home)
    return nbdev.test.test_nb(path, skip_flags=["slow"], basepath=ROOT)[0]


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    "A folder that all workers of this session share."
    here = tmp_path_factory.getbasetemp()
    folder = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here)/"practice"
    folder.mkdir(exist_ok=True)
    return folder


PAGES = [*(ROOT/"nbs").glob("[0-9i]*.ipynb"), ROOT/"nbs/walkthrough/clusters.ipynb"]

@pytest.mark.parametrize("path", sorted(PAGES, key=rank), ids=lambda p: p.stem)
def test_chapter_runs(path, home, processes):
    pytest.importorskip("nbdev")
    with ProcessPoolExecutor(1, mp_context=processes, max_tasks_per_child=1) as pool: passed = pool.submit(execute, path, home).result()
    assert passed, f"the traceback stands in the captured output; alone: nbdev_test --path nbs/{path.name}"
