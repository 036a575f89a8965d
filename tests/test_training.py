"""A swarm's folder: kill -9 and resume, shared folders, refusals, what a swarm says of itself."""
import dataclasses
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from regmix.corpora import build_corpus
import regmix.training as training
from regmix.cli import app
from regmix.files import Damaged
from regmix.proxies import Group, load_checkpoint, save_checkpoint
from regmix.swarms import load_swarm
from regmix.text import Document
from regmix.training import SwarmFolder, begin, define, export_run, gather, locked, train_group, train_swarm
from toys import CONFIG, run_module, run_script


# ---------------------------------------------------------------- kill and resume

CONFIG = dataclasses.replace(CONFIG, tokens=2_000)


def swarm_in_a_process(processes, mixtures, folder, corpus, **options):
    "Start train_swarm on `folder` in a process of its own."
    from toys import train_at_once
    options = dict(group=4, n_jobs=1, progress=False) | options
    process = processes.Process(target=train_at_once, args=(mixtures, str(corpus.folder), str(folder), CONFIG), kwargs=options)
    process.start()
    return process


def wait_until(true, seconds=60):
    "Ask again and again until something is true, at most so long."
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end: time.sleep(0.01)


def tables_of(folder): return {p.name: p.read_bytes() for p in (folder/"groups").glob("*.parquet")}


def checkpoints(folder): return {(p.name, p.stat().st_mtime_ns) for p in (folder/"groups").glob("*.ckpt")}


@pytest.fixture(scope="session")
def home(tmp_path_factory): return tmp_path_factory.mktemp("whole")/"toy"


@pytest.fixture(scope="session")
def whole(corpus, mixtures, home):
    "The swarm that was left alone."
    return train_swarm(mixtures, corpus, home, CONFIG, group=4, n_jobs=1, progress=False)


def test_kill_9_and_resume(corpus, mixtures, whole, home, processes, tmp_path):
    folder = tmp_path/"toy"
    for attempt in range(2):      # killed twice: in the middle of a group
        before = checkpoints(folder)
        process = swarm_in_a_process(processes, mixtures, folder, corpus, every=0)   # a checkpoint each step
        wait_until(lambda: checkpoints(folder) - before)
        process.kill()
        process.join()
    assert not (folder/"swarm.json").exists() and list((folder/"groups").glob("*.ckpt"))
    again = train_swarm(mixtures, corpus, folder, CONFIG, group=4, n_jobs=1, progress=False)
    pd.testing.assert_frame_equal(again.losses, whole.losses, check_exact=True)
    assert tables_of(folder) == tables_of(home) and not list((folder/"groups").glob("*.ckpt")) and not list((folder/"groups").glob(".*"))


def test_two_processes_share_one_folder(corpus, mixtures, whole, processes, tmp_path):
    folder = tmp_path/"toy"
    first = swarm_in_a_process(processes, mixtures, folder, corpus)
    wait_until(lambda: (folder/"definition.json").exists() or first.exitcode is not None)
    second = swarm_in_a_process(processes, mixtures, folder, corpus)
    first.join(), second.join()
    assert (first.exitcode, second.exitcode) == (0, 0)
    pd.testing.assert_frame_equal(load_swarm(folder).losses, whole.losses, check_exact=True)


def test_weights_are_kept_where_they_are_asked_for(corpus, mixtures, tmp_path):
    for keep in (False, True):
        train_swarm(mixtures.iloc[:2], corpus, tmp_path/f"{keep}", dataclasses.replace(CONFIG, tokens=500, evals=1), n_jobs=1, progress=False, keep=keep)
    assert not (tmp_path/"False/weights").exists()
    assert sorted(p.name for p in (tmp_path/"True/weights").iterdir()) == ["r0.pt", "r1.pt"]


