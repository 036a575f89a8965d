"""Training: data as a function of (seed, run, step), a group equals its members, kill -9 and resume, shared folders, refusals."""
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from regmix.corpora import build_corpus
from regmix.proxies import (Group, TrainConfig, draw_domains, gather, load_checkpoint, plan, random_stream, save_checkpoint, train_group, train_swarm)
from regmix.swarms import load_swarm
from regmix.text import Document

CONFIG = TrainConfig(model="80K", tokens=24_000, context=32, batch=4, lr=3e-3, evals=3, eval_tokens=512)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    "Three domains of made-up text that a small model can tell apart."
    rng = np.random.default_rng(0)
    words = {"sea": "wave salt tide reef gull foam".split(), "sum": [str(i) for i in range(50)], "law": "whereas hereby party clause shall void".split()}
    docs = [Document(d, " ".join(rng.choice(w, 400)), f"{d}/{i}", None) for d, w in words.items() for i in range(40)]
    return build_corpus(lambda: iter(docs), tmp_path_factory.mktemp("corpora")/"toy", vocab_size=300, valid_fraction=0.2, progress=False)


@pytest.fixture(scope="session")
def mixtures():
    table = np.vstack([np.eye(3), np.random.default_rng(1).dirichlet([1, 1, 1], 5)])
    return pd.DataFrame(table, columns=["sea", "sum", "law"], index=[f"r{i}" for i in range(8)])


# ---------------------------------------------------------------- which text, when

@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30).filter(lambda w: sum(w) > 1e-3), st.integers(1, 2000), st.integers(0, 10**6))
def test_even_draws_realise_the_weights(weights, n, seed):
    w = np.array(weights) / sum(weights)
    domain = draw_domains(w, n, random_stream(seed))
    assert ((domain >= 0) & (domain < len(w))).all() and (w[domain] > 0).all()
    count = np.bincount(domain, minlength=len(w))
    assert np.abs(count - n * w).max() <= 3 + 2 * np.log(n + 1)      # the star discrepancy of the golden ratio, with room


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 300), st.sampled_from(["even", "random"]))
def test_a_plan_is_a_prefix_of_a_longer_one_and_epochs_are_whole(a, b, n, draw):
    w, chunks = pd.Series({"x": 0.6, "y": 0.4}), {"x": a, "y": b}
    domain, chunk = plan(w, chunks, n, 3, "run", draw)
    more = plan(w, chunks, n + 50, 3, "run", draw)
    assert (more[0][:n] == domain).all() and (more[1][:n] == chunk).all()
    for d, size in enumerate((a, b)):
        mine = chunk[domain == d]
        for start in range(0, len(mine) - size + 1, size): assert sorted(mine[start:start + size]) == list(range(size))


def test_random_draws_are_random():
    w = np.array([0.3, 0.7])
    counts = [np.bincount(draw_domains(w, 500, random_stream(i), "random"), minlength=2)[0] for i in range(200)]
    assert abs(np.mean(counts) - 150) < 3 and 7 < np.std(counts) < 14      # binomial: 10.2


def test_streams_and_draws_are_what_committed_swarms_were_made_with():
    assert random_stream(0, "a", "domains").random(3).round(6).tolist() == [0.635004, 0.714807, 0.773491]
    assert draw_domains(np.array([0.5, 0.3, 0.2]), 12, random_stream(3, "run", "domains")).tolist() == [2, 0, 0, 1, 0, 2, 1, 0, 2, 0, 0, 1]
    assert draw_domains(np.array([0.5, 0.3, 0.2]), 12, random_stream(3, "run", "domains"), "random").tolist() == [2, 0, 0, 2, 2, 0, 2, 2, 0, 1, 0, 2]


def test_every_step_is_read_once_and_none_beyond_the_last(corpus, mixtures):
    group, steps = Group(corpus, mixtures.iloc[:1], CONFIG), []
    batches = group.batches
    group.batches = lambda step: (steps.append(step), batches(step))[1]
    group.train()
    assert steps == list(range(CONFIG.steps))


# ---------------------------------------------------------------- a group is its members

