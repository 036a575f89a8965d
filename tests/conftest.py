"""Shared fixtures. Tests that need the authors' logs skip, with a reason, where there are none."""
import gc
import os
import signal
import sys
from pathlib import Path

sys.modules.setdefault("rfc3987_syntax", None)   # else jsonschema compiles 38 grammars of web addresses: two seconds a process
os.fsync = lambda handle: None   # no test cuts the power; the disk is asked some thousand times, milliseconds each
os.environ.setdefault("REGMIX_CORES", "1")   # two workers keep both cores busy; more processes would only import all anew
gc.set_threshold(20_000, 20, 50)   # to look through all that is imported here takes a quarter of a second each time

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def authors() -> Path:
    "The verified folder of the authors' eight CSV files, or a skip."
    from regmix.paper import AuthorsLogsMissing, authors_dir
    try: return authors_dir()
    except AuthorsLogsMissing as e: pytest.skip(str(e))


def pytest_configure():
    "Let signals do here what they do in a terminal: a shell that starts this in the background has some of them ignored."
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN: signal.signal(number, handler)


LONG = "training walkthrough pipeline corpora baselines evaluation cli files simulation choice planning".split()


def pytest_collection_modifyitems(items):
    "Put the longest tests first in each half: two workers begin with a half each, and share at the end what is short."
    files = {}
    for test in items: files.setdefault(test.path.stem, []).append(test)
    long = [[page] for page in files.pop("test_chapters", [])]   # the longest first, too
    long += [files.pop(f"test_{name}") for name in LONG if f"test_{name}" in files]
    first, second, short = sum(long[::2], []), sum(long[1::2], []), sum(files.values(), [])
    middle = max(0, len(items) // 2 - len(first))
    items[:] = [*first, *short[:middle], *second, *short[middle:]]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    "Start the server of processes when the tests are collected and none has run."
    if not any("processes" in test.fixturenames for test in getattr(session, "items", [])): return
    from toys import start_server
    capture = session.config.pluginmanager.getplugin("capturemanager")
    capture.resume_global_capture()   # what its processes print belongs to the tests
    start_server()
    capture.suspend_global_capture()


@pytest.fixture(scope="session")
def processes():
    "Starts processes that need not import anything: `processes.Process(target=...)`."
    from toys import PROCESSES
    return PROCESSES


@pytest.fixture
def copied_workers(processes):
    "Let joblib's workers be such processes, too; gives a function that lists their numbers."
    from joblib.externals import loky
    from joblib.externals.loky.backend import context
    if loky.reusable_executor._executor: loky.get_reusable_executor().shutdown(kill_workers=True)
    context.set_start_method("forkserver", force=True)
    yield lambda: list(executor._processes) if (executor := loky.reusable_executor._executor) else []
    loky.get_reusable_executor().shutdown(kill_workers=True)
    context.set_start_method(None, force=True)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    "Three domains of made-up text that a small model can tell apart."
    from regmix.corpora import build_corpus
    from regmix.text import Document
    rng = np.random.default_rng(0)
    words = {"sea": "wave salt tide reef gull foam".split(), "sum": [str(i) for i in range(50)],
             "law": "whereas hereby party clause shall void".split()}
    docs = [Document(d, " ".join(rng.choice(w, 400)), f"{d}/{i}", None) for d, w in words.items() for i in range(40)]
    folder = tmp_path_factory.mktemp("corpora")/"toy"
    return build_corpus(lambda: iter(docs), folder, vocab_size=300, valid_fraction=0.2, progress=False)


@pytest.fixture(scope="session")
def mixtures():
    table = np.vstack([np.eye(3), np.random.default_rng(1).dirichlet([1, 1, 1], 5)])
    return pd.DataFrame(table, columns=["sea", "sum", "law"], index=[f"r{i}" for i in range(8)])