def test_a_busy_group_is_left_alone(corpus, mixtures, tmp_path):
    import fcntl
    swarm = train_swarm(mixtures.iloc[:2], corpus, tmp_path/"toy", CONFIG, group=2, n_jobs=1, progress=False)
    stem = tmp_path/"toy/groups/00000"
    stem.with_suffix(".json").unlink()
    with open(stem.with_suffix(".lock"), "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        assert train_group(tmp_path/"toy", corpus.folder, 0) == "busy"
    assert train_group(tmp_path/"toy", corpus.folder, 0) == "done"
    pd.testing.assert_frame_equal(gather(tmp_path/"toy", corpus).losses, swarm.losses, check_exact=True)


def test_two_dask_workers_one_killed(corpus, mixtures, whole, processes, tmp_path):
    distributed = pytest.importorskip("distributed")
    import dask
    import joblib
    import threading
    folder = tmp_path/"toy"
    copies = dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})   # of `processes`
    local = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with copies, distributed.LocalCluster(**local) as cluster, distributed.Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
        def kill_one():
            while not list((folder/"groups").glob("*.ckpt")): time.sleep(0.02)
            os.kill(pids[0], signal.SIGKILL)
        threading.Thread(target=kill_one, daemon=True).start()
        with joblib.parallel_config("dask", wait_for_workers_timeout=60):
            swarm = train_swarm(mixtures, corpus, folder, CONFIG, group=4, every=0, progress=False)
    assert sorted(p.name for p in (folder/"groups").glob("*.json")) == ["00000.json", "00001.json"]
    pd.testing.assert_frame_equal(swarm.losses, whole.losses, check_exact=True)     # nothing lost, nothing twice


def test_loky_workers_give_the_same_bits_as_one_though_one_is_killed(corpus, mixtures, whole, copied_workers, tmp_path, monkeypatch):
    import threading
    folder, killed = tmp_path/"toy", []
    def kill_one():   # as soon as both are there: that they go on from checkpoints, workers of Dask show above
        wait_until(lambda: len(copied_workers()) == 2)
        os.kill(copied_workers()[0], signal.SIGKILL)
        killed.append(True)
    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    monkeypatch.setattr(training, "_caller", lambda: None)   # these are no children of this process
    swarm = train_swarm(mixtures, corpus, folder, CONFIG, group=4, n_jobs=2, every=0, progress=False)
    thread.join(60)
    assert killed
    pd.testing.assert_frame_equal(swarm.losses, whole.losses, check_exact=True)


def test_workers_of_loky_are_children_of_who_calls():
    "So they end with it, and whoever is no child ends at once."
    from joblib import Parallel, delayed
    assert set(Parallel(n_jobs=2)(delayed(os.getppid)() for _ in range(4))) == {training._caller()} == {os.getpid()}


# ---------------------------------------------------------------- what goes wrong

def test_a_broken_model_is_recorded_and_left_out(corpus, mixtures, tmp_path, monkeypatch):
    advance = Group.advance
    def poisoned(self, batch):
        if self.step == 7 and "r1" in self.runs: self.weights["head"].data[self.runs.index("r1"), 0, 0] = float("nan")
        advance(self, batch)
    monkeypatch.setattr(Group, "advance", poisoned)
    swarm = train_swarm(mixtures, corpus, tmp_path/"toy", CONFIG, group=4, n_jobs=1, progress=False)
    assert swarm.meta["broken"] == [dict(run="r1", step=8, why="the training loss became nan")]
    assert "r1" not in swarm.final_losses().index and len(swarm.final_losses()) == 7
    X, y = swarm.xy("sea")
    assert len(X) == 7 and y.notna().all()


def test_a_model_that_breaks_in_the_last_step_is_recorded_too(corpus, mixtures, tmp_path, monkeypatch):
    import regmix.proxies as proxies
    clip, calls = proxies.clip_gradients, []
    def poisoned(weights, limit):
        calls.append(1)
        if len(calls) == CONFIG.steps: weights[0].grad[1] = float("nan")
        return clip(weights, limit)
    monkeypatch.setattr(proxies, "clip_gradients", poisoned)
    swarm = train_swarm(mixtures.iloc[:3], corpus, tmp_path/"toy", CONFIG, group=4, n_jobs=1, progress=False)
    assert [(b["run"], b["step"]) for b in swarm.meta["broken"]] == [("r1", CONFIG.steps)] and "is no number" in swarm.meta["broken"][0]["why"]
    assert list(swarm.final_losses().index) == ["r0", "r2"]


