"""Shared fixtures. Tests that need the authors' logs skip, with a reason, where there are none."""
import sys
from pathlib import Path

sys.modules.setdefault("rfc3987_syntax", None)   # else jsonschema compiles 38 grammars of web addresses: two seconds a process

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def authors() -> Path:
    "The verified folder of the authors' eight CSV files, or a skip."
    from regmix.paper import AuthorsLogsMissing, authors_dir
    try: return authors_dir()
    except AuthorsLogsMissing as e: pytest.skip(str(e))


@pytest.fixture(scope="session")
def processes():
    "Starts processes that need not import anything: `processes.Process(target=...)`."
    from multiprocessing.forkserver import ensure_running
    from toys import PROCESSES
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")   # in all of them
        ensure_running()   # now, before a test changes the environment
    return PROCESSES


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
