"""What several files of tests share: the settings of a toy model, and cheap processes."""
import contextlib
import gc
import importlib
import multiprocessing
import os
import runpy
import sys
import time
import warnings

sys.modules.setdefault("rfc3987_syntax", None)   # as in conftest.py, for the server of processes below

from regmix.proxies import TrainConfig
from regmix.runner import LATE, _die_with_parent

CONFIG = TrainConfig(model="80K", tokens=24_000, context=32, batch=4, lr=3e-3, evals=3, eval_tokens=512)

# A server that is a copy of the process that collected the tests, and is copied for each process. It never computes anything itself.
PROCESSES = multiprocessing.get_context("forkserver")
IMPORTED = ["nbdev.test", "scipy.stats", "sklearn.linear_model", "sklearn.model_selection", "lightgbm", "distributed", "seaborn",
            "regmix.training", "regmix.laws", "regmix.forests", *LATE,
            "torch._dynamo"]   # the last: what every optimiser imports when it is made


def start_server():
    "Import what is slow to import, and start the server of PROCESSES as a copy of this process; it ends with this process."
    from multiprocessing import forkserver, resource_tracker, util
    for name in IMPORTED:
        with contextlib.suppress(ImportError): importlib.import_module(name)
    gc.collect()
    gc.freeze()   # what is there now is no garbage: neither this process nor a copy looks through it again
    def copied(python, words, passed):
        if pid := os.fork(): return pid
        try:
            _die_with_parent()
            os.environ["OMP_NUM_THREADS"] = "1"   # in all of them
            warnings.resetwarnings()              # to what a new Python has, and not what pytest was told
            for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning): warnings.simplefilter("ignore", kind)
            exec(words[-1], {})                   # what a new Python would be given after -c
        finally: os._exit(1)
    resource_tracker.ensure_running()
    start, util.spawnv_passfds = util.spawnv_passfds, copied
    try: forkserver.ensure_running()
    finally: util.spawnv_passfds = start


def train_at_once(*given, **options):
    "Do as `train_swarm` does, in a process that is there for it alone, and look often whether busy groups are free."
    from regmix.training import train_swarm
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 0.05))
    train_swarm(*given, **options)


def execute_page(*given):
    "Execute a notebook in a process that is there for it alone."
    from regmix.runner import execute
    os.environ["REGMIX_CORES"] = "1"   # two groups of toy models in this process, and not in workers that import all anew
    execute(*given)


def run_script(said, script, *argv):
    "Run a script as Python would, in a process that is there for it alone; `said` is the file for what it prints."
    sys.argv = [str(script), *map(str, argv)]
    with open(said, "w") as f, contextlib.redirect_stdout(f): runpy.run_path(str(script), run_name="__main__")


def run_module(said, environment, name, *argv):
    "Do as `python -m name` would, in a process that is there for it alone; `said` is the file for what it prints."
    os.environ.update(environment)
    sys.argv = [name, *map(str, argv)]
    sys.modules.pop(name, None)   # else runpy warns that it is there already
    with open(said, "w") as f, contextlib.redirect_stdout(f), contextlib.redirect_stderr(f): runpy.run_module(name, run_name="__main__", alter_sys=True)


def run_with_package(folder, code):
    "Run code that imports the package as it stands in `folder`, as the first import of a process that is there for it alone."
    for name in [n for n in sys.modules if n.partition(".")[0] == "regmix"]: del sys.modules[name]
    sys.path.insert(0, folder)
    exec(code, {"folder": folder})