def test_when_all_models_break_one_is_named(corpus, mixtures, tmp_path, monkeypatch):
    advance = Group.advance
    def poisoned(self, batch):
        self.weights["head"].data[:] = float("nan")
        advance(self, batch)
    monkeypatch.setattr(Group, "advance", poisoned)
    with pytest.raises(ValueError, match=r"all 2 models broke, such as 'r0' \(the training loss became nan at step 1\): lower lr, now 0.003"):
        train_swarm(mixtures.iloc[:2], corpus, tmp_path/"toy", dataclasses.replace(CONFIG, tokens=500, evals=1), n_jobs=1, progress=False)


def test_when_all_groups_fail_the_cause_is_said(corpus, mixtures, tmp_path, monkeypatch):
    def failing(self, batch): raise MemoryError("no room")
    monkeypatch.setattr(Group, "advance", failing)
    with pytest.raises(RuntimeError, match=r"2 groups failed.*MemoryError: no room.*0 of 8"):
        train_swarm(mixtures, corpus, tmp_path/"toy", CONFIG, group=4, n_jobs=1, progress=False)


def test_many_may_gather_at_once(corpus, whole, home):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool: swarms = list(pool.map(lambda _: gather(home, corpus), range(24)))
    for s in swarms: pd.testing.assert_frame_equal(s.losses, whole.losses, check_exact=True)


def test_a_file_system_without_locks_is_said(corpus, mixtures, tmp_path, monkeypatch):
    import errno
    import fcntl
    def refuse(*a): raise OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="no file locks .*another path"): train_swarm(mixtures, corpus, tmp_path/"toy", CONFIG, n_jobs=1, progress=False)


def test_a_failing_group_does_not_lose_the_others(corpus, mixtures, whole, tmp_path, monkeypatch):
    advance = Group.advance
    def failing(self, batch):
        if self.step == 7 and "r5" in self.runs: raise MemoryError("no room")
        advance(self, batch)
    monkeypatch.setattr(Group, "advance", failing)
    with pytest.raises(RuntimeError, match=r"1 groups failed.*MemoryError: no room.*4 of 8.*call again"):
        train_swarm(mixtures, corpus, tmp_path/"toy", CONFIG, group=4, n_jobs=1, progress=False)
    assert not load_swarm(tmp_path/"toy").meta["complete"]
    monkeypatch.setattr(Group, "advance", advance)
    swarm = train_swarm(mixtures, corpus, tmp_path/"toy", CONFIG, group=4, n_jobs=1, progress=False)
    assert swarm.meta["complete"] and not list((tmp_path/"toy/groups").glob("*.error"))
    pd.testing.assert_frame_equal(swarm.losses, whole.losses, check_exact=True)


