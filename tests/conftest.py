"""Shared fixtures. Tests that need the authors' logs skip, with a reason, where there are none."""
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def authors() -> Path:
    "The verified folder of the authors' eight CSV files, or a skip."
    from regmix.paper import AuthorsLogsMissing, authors_dir
    try: return authors_dir()
    except AuthorsLogsMissing as e: pytest.skip(str(e))