def test_group_equals_members_and_its_order_does_not_matter(corpus, mixtures):
    group = Group(corpus, mixtures.iloc[:4], CONFIG).train()
    turned = Group(corpus, mixtures.iloc[[3, 1, 0, 2]], CONFIG).train()
    alone = Group(corpus, mixtures.iloc[[3]], CONFIG).train()
    for other in (turned, alone):   # sums in another order: a difference in the last bits, which training magnifies
        np.testing.assert_allclose(other.train_losses[0, :40], group.train_losses[3, :40], atol=2e-4)
        np.testing.assert_allclose(other.losses[CONFIG.steps][0], group.losses[CONFIG.steps][3], atol=0.03)
    assert np.ptp(group.losses[CONFIG.steps], axis=0).min() > 0.5      # and the mixtures do matter


def test_a_seed_changes_weights_and_data(corpus, mixtures):
    two = Group(corpus, mixtures.iloc[[4, 4]].set_axis(["a", "b"]), CONFIG, seeds=[1, 2])
    assert not torch.equal(two.weights["embed"][0], two.weights["embed"][1])
    assert not torch.equal(two.batches(0)[0], two.batches(0)[1])


def test_matches_a_plain_loop(corpus, mixtures):
    "The same model, data and settings in transformers with torch's own clipping and AdamW."
    pytest.importorskip("transformers")
    from regmix.models import to_transformers
    from regmix.proxies import learning_rate
    group = Group(corpus, mixtures.iloc[[5]], CONFIG)
    plain = to_transformers(group.weights, group.model, 0, context=CONFIG.context).train()
    optimiser = torch.optim.AdamW(plain.parameters(), lr=1, betas=CONFIG.betas, weight_decay=CONFIG.weight_decay)
    for step in range(30):
        batch = group.batches(step)
        group.advance(batch)
        for p in optimiser.param_groups: p["lr"] = learning_rate(CONFIG, step)
        optimiser.zero_grad()
        logits = plain(input_ids=batch[0, :, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[0, :, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), CONFIG.clip)
        optimiser.step()
        assert abs(loss.item() - group.train_losses[0, step].item()) < 2e-3


# ---------------------------------------------------------------- kill and resume

def swarm_in_a_process(folder, corpus, extra=""):
    "Start train_swarm on `folder` in a process of its own."
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import pandas as pd, joblib
from test_proxies import CONFIG
from regmix.proxies import train_swarm
mixtures = pd.read_parquet({str(folder)!r} + '.mixtures').set_index('run')
train_swarm(mixtures, {str(corpus.folder)!r}, {str(folder)!r}, CONFIG, group=4, n_jobs=1, every=0, progress=False{extra})
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="session")
def home(tmp_path_factory): return tmp_path_factory.mktemp("whole")/"toy"


@pytest.fixture(scope="session")
def whole(corpus, mixtures, home):
    "The swarm that was left alone."
    return train_swarm(mixtures, corpus, home, CONFIG, group=4, n_jobs=1, progress=False)


def test_kill_9_and_resume(corpus, mixtures, whole, tmp_path):
    folder = tmp_path/"toy"
    mixtures.rename_axis("run").reset_index().to_parquet(f"{folder}.mixtures")
    for attempt in range(2):      # killed twice: in the middle of a group
        process = swarm_in_a_process(folder, corpus)
        deadline = time.time() + 60
        while time.time() < deadline and not list((folder/"groups").glob("*.ckpt")): time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (folder/"swarm.json").exists() and list((folder/"groups").glob("*.ckpt"))
    again = train_swarm(mixtures, corpus, folder, CONFIG, group=4, n_jobs=1, progress=False)
    pd.testing.assert_frame_equal(again.losses, whole.losses, check_exact=True)
    assert not list((folder/"groups").glob("*.ckpt")) and not list((folder/"groups").glob(".*"))


def test_two_processes_share_one_folder(corpus, mixtures, whole, tmp_path):
    folder = tmp_path/"toy"
    mixtures.rename_axis("run").reset_index().to_parquet(f"{folder}.mixtures")
    first = swarm_in_a_process(folder, corpus)
    while not (folder/"definition.json").exists() and first.poll() is None: time.sleep(0.02)
    second = swarm_in_a_process(folder, corpus)
    assert (first.wait(), second.wait()) == (0, 0), first.stderr.read() + second.stderr.read()
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