def test_another_definition_is_refused_and_nothing_changes(corpus, mixtures, whole, tmp_path):
    train_swarm(mixtures.iloc[:2], corpus, tmp_path/"toy", CONFIG, group=2, precision="float32", n_jobs=1, progress=False)
    def state(): return {p: p.read_bytes() for p in (tmp_path/"toy").rglob("*") if p.is_file()}
    before = state()
    for change, words in ((dict(config=dataclasses.replace(CONFIG, lr=1e-3)), "config.lr"), (dict(seeds=[1, 2]), "seeds"), (dict(group=1), "group"), (dict(precision="bfloat16"), "precision")):
        with pytest.raises(ValueError, match=f"begun with other .*{words}"):
            train_swarm(mixtures.iloc[:2], corpus, tmp_path/"toy", **{"config": CONFIG, "group": 2, "precision": "float32", **change}, n_jobs=1, progress=False)
    assert state() == before
    (tmp_path/"mine").mkdir()
    (tmp_path/"mine/thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="empty folder"): train_swarm(mixtures, corpus, tmp_path/"mine", CONFIG, progress=False)
    assert [p.name for p in (tmp_path/"mine").iterdir()] == ["thesis.txt"]


def test_a_corpus_that_changed_is_refused(corpus, mixtures, tmp_path):
    train_swarm(mixtures.iloc[:2], corpus, tmp_path/"toy", CONFIG, group=2, n_jobs=1, progress=False)
    docs = [Document(d, f"{d} {i} other words", f"{d}/{i}", None) for d in ("sea", "sum", "law") for i in range(4000)]
    other = build_corpus(lambda: iter(docs), tmp_path/"other", vocab_size=300, valid_fraction=0.2, progress=False)
    with pytest.raises(ValueError, match="begun with other .*corpus"):
        train_swarm(mixtures.iloc[:2], other, tmp_path/"toy", CONFIG, group=2, n_jobs=1, progress=False)


def test_tokens_that_were_changed_in_place_are_refused(corpus, mixtures, tmp_path):
    copy = shutil.copytree(corpus.folder, tmp_path/"copy")
    train_swarm(mixtures.iloc[:1], copy, tmp_path/"toy", CONFIG, n_jobs=1, progress=False)
    data = bytearray((copy/"train/sea.bin").read_bytes())
    data[100] ^= 1
    (copy/"train/sea.bin").write_bytes(data)
    with pytest.raises(ValueError, match="train/sea.bin"): train_swarm(mixtures.iloc[:1], copy, tmp_path/"toy", CONFIG, n_jobs=1, progress=False)


def test_weights_that_the_corpus_cannot_serve(corpus, mixtures, tmp_path):
    with pytest.raises(ValueError, match="'moon', which the corpus 'toy' does not have; it has"):
        train_swarm(mixtures.rename(columns={"sea": "moon"}), corpus, tmp_path/"toy", CONFIG)
    with pytest.raises(ValueError, match="0.5"): train_swarm(mixtures / 2, corpus, tmp_path/"toy", CONFIG)
    with pytest.raises(ValueError, match="3 seeds for 8 runs"): train_swarm(mixtures, corpus, tmp_path/"toy", CONFIG, seeds=[1, 2, 3])
    assert not (tmp_path/"toy").exists()


def test_a_swarm_says_how_it_was_made(whole, corpus, mixtures):
    folder = whole.meta
    assert folder["complete"] and folder["runs"] == 8 and folder["corpus"] == corpus.digest
    assert folder["config"]["lr"] == CONFIG.lr and folder["versions"]["torch"] == torch.__version__ and folder["devices"]
    assert folder["largest_gap"] < 0.02 and set(folder["largest_epochs"]) == set(mixtures.columns)
    assert sorted(whole.losses["tokens"].unique()) == [s * CONFIG.batch * CONFIG.context for s in CONFIG.eval_steps]
    assert abs(sum(folder["prior"].values()) - 1) < 1e-6


def test_no_workers_and_a_file_in_the_way_are_refused_before_anything_is_written(tmp_path, corpus):
    mixtures = pd.DataFrame([[1.0 / len(corpus.domains)] * len(corpus.domains)], ["1"], corpus.domains)
    with pytest.raises(ValueError, match="n_jobs = 0 workers train nothing"): train_swarm(mixtures, corpus, tmp_path/"swarm", n_jobs=0)
    (tmp_path/"file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file; a swarm is a folder"): train_swarm(mixtures, corpus, tmp_path/"file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path/"file").read_text() == "mine"


def test_the_gpu_bench_runs_small_and_keeps_what_it_measured(corpus, processes, tmp_path):
    script, logs = Path(__file__).parent.parent/"bench/gpu.py", []
    shutil.copytree(corpus.folder, tmp_path/"toy-corpus")   # it would build a larger one
    for attempt in range(2):
        given = (tmp_path/f"{attempt}.txt", script, "--small", "--out", tmp_path)
        process = processes.Process(target=run_script, args=given)
        process.start()
        process.join(300)
        assert process.exitcode == 0
        logs.append((tmp_path/"gpu.jsonl").read_text())
    first = (tmp_path/"0.txt").read_text()
    assert "share_of_peak" in first and "80K, K=4" in first
    assert logs[0] == logs[1] and len(logs[0].splitlines()) == 3


def test_names_that_moved_are_found_for_one_version():
    import regmix.proxies as proxies
    with pytest.warns(DeprecationWarning, match="regmix.proxies.train_swarm is now regmix.training.train_swarm"):
        assert proxies.train_swarm is train_swarm
    with pytest.raises(AttributeError): proxies.train_swan


def test_one_group_starts_no_process(corpus, mixtures, tmp_path, monkeypatch):
    asked, run = [], training._round
    monkeypatch.setenv("REGMIX_CORES", "4")
    monkeypatch.setattr(training, "_round", lambda swarm, corpus, todo, n_jobs, options: asked.append(n_jobs) or run(swarm, corpus, todo, n_jobs, options))
    train_swarm(mixtures.iloc[:2], corpus, tmp_path/"toy", dataclasses.replace(CONFIG, tokens=500, evals=1), progress=False)
    assert asked == [1]


# ---------------------------------------------------------------- a swarm grows

QUICK = dataclasses.replace(CONFIG, tokens=1_000, evals=1)


def test_what_is_added_is_what_was_trained_alone(corpus, mixtures, tmp_path):
    folder, options = tmp_path/"toy", dict(n_jobs=1, progress=False)
    train_swarm(mixtures.iloc[:3], corpus, folder, QUICK, group=2, **options)      # groups of two and of one
    before = {p.name: p.read_bytes() for p in (folder/"groups").iterdir()}
    grown = train_swarm(mixtures.iloc[3:5], corpus, folder, QUICK, add=True, **options)
    assert len(grown) == 5 and {n: (folder/"groups"/n).read_bytes() for n in before} == before
    alone = train_swarm(mixtures.iloc[:5], corpus, tmp_path/"alone", QUICK, group=5, **options)
    both = grown.final_losses(), alone.final_losses()
    pd.testing.assert_frame_equal(*both, atol=0.02)                                # in other groups: rounding
    again = train_swarm(mixtures, corpus, folder, QUICK, add=True, **options)      # three more, the others are known
    assert list(again.mixtures.index) == list(mixtures.index) and again.meta["added"] == [3, 5] and again.meta["complete"]


def test_a_swarm_that_was_stopped_while_it_grew_is_still_there(corpus, mixtures, tmp_path):
    folder, options = tmp_path/"toy", dict(n_jobs=1, progress=False)
    first = train_swarm(mixtures.iloc[:2], corpus, folder, QUICK, group=2, **options)
    table = mixtures.rename_axis("run").reset_index()
    table.to_parquet(folder/"mixtures.parquet", index=False)                        # killed before the definition came
    same = train_swarm(mixtures.iloc[:2], corpus, folder, QUICK, group=2, **options)
    pd.testing.assert_frame_equal(same.losses, first.losses)
    assert len(train_swarm(mixtures.iloc[:3], corpus, folder, QUICK, add=True, **options)) == 3


def test_what_cannot_be_added_changes_nothing(corpus, mixtures, tmp_path):
    folder = tmp_path/"toy"
    train_swarm(mixtures.iloc[:2], corpus, folder, QUICK, group=2, precision="float32", n_jobs=1, progress=False)
    def state(): return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    before, other = state(), mixtures.iloc[[4]].set_axis([mixtures.index[0]])
    for table, changed, why in ((mixtures.iloc[3:], dict(config=dataclasses.replace(QUICK, lr=1e-4)), "config.lr"), (other, {}, "already, with another mixture"),
                                (mixtures.iloc[3:], dict(precision="bfloat16"), "precision"), (mixtures.iloc[3:], dict(overwrite=True), "add and overwrite")):
        with pytest.raises(ValueError, match=why): train_swarm(table, corpus, folder, **{"config": QUICK, "n_jobs": 1, "progress": False, "add": True} | changed)
    assert state() == before


# ---------------------------------------------------------------- nothing is mixed, nothing is lost

OTHER = dataclasses.replace(CONFIG, lr=1e-3)


def files_in(folder): return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def train_with_a_worker(mixtures, corpus, folder):
    "Train with one worker, which was forked from this process before anything else."
    parent = os.getpid()
    if os.fork() == 0:
        wait_until((folder/"definition.json").exists)
        train_group(folder, corpus, 0, every=0, caller=parent)
        os._exit(0)
    training._round = lambda *given: (time.sleep(60) for _ in range(1))
    train_swarm(mixtures, corpus, folder, OTHER, group=8, progress=False)


def is_free(path):
    with locked(path) as free: return free


def test_a_swarm_at_work_is_not_replaced_and_its_workers_end_with_their_parent(corpus, mixtures, whole, home, processes, tmp_path, monkeypatch):
    folder = tmp_path/"toy"
    other = processes.Process(target=train_with_a_worker, args=(mixtures, corpus.folder, folder))
    other.start()
    wait_until(lambda: checkpoints(folder))
    assert checkpoints(folder)
    def again(): return train_swarm(mixtures, corpus, folder, CONFIG, group=4, n_jobs=1, progress=False, overwrite=True)
    monkeypatch.setattr(training._replace, "__defaults__", (0.2,))
    begun = (folder/"definition.json").read_bytes()
    with pytest.raises(BlockingIOError, match=r"process \d+ on \S+ is training this swarm; nothing was changed"): again()
    assert (folder/"definition.json").read_bytes() == begun
    other.kill()
    other.join()
    monkeypatch.undo()                       # now it waits, for the workers of the dead process
    swarm = again()
    pd.testing.assert_frame_equal(swarm.losses, whole.losses, check_exact=True)
    assert tables_of(folder) == tables_of(home) and swarm.meta["config"]["lr"] == CONFIG.lr
    assert not [p for p in tmp_path.iterdir() if p.name != "toy"]


def orphan(path):
    "Become a process with a worker that holds a lock; a worker of somebody else ends at once."
    if os.fork() == 0:
        training._serve(os.getppid())
        with locked(Path(path)): time.sleep(60)
    stranger = os.fork()
    if stranger == 0: training._serve(os.getppid() + 1)
    assert os.waitstatus_to_exitcode(os.waitpid(stranger, 0)[1]) == 1
    time.sleep(60)


def test_a_worker_ends_with_the_process_that_it_serves(processes, tmp_path):
    process = processes.Process(target=orphan, args=(str(tmp_path/"lock"),))
    process.start()
    wait_until(lambda: (tmp_path/"lock").exists() and not is_free(tmp_path/"lock"))
    time.sleep(0.5)
    assert process.is_alive() and not is_free(tmp_path/"lock")
    process.kill()
    process.join()
    wait_until(lambda: is_free(tmp_path/"lock"), 10)
    assert is_free(tmp_path/"lock")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_the_shells_train_with_one_line(corpus, mixtures, processes, tmp_path, number):
    mixtures.iloc[3:6].rename_axis("run").to_csv(tmp_path/"m.csv")
    words = f"train {tmp_path}/m.csv {corpus.folder} --out {tmp_path}/toy --tokens 1000000 --context 32 --eval-tokens 64 --jobs 1 --quiet".split()
    process = processes.Process(target=run_module, args=(str(tmp_path/"said"), {}, "regmix.cli", *words))
    process.start()
    wait_until(lambda: (tmp_path/"toy/groups/00000.lock").exists())
    time.sleep(0.3)
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 128 + number
    assert (tmp_path/"said").read_text() == f"regmix: {tmp_path}/toy: stopped; what is finished is kept. To go on, give the same command again\n"
    assert is_free(tmp_path/"toy/groups/00000.lock")


def test_what_is_refused_throws_nothing_away(corpus, mixtures, tmp_path):
    copy, folder = shutil.copytree(corpus.folder, tmp_path/"copy"), tmp_path/"toy"
    train_swarm(mixtures.iloc[:2], copy, folder, QUICK, n_jobs=1, progress=False)
    before, few = files_in(folder), mixtures.iloc[:1]
    wide = dataclasses.replace(QUICK, context=9000, eval_tokens=9000)
    for table, given, why in ((few, dict(seeds=[-1]), "seed -1"), (few, dict(seeds=[0.5]), "seed 0.5"), (few, dict(config=wide), "fewer than one sequence"),
                              (few, dict(config=dataclasses.replace(QUICK, model="9K")), "model"), (few.set_axis(["../../x"]), {}, "another name"), (few / 2, {}, "0.5")):
        with pytest.raises(ValueError, match=why): train_swarm(table, copy, folder, **{"config": QUICK, "n_jobs": 1, "progress": False, "overwrite": True} | given)
    def too_large(*given): raise MemoryError("no room")
    with pytest.raises(MemoryError): train_swarm(few, copy, folder, QUICK, n_jobs=1, progress=False, overwrite=True, method=too_large)
    data = bytearray((copy/"valid/law.bin").read_bytes())
    data[9] ^= 1
    (copy/"valid/law.bin").write_bytes(data)
    with pytest.raises(ValueError, match="valid/law.bin"): train_swarm(few, copy, folder, QUICK, n_jobs=1, progress=False, overwrite=True)
    assert files_in(folder) == before
    (folder/"thesis.txt").write_text("years")   # somebody's own, beside the swarm's files
    with pytest.raises(FileExistsError, match="holds thesis.txt, which is no part of the swarm"): train_swarm(few, corpus, folder, QUICK, n_jobs=1, progress=False, overwrite=True)
    (folder/"thesis.txt").unlink()
    assert files_in(folder) == before


@pytest.mark.parametrize("name", ["x" * 300, "a/b", "../../evil", "..", "a\nb", "a\0b", "", " a"])
def test_a_run_that_no_file_can_be_named_after_is_refused(corpus, mixtures, tmp_path, name):
    table = mixtures.iloc[:2].set_axis(["fine", name])
    with pytest.raises(ValueError, match="run"): train_swarm(table, corpus, tmp_path/"a/b/toy", QUICK, n_jobs=1, progress=False, keep=True)
    with pytest.raises(ValueError, match="run"): export_run(tmp_path/"a", name, tmp_path/"model")
    assert not list(tmp_path.iterdir())


def test_the_shell_refuses_absurd_numbers_and_names_before_it_begins(corpus, mixtures, tmp_path):
    mixtures.rename_axis("run").to_csv(tmp_path/"m.csv")
    mixtures.rename(index={"r1": "../../evil"}).rename_axis("run").to_csv(tmp_path/"evil.csv")
    for words, said in (("--tokens 1e30", "--tokens 1e+30: give"), ("--tokens 1e308", "--tokens 1e+308: give"), ("--seed=-1", "Invalid value for '--seed'"), ("--lr nan", "--lr nan: give"),
                        ("--lr inf", "--lr inf: give"), ("--evals 0", "--evals 0: give"), ("--jobs 0", "--jobs 0 workers"), ("--repeats 0", "--repeats 0: give"), (f"--seed {2**63}", "Invalid value for '--seed'")):
        found = CliRunner().invoke(app, ["train", f"{tmp_path}/m.csv", str(corpus.folder), "--out", f"{tmp_path}/toy", *words.split()])
        assert found.exit_code == 2 and found.stderr.startswith(f"regmix: {said}") and found.stderr.count("\n") == 1, found.stderr
    found = CliRunner().invoke(app, ["train", f"{tmp_path}/evil.csv", str(corpus.folder), "--out", f"{tmp_path}/toy"])
    assert found.exit_code == 2 and found.stderr.startswith(f"regmix: {tmp_path}/evil.csv: run '../../evil': the name")
    assert not (tmp_path/"toy").exists()


# ---------------------------------------------------------------- damaged, or of another swarm

def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def in_the_middle(corpus, mixtures, folder, config):
    "Begin a swarm of one group, and leave a checkpoint of it."
    begin(folder, define(mixtures, corpus, config, [0] * len(mixtures), 2, "float32"), mixtures)
    swarm = SwarmFolder(folder)
    def stop(group):
        if group.step == 4: raise KeyboardInterrupt
    group = Group(corpus, mixtures, config)
    with pytest.raises(KeyboardInterrupt): group.train(stop)
    return save_checkpoint(group, swarm.stem(0).with_suffix(".ckpt"), swarm.generation), swarm


def test_what_is_damaged_or_of_another_swarm_is_put_aside_and_trained_again(corpus, mixtures, tmp_path):
    import platform
    two = mixtures.iloc[:2]
    def train(folder, config=QUICK): return train_swarm(two, corpus, folder, config, group=2, precision="float32", n_jobs=1, progress=False, keep=True)
    want, folder = train(tmp_path/"whole"), tmp_path/"toy"
    other = dataclasses.replace(QUICK, lr=1e-3)
    train(tmp_path/"other", other)
    def copied(name): shutil.copy(tmp_path/"other/groups"/name, folder/"groups"/name)
    saved, swarm = in_the_middle(corpus, two, folder, QUICK)
    flip(saved, saved.stat().st_size // 2)
    with pytest.warns(UserWarning, match=r"00000.ckpt: is damaged .* put aside as 00000.ckpt.damaged, and its group is trained from the start"): found = train(folder)
    pd.testing.assert_frame_equal(found.losses, want.losses, check_exact=True)
    (folder/"groups/00000.json").unlink()
    shutil.copy(in_the_middle(corpus, two, tmp_path/"third", QUICK)[0], saved)          # sound, of the same runs, of another swarm
    with pytest.warns(UserWarning, match="00000.ckpt: belongs to another swarm; it was put aside"): train(folder)
    copied("00000.json"), copied("00000.parquet")
    with pytest.warns(UserWarning, match="00000.json: belongs to another swarm; 00000.json was put aside as 00000.json.damaged"): found = train(folder)
    pd.testing.assert_frame_equal(found.losses, want.losses, check_exact=True)
    copied("00000.parquet")
    with pytest.raises(Damaged, match="00000.parquet: is not as it was written: delete 00000.json and train again"): gather(folder, corpus)
    with pytest.warns(UserWarning, match="00000.parquet: is not as it was written"): found = train(folder)
    pd.testing.assert_frame_equal(found.losses, want.losses, check_exact=True)
    dead = f"new-{platform.node()}-{2**22 + 1}-1"                                       # of a process that cannot be
    left = [folder/f".losses.parquet.{dead}", folder/f"groups/.00000.ckpt.{dead}", folder/f"weights/.r0.pt.{dead}", folder/"groups/00000.ckpt", folder/"groups/00000.step"]
    for path in left: path.write_text("half")
    train(folder)
    assert not [p for p in left if p.exists()]


def test_a_flipped_bit_is_never_another_value(corpus, mixtures, tmp_path):
    rng, two = np.random.default_rng(0), mixtures.iloc[:2]
    saved, swarm = in_the_middle(corpus, two, tmp_path/"toy", QUICK)
    def read(): return load_checkpoint(Group(corpus, two, QUICK), saved, swarm.generation)
    want, data = read(), saved.read_bytes()
    for at in [*rng.integers(0, len(data), 12), *(len(data) - rng.integers(1, 2500, 12))]:   # the last bytes are the archive's list
        flip(saved, at)
        try: found = read()
        except ValueError: pass
        else: assert found.step == want.step and all(torch.equal(w, want.weights[k]) for k, w in found.weights.items())
        saved.write_bytes(data)
    train_swarm(two, corpus, tmp_path/"done", QUICK, n_jobs=1, progress=False, keep=True)
    before = gather(tmp_path/"done", corpus)
    for name in ("definition.json", "mixtures.parquet", "groups/00000.json", "groups/00000.parquet"):
        path = tmp_path/"done"/name
        data = path.read_bytes()
        for at in rng.integers(0, len(data), 12):
            flip(path, at)
            try: found = gather(tmp_path/"done", corpus)
            except ValueError: pass
            else: pd.testing.assert_frame_equal(found.losses, before.losses, check_exact=True)
            path.write_bytes(data)


def test_a_definition_that_cannot_be_read_is_one_sentence_and_may_be_replaced(corpus, mixtures, tmp_path):
    train_swarm(mixtures.iloc[:1], corpus, tmp_path/"toy", QUICK, n_jobs=1, progress=False)
    for text in ("", "[1]", "{", '{"format": 1}'):
        (tmp_path/"toy/definition.json").write_text(text)
        with pytest.raises(Damaged, match="definition.json: .*restore it from a copy, or throw the swarm away"):
            train_swarm(mixtures.iloc[:1], corpus, tmp_path/"toy", QUICK, n_jobs=1, progress=False)
    assert len(train_swarm(mixtures.iloc[:1], corpus, tmp_path/"toy", QUICK, n_jobs=1, progress=False, overwrite=True)) == 1
