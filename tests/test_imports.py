"""A module brings along only what it needs at once: commands begin quickly, and bare machines can train."""
import json
import subprocess
import sys

import pytest

from regmix.files import ROOT

HEAVY = "torch transformers datasets tokenizers zstandard lm_eval lightgbm scipy sklearn sklearn.linear_model numba matplotlib papermill".split()
WITHOUT = {   # module: what is not imported with it
    "regmix": "torch lightgbm matplotlib sklearn numba papermill",
    "regmix.paper": "torch scipy sklearn matplotlib lightgbm numba papermill",
    "regmix.mixtures": "torch scipy sklearn lightgbm matplotlib numba papermill",
    "regmix.swarms": "torch lightgbm matplotlib numba papermill",
    "regmix.simulation": "torch numba lightgbm sklearn matplotlib papermill",
    "regmix.figures": "torch lightgbm matplotlib numba papermill",
    "regmix.ledger": "torch lightgbm matplotlib numba papermill",
    "regmix.runner": "torch lightgbm matplotlib numba papermill",
    "regmix.regression": "lightgbm matplotlib numba sklearn.linear_model",
    "regmix.corpora": "torch transformers datasets tokenizers zstandard matplotlib",
    "regmix.tasks": "torch lm_eval",
    "regmix.sizes": "torch lightgbm matplotlib numba papermill",
    "regmix.planning": "torch",
    "regmix.repetition": "torch lightgbm matplotlib numba papermill",
    "regmix.exercises": "torch scipy sklearn lightgbm matplotlib numba papermill",
    "regmix.claims": "torch sklearn lightgbm matplotlib numba papermill",
    "regmix.archive": "torch sklearn lightgbm matplotlib numba papermill",
    "regmix.recipes": "torch lightgbm matplotlib numba papermill",
}
IMPORT_EACH = """
import importlib, json, os, sys
import numpy, pandas   # what all may import, once for the copies below
heavy, found = json.loads(sys.argv[1]), {}
assert not set(heavy) & set(sys.modules)
for name in json.loads(sys.argv[2]):
    here, there = os.pipe()
    if not os.fork():
        importlib.import_module(name)
        os.write(there, json.dumps([m for m in heavy if m in sys.modules]).encode())
        os._exit(0)
    os.close(there)
    found[name] = json.loads(open(here).read() or '["an error"]')
    os.wait()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def imported():
    "What came with each module, in a process that had imported nothing else."
    call = [sys.executable, "-c", IMPORT_EACH, json.dumps(HEAVY), json.dumps(list(WITHOUT))]
    return json.loads(subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("module", WITHOUT)
def test_a_module_is_light_to_import(module, imported):
    assert set(WITHOUT[module].split()) <= set(HEAVY)
    assert "an error" not in imported[module] and not set(WITHOUT[module].split()) & set(imported[module])