def test_two_dask_workers_one_killed(corpus, mixtures, whole, tmp_path):
    distributed = pytest.importorskip("distributed")
    import joblib
    import threading
    folder = tmp_path/"toy"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster, distributed.Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
        def kill_one():
            while not list((folder/"groups").glob("*.ckpt")): time.sleep(0.02)
            os.kill(pids[0], signal.SIGKILL)
        threading.Thread(target=kill_one, daemon=True).start()
        with joblib.parallel_config("dask", wait_for_workers_timeout=60):
            swarm = train_swarm(mixtures, corpus, folder, CONFIG, group=4, every=0, progress=False)
    assert sorted(p.name for p in (folder/"groups").glob("*.json")) == ["00000.json", "00001.json"]
    pd.testing.assert_frame_equal(swarm.losses, whole.losses, check_exact=True)     # nothing lost, nothing twice


def test_loky_workers_give_the_same_bits_as_one(corpus, mixtures, whole, tmp_path):
    swarm = train_swarm(mixtures, corpus, tmp_path/"toy", CONFIG, group=4, n_jobs=2, progress=False)
    pd.testing.assert_frame_equal(swarm.losses, whole.losses, check_exact=True)


def test_a_checkpoint_of_other_runs_is_refused(corpus, mixtures, tmp_path):
    path = save_checkpoint(Group(corpus, mixtures.iloc[:2], CONFIG), tmp_path/"x.ckpt")
    with pytest.raises(ValueError, match="another swarm"): load_checkpoint(Group(corpus, mixtures.iloc[2:4], CONFIG), path)


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


def test_a_killed_loky_worker_does_not_stop_the_swarm(corpus, mixtures, whole, tmp_path):
    import threading
    folder, mine = tmp_path/"toy", os.getpid()
    def kill_one():
        import psutil
        deadline = time.time() + 60
        while time.time() < deadline and not list((folder/"groups").glob("*.ckpt")): time.sleep(0.02)
        children = [p for p in psutil.Process(mine).children(recursive=True) if "loky" in " ".join(p.cmdline()) and "tracker" not in " ".join(p.cmdline())]
        children[0].kill()
    pytest.importorskip("psutil")
    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    swarm = train_swarm(mixtures, corpus, folder, CONFIG, group=4, n_jobs=2, every=0, progress=False)
    thread.join(60)
    pd.testing.assert_frame_equal(swarm.losses, whole.losses, check_exact=True)


def test_many_may_gather_at_once(corpus, whole, home):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool: swarms = list(pool.map(lambda _: gather(home, corpus), range(24)))
    for s in swarms: pd.testing.assert_frame_equal(s.losses, whole.losses, check_exact=True)


def test_the_loss_of_a_domain_is_measured_all_over_its_validation_text(corpus):
    from regmix.proxies import Validation
    config = dataclasses.replace(CONFIG, eval_tokens=64)
    tokens, seen = corpus.tokens("sea", "valid"), Validation(corpus, config)
    rows = seen.tokens[seen.of == seen.domains.index("sea")].numpy()
    assert len(rows) == 2 and (rows[0] == tokens[:33]).all()
    whole = (len(tokens) - 1) // 32
    assert (rows[1] == tokens[whole // 2 * 32:whole // 2 * 32 + 33]).all()
    assert seen.bytes_per_token["sea"] == corpus.token_bytes()[rows[:, 1:]].mean()


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
    import shutil
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


def test_bfloat16_trains_to_about_the_same_place(corpus, mixtures, whole):
    config = dataclasses.replace(CONFIG, tokens=4000)
    a, b = (Group(corpus, mixtures.iloc[:2], config, dtype=t).train().losses[config.steps] for t in (torch.float32, torch.bfloat16))
    np.testing.assert_allclose(a, b, atol=0.05)


def test_the_gpu_bench_runs_small_and_keeps_what_it_measured(tmp_path):
    command = [sys.executable, str(Path(__file__).parent.parent/"bench/gpu.py"), "--small", "--out", str(tmp_path)]
    first = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert "share_of_peak" in first and "80K, K=4" in first
    log = (tmp_path/"gpu.jsonl").read_text()
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert (tmp_path/"gpu.jsonl").read_text() == log and len(log.splitlines()) == 3


def test_no_workers_and_a_file_in_the_way_are_refused_before_anything_is_written(tmp_path, corpus):
    mixtures = pd.DataFrame([[1.0 / len(corpus.domains)] * len(corpus.domains)], ["1"], corpus.domains)
    with pytest.raises(ValueError, match="n_jobs = 0 workers train nothing"): train_swarm(mixtures, corpus, tmp_path/"swarm", n_jobs=0)
    (tmp_path/"file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file; a swarm is a folder"): train_swarm(mixtures, corpus, tmp_path/"file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path/"file").read_text() == "mine"
