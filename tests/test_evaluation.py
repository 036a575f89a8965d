"""Downstream tasks: fair items, none from memory, the same bytes; results that hang on the model alone; K models as one; the paper's tasks on local copies."""
import json
import shutil
import subprocess
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import yaml

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

import regmix.evaluation as evaluation
import regmix.tasks as tasks
from regmix.corpora import build_corpus
from regmix.evaluation import (PAPER_TASKS, ProxyLM, TaskDataMissing, TemplateLM, evaluate_model, evaluate_swarm, load_tasks, 
                               main, paper_scores, score_answers)
from regmix.models import export, init_weights, logits, model_config
from regmix.files import ROOT
from regmix.training import load_weights, train_swarm, main as export_main
from regmix.proxies import TrainConfig
from regmix.tasks import (Side, kinds_of, make_tasks, raw_nextlines, split_tokens, stand_in_training, window_hashes,
                          wrong_answers)
from regmix.text import Document
from toys import run_module, run_with_package

needs_lm_eval = pytest.mark.skipif(TemplateLM is object, reason="lm-eval is not installed")
KINDS = {"continuation_sea": 4, "continuation_code": 4, "lastword_sea": 1, "nextline_code": 4, "arithmetic_dm_mathematics": 4}


def documents():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("aeiou" if i % 2 else "bdklmnrst")) for i in range(rng.integers(2, 9))) for _ in range(300)]
    often = 1 / np.arange(1, 13)
    for i in range(40):
        topic = rng.choice(words, 25)
        yield Document("sea", " ".join(rng.choice(topic, 400)) + ".", f"sea/{i}", None)
        common = [f"return {w}" for w in rng.choice(words[:12], 60, p=often / often.sum())]
        lines = ["    " * int(rng.integers(0, 2)) + (c if rng.random() < .5 else f"{rng.choice(topic)} = {rng.choice(words)}({rng.integers(0, 99)})") for c in common]
        yield Document("code", "\n".join(lines) + "\n", f"code/{i}", None)
        sums = [f"What is {a} + {b}?\n{a + b}" for a, b in rng.integers(100, 999, (30, 2))]
        yield Document("dm_mathematics", "\n".join(sums) + "\n", f"sums/{i}", None)
        yield Document("few", f"{rng.choice(topic)} {i} " * 30, f"few/{i}", None)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build_corpus(documents, tmp_path_factory.mktemp("corpora")/"toy", vocab_size=600, valid_fraction=0.3, progress=False)


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")/"tasks"
    return folder, make_tasks(corpus, folder, n=20, examples=8)


@pytest.fixture(scope="module")
def swarm(corpus):
    "Three untrained models, shaken so that they prefer something."
    config = model_config("80K", vocab_size=corpus.vocab_size)
    return {n: w * (1 if n.endswith(("norm", "norm1", "norm2")) else 6) for n, w in init_weights(config, [1, 2, 3]).items()}, config


@pytest.fixture(scope="module")
def exported(corpus, swarm, tmp_path_factory):
    return export(*swarm, tmp_path_factory.mktemp("exported")/"model", k=1, tokenizer=corpus.folder/"tokenizer.json", context=128)


def read(folder, task, end=""): return [json.loads(line) for line in (folder/f"data/{task}{end}.jsonl").open()]


def texts(corpus, domain, split):
    ids = corpus.tokens(domain, split)
    return [corpus.tokenizer.decode(part[:-1], skip_special_tokens=False) for part in np.split(ids, np.flatnonzero(ids == corpus.eos) + 1)[:-1]]


# ---------------------------------------------------------------- items

@pytest.mark.parametrize("task", KINDS)
def test_items_are_held_out_text_and_stand_nowhere_in_training(task, corpus, made):
    kind, domain = task.split("_", 1)
    held, training = texts(corpus, domain, "valid"), "\n".join(t for d in corpus.domains for t in texts(corpus, d, "train"))
    for x in read(made[0], task):
        right = x["choices"][x["gold"]] if "gold" in x else x["target"]
        assert x["context"] + right in held[x["document"]]
        assert x["context"] not in training
        if kind == "lastword": assert right[1:] in x["context"].replace(".", "").split() and len(right) > 5


@pytest.mark.parametrize("task", KINDS)
def test_examples_are_from_training_and_are_never_scored(task, corpus, made):
    kind, domain = task.split("_", 1)
    training, scored = texts(corpus, domain, "train"), {x["context"] for x in read(made[0], task)}
    examples = read(made[0], task, ".examples")
    assert len(examples) == 8
    for x in examples:
        assert x["context"] not in scored
        assert x["context"] + (x["choices"][x["gold"]] if "gold" in x else x["target"]) in training[x["document"]]


@pytest.mark.parametrize("task", [t for t, n in KINDS.items() if n == 4])
def test_wrong_answers_differ_only_in_being_wrong(task, corpus, made):
    domain, items = task.split("_", 1)[1], read(made[0], task)
    held = texts(corpus, domain, "valid")
    for x in items:
        cuts = [split_tokens(corpus.tokenizer, x["context"], c) for c in x["choices"]]
        assert len(set(x["choices"])) == 4
        assert len({tuple(c) for c, _ in cuts}) == 1 and len({len(a) for _, a in cuts}) == 1
        wrong = [c for i, c in enumerate(x["choices"]) if i != x["gold"]]
        assert all(any(w in t for i, t in enumerate(held) if i != x["document"]) for w in wrong)
        if task.startswith("nextline"): assert len({len(c) - len(c.lstrip()) for c in x["choices"]}) == 1
    assert np.bincount([x["gold"] for x in items]).tolist() == [5] * 4


PREFERENCES = {"the most frequent answer": lambda often: lambda a: (often[a], a), "the least frequent answer": lambda often: lambda a: (-often[a], a),
               "the shortest answer": lambda often: lambda a: (-len(a), a), "the first in the alphabet": lambda often: lambda a: [-ord(c) for c in a]}


@pytest.mark.parametrize("preference", PREFERENCES)
@pytest.mark.parametrize("task", [t for t, n in KINDS.items() if n == 4])
def test_a_preference_that_ignores_the_context_gets_a_quarter(task, preference, made):
    for end in ("", ".examples"):
        items = read(made[0], task, end)
        prefer = PREFERENCES[preference](Counter(x["choices"][x["gold"]] for x in items))
        assert sum(max(x["choices"], key=prefer) == x["choices"][x["gold"]] for x in items) * 4 == len(items)


def test_frequent_answers_are_no_better_a_guess_than_others(corpus):
    raw = list(raw_nextlines(Side(corpus, "code", "valid"), 64, 32, np.random.default_rng(0)))
    items = list(wrong_answers(corpus.tokenizer, raw, np.random.default_rng(0)))
    often = Counter(r.answer for r, _ in items)
    assert len(items) > 0.7 * len(raw) and often.most_common(1)[0][1] > 10
    assert sum(max((r.answer, *wrong), key=lambda a: (often[a], a)) == r.answer for r, wrong in items) * 4 == len(items)


@pytest.mark.parametrize("task", [t for t, n in KINDS.items() if n == 4])
def test_a_four_shares_its_answers_and_no_document(task, made):
    items = read(made[0], task)
    for i in range(0, len(items), 4):
        four = items[i:i + 4]
        assert len({frozenset(x["choices"]) for x in four}) == 1
        assert len({x["document"] for x in four}) == len({x["choices"][x["gold"]] for x in four}) == 4


def test_the_files_say_chance_and_items(made):
    folder, table = made
    for task, choices in KINDS.items():
        facts = yaml.safe_load((folder/f"{task}.yaml").read_text())["metadata"]
        assert facts["items"] == len(read(folder, task)) == 20 == table.loc[task, "items"]
        targets = pd.Series([x.get("target") for x in read(folder, task)]).value_counts()
        assert facts["chance"] == table.loc[task, "chance"] == (0.25 if choices == 4 else targets.iloc[0] / 20)
    assert yaml.safe_load((folder/"continuation.yaml").read_text())["task"] == [t for t in table.index[table["left_out"] == ""] if t.startswith("continuation")]


def test_same_call_same_bytes(corpus, made, tmp_path):
    make_tasks(corpus.folder, tmp_path/"again", n=20, examples=8)
    for path in made[0].rglob("*.*"): assert path.read_bytes() == (tmp_path/"again"/path.relative_to(made[0])).read_bytes()
    make_tasks(corpus, tmp_path/"other", n=20, examples=8, seed=1, domains=["sea"])
    assert read(tmp_path/"other", "continuation_sea") != read(made[0], "continuation_sea")


def test_one_domain_does_not_hang_on_the_others(corpus, made, tmp_path):
    make_tasks(corpus, tmp_path/"sea", n=20, examples=8, domains=["sea"])
    assert read(tmp_path/"sea", "continuation_sea") == read(made[0], "continuation_sea")


def test_what_is_left_out_says_why(made):
    left = made[1].query("left_out != ''")
    assert "lastword_few" in left.index and left["left_out"].str.contains("of 20 items could be made").all()
    assert not any((made[0]/f"{t}.yaml").exists() for t in left.index)


def test_text_that_was_trained_on_is_not_asked(tmp_path):
    "The second half of the held-out documents repeats training documents under another headline."
    docs = [d for d in documents() if d.domain == "sea"]
    copies = [Document("sea", f"copy {i} of it. {d.text}", f"copy/{i}", None) for i, d in enumerate(docs[:20])]
    corpus = build_corpus(docs + copies, tmp_path/"leaky", vocab_size=600, valid_fraction=0.5, progress=False)
    with pytest.raises(ValueError, match=r"more stand in the training text"): make_tasks(corpus, tmp_path/"many", n=2000)
    make_tasks(corpus, tmp_path/"tasks", n=12)
    training = "\n".join(texts(corpus, "sea", "train"))
    assert not any(x["context"] in training for x in read(tmp_path/"tasks", "continuation_sea"))


def test_windows_are_found_wherever_they_stand(corpus):
    tokens = corpus.tokens("code")
    at = [0, 31, 1000, len(tokens) - 32]
    windows = np.stack([tokens[a:a + 32] for a in at])
    for block in (64, 1000, 1 << 22): assert stand_in_training(corpus, windows, block).all()
    windows[:, 5] = corpus.eos      # within a line there is none
    assert not stand_in_training(corpus, windows).any()


@pytest.mark.parametrize("options, message", [(dict(n=1), "n=1"), (dict(context=4), "context=4"), (dict(continuation=0), "continuation=0"), (dict(n=2.5), "n=2.5"), (dict(examples=0), "examples=0"),
                                              (dict(n=30), "n=30: give a multiple of 4"), (dict(examples=6), "examples=6: give a multiple of 4"), (dict(domains=[]), "name at least one"),
                                              (dict(domains=["see"]), "did you mean 'sea'"), (dict(n=5000, domains=["few"]), "no task can be made")])
def test_bad_options_are_named(corpus, tmp_path, options, message):
    with pytest.raises(ValueError, match=message): make_tasks(corpus, tmp_path/"x", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("domain, patterns, more", [("dm_mathematics", {}, ["arithmetic"]), ("sums", {}, []), ("sums", dict(arithmetic="sums|quiz"), ["arithmetic"]), ("dm_mathematics", dict(arithmetic="sums"), []),
                                                    ("github", {}, ["nextline"]), ("listings", dict(code="list.*"), ["nextline"]), ("both", dict(code="both", arithmetic="both"), ["nextline", "arithmetic"])])
def test_kinds_follow_from_the_name_of_a_domain(domain, patterns, more):
    assert kinds_of(domain, **patterns) == ["continuation", "lastword", *more]


def test_the_patterns_are_those_of_make_tasks(corpus, made, tmp_path):
    table = make_tasks(corpus, tmp_path/"x", n=20, examples=8, domains=["dm_mathematics", "code"], code="none", arithmetic="none")
    assert {t.split("_")[0] for t in table.index} == {"continuation", "lastword"}
    make_tasks(corpus, tmp_path/"y", n=20, examples=8, domains=["dm_mathematics"], arithmetic="dm_.*")
    assert read(tmp_path/"y", "arithmetic_dm_mathematics") == read(made[0], "arithmetic_dm_mathematics")


@pytest.mark.parametrize("most", [1, 1000, None])
def test_a_side_can_end_with_the_document_that_holds_a_token(corpus, most):
    whole, side = texts(corpus, "sea", "train"), Side(corpus, "sea", "train", most=most)
    found = dict(side.documents(np.random.default_rng(0)))
    assert found == dict(enumerate(whole[:len(found)])) and len(side.tokens) == len(side.begins)
    assert len(found) == {1: 1, None: len(whole)}.get(most, len(found))
    if most: assert side.starts[-1] < most <= len(side.tokens)


@pytest.mark.parametrize("width", [0, 3, 12])
def test_windows_have_a_power_of_two(width):
    with pytest.raises(ValueError, match=f"width={width}: give a power of two"): window_hashes(np.arange(99), width)


def test_only_tasks_are_overwritten(corpus, tmp_path):
    (tmp_path/"mine").mkdir()
    (tmp_path/"mine/thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError): make_tasks(corpus, tmp_path/"mine", overwrite=True)
    assert (tmp_path/"mine/thesis.txt").exists()


def test_tasks_that_cannot_be_made_leave_the_older_ones(corpus, made, tmp_path):
    shutil.copytree(made[0], tmp_path/"tasks")
    before = {p.name: p.read_bytes() for p in (tmp_path/"tasks").rglob("*.*")}
    with pytest.raises(ValueError, match="no task can be made"): make_tasks(corpus, tmp_path/"tasks", n=4000, domains=["few"], overwrite=True)
    assert {p.name: p.read_bytes() for p in (tmp_path/"tasks").rglob("*.*")} == before
    assert [p.name for p in tmp_path.iterdir()] == ["tasks"]


def test_the_old_names_still_answer():
    for name in evaluation._MOVED.split():
        with pytest.warns(DeprecationWarning, match=f"now regmix.tasks.{name}"): assert getattr(evaluation, name) is getattr(tasks, name)


# ---------------------------------------------------------------- scoring

def test_scores_are_sums_of_log_probabilities(swarm):
    weights, config = swarm
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 600, a).tolist(), rng.integers(0, 600, b).tolist()) for a, b in [(5, 3), (1, 1), (30, 8), (2, 12), (9, 16)]]
    total, first = score_answers(weights, config, pairs, context=16, batch=2)
    for i, (c, a) in enumerate(pairs):
        row = torch.tensor((c + a)[-17:])
        z = logits(weights, config, row[None, :-1])[:, 0, -len(a):].log_softmax(-1)
        expected = z.gather(-1, row[-len(a):].expand(3, -1)[..., None])[..., 0]
        assert torch.allclose(total[i], expected.sum(-1).double(), atol=1e-4)
        assert first[i].tolist() == (z.argmax(-1) == row[-len(a):]).all(-1).tolist()
    best = logits(weights, config, torch.tensor([pairs[0][0]]))[:, 0, -1].argmax(-1)
    for k in range(3): assert score_answers(weights, config, [(pairs[0][0], [int(best[k])])], 16)[1][0, k]
    with pytest.raises(ValueError, match="an answer has 17 tokens and the models read 16"): score_answers(weights, config, [([1], [2] * 17)], 16)


@pytest.mark.parametrize("pair", [([], [1]), ([1], []), ([], [])])
def test_nothing_is_not_scored(swarm, pair):
    with pytest.raises(ValueError, match="a context or an answer is empty"): score_answers(*swarm, [([1, 2], [3]), pair], 16)


@pytest.mark.parametrize("chunk", [1, 5000, 1 << 30])
def test_scores_do_not_hang_on_the_chunks(swarm, chunk, monkeypatch):
    pairs = [([1, 2, 3], [4, 5]), ([6], [7, 8, 9])]
    expected = score_answers(*swarm, pairs, 16)
    monkeypatch.setitem(evaluation.CHUNK_BYTES, "cpu", chunk)
    for a, b in zip(score_answers(*swarm, pairs, 16), expected): assert torch.allclose(a.double(), b.double(), atol=1e-5)


@needs_lm_eval
def test_proxies_agree_with_transformers_on_every_request(made, corpus, swarm, exported):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    items = [(x["context"], c) for t in KINDS for x in read(made[0], t)[:6] for c in x.get("choices", [x.get("target")])]
    items += [("", "salt"), (items[0][0] * 5, items[0][1])]
    requests = [Instance("loglikelihood", {}, pair, 0) for pair in items]
    theirs = HFLM(pretrained=str(exported), batch_size=8, device="cpu").loglikelihood(requests, disable_tqdm=True)
    ours = ProxyLM(*swarm, corpus, context=128)
    ours.model = 1
    for (a, g), (b, h) in zip(ours.loglikelihood(requests), theirs): assert abs(a - b) < 1e-4 and g == h


@needs_lm_eval
def test_a_swarm_at_once_is_each_model_alone(made, corpus, swarm, exported):
    with pytest.warns(UserWarning, match="were cut on the left"):
        table = evaluate_swarm(*swarm, corpus, made[0], shots=[0, 2], limit=6, context=128, names=list("abc"))
        alone = evaluate_model(exported, made[0], shots=[0, 2], limit=6)
    assert list(table.columns) == ["model", *alone.columns] and table["model"].unique().tolist() == list("abc")
    pd.testing.assert_frame_equal(table.query("model == 'b'").drop(columns="model").reset_index(drop=True), alone, rtol=1e-4)
    with pytest.raises(ValueError, match="2 names for 3 models"): evaluate_swarm(*swarm, corpus, made[0], context=128, names=list("ab"))
    with pytest.raises(TypeError, match="device"): evaluate_swarm(*swarm, corpus, made[0], context=128, device="cpu")


class Fixed(TemplateLM):
    "Knows the right answers, or prefers the one that stands in the same place."
    max_length = 128
    def __init__(self, right=None): super().__init__(); self.right, self.prompts = right, []
    eot_token_id = 0
    def tok_encode(self, *a, **k): raise AssertionError
    _loglikelihood_tokens = loglikelihood_rolling = generate_until = tok_encode
    def loglikelihood(self, requests, disable_tqdm=False):
        self.prompts += [r.args[0] for r in requests]
        good = [any(r.args[0].endswith(c) and r.args[1] == a for c, a in self.right) if self.right is not None else r.idx == 2 for r in requests]
        return [(-1.0 if g else -2.0, g) for g in good]


@needs_lm_eval
def test_who_knows_scores_one_and_who_guesses_scores_chance(made):
    right = [(x["context"], x["choices"][x["gold"]] if "gold" in x else x["target"]) for t in KINDS for x in read(made[0], t)]
    tasks = [made[0]/t for t in KINDS]
    knows = evaluate_model(Fixed(right), tasks, shots=[0, 3]).query("metric == 'acc'")
    assert (knows["value"] == 1).all() and (knows["stderr"] == 0).all() and (knows["n"] == 20).all() and len(knows) == 10
    guesses = evaluate_model(Fixed(), [t for t in tasks if t.name != "lastword_sea"])
    assert (guesses["value"] == guesses["chance"]).all() and np.allclose(guesses["stderr"], np.sqrt(.25 * .75 / 19))
    words = evaluate_model(Fixed(right), made[0]/"lastword_sea").set_index("metric")
    assert np.isclose(words.loc["perplexity", "value"], np.e) and words.loc["perplexity", "stderr"] == 0 and np.isnan(words.loc["perplexity", "chance"])


class Foreign(evaluation.LM):
    "An LM of lm-eval that is no TemplateLM: the likelihood of an answer hangs on the answer alone."
    def loglikelihood(self, requests, disable_tqdm=False): return [(-float(sum(r.args[1].encode())), False) for r in requests]
    def loglikelihood_rolling(self, requests): raise AssertionError
    generate_until = loglikelihood_rolling


@needs_lm_eval
def test_any_lm_is_run_and_one_that_does_not_read_scores_a_quarter(made):
    table = evaluate_model(Foreign(), [made[0]/t for t, n in KINDS.items() if n == 4])
    assert set(table["metric"]) == {"acc", "acc_mutual_info"} and (table["value"] == 0.25).all()


@needs_lm_eval
@pytest.mark.parametrize("options", [dict(context=64), dict(batch=16), dict(device="cpu"), dict(context=64, device="cpu")])
def test_what_an_lm_has_of_its_own_is_refused(made, options):
    with pytest.raises(ValueError, match=", ".join(options) + ": not for an LM"): evaluate_model(Fixed(), made[0]/"nextline_code", **options)


@needs_lm_eval
def test_an_item_counts_once_however_many_filters_a_task_has(made, tmp_path):
    config = yaml.safe_load((made[0]/"nextline_code.yaml").read_text())
    config["filter_list"] = [dict(name=name, filter=[dict(function="take_first")]) for name in ("one", "other")]
    shutil.copytree(made[0]/"data", tmp_path/"data")
    (tmp_path/"nextline_code.yaml").write_text(yaml.safe_dump(config))
    assert (evaluate_model(Fixed(), tmp_path/"nextline_code")["n"] == 20).all()


@needs_lm_eval
@pytest.mark.parametrize("metric", ["acc", "acc_mutual_info"])
def test_a_group_is_the_mean_over_its_items(made, metric):
    table = evaluate_model(Fixed(), made[0]/"continuation", limit=7).query("metric == @metric").set_index("task")
    parts, whole = table.drop(index="continuation"), table.loc["continuation"]
    assert whole["n"] == parts["n"].sum() == 7 * len(parts) and np.isclose(whole["value"], parts["value"].mean())
    assert np.isclose(whole["stderr"], np.sqrt((parts["stderr"] ** 2).sum()) / len(parts))


@needs_lm_eval
@pytest.mark.parametrize("shots", [1, 5])
def test_shots_are_examples_with_their_right_answers(made, shots):
    lm = Fixed()
    evaluate_model(lm, made[0]/"arithmetic_dm_mathematics", shots=shots)
    examples = {x["context"] + x["choices"][x["gold"]] for x in read(made[0], "arithmetic_dm_mathematics", ".examples")}
    scored = {x["context"] for x in read(made[0], "arithmetic_dm_mathematics")}
    for prompt in filter(None, lm.prompts):   # the answers alone, for acc_mutual_info, have none
        lines = prompt.split("\n")
        assert lines[-1] in scored and len(lines) == 2 * shots + 1
        assert {"\n".join(lines[i:i + 2]) for i in range(0, 2 * shots, 2)} <= examples
    again, other = Fixed(), Fixed()
    evaluate_model(again, made[0]/"arithmetic_dm_mathematics", shots=shots)
    evaluate_model(other, made[0]/"arithmetic_dm_mathematics", shots=shots, seed=1)
    assert again.prompts == lm.prompts != other.prompts


@needs_lm_eval
def test_a_folder_may_be_moved_and_is_plain_lm_eval(made, tmp_path, monkeypatch):
    from lm_eval.tasks import TaskManager
    shutil.copytree(made[0], tmp_path/"moved")
    ours = load_tasks(tmp_path/"moved"/"continuation")[0]
    monkeypatch.chdir(tmp_path/"moved")
    plain = TaskManager(include_path=".", include_defaults=False).load("continuation")["tasks"]
    assert sorted(plain) == sorted(ours.child_names)
    for name, task in plain.items(): assert list(task.test_docs()) == list(ours.get(name).test_docs()) == read(made[0], name)


@needs_lm_eval
def test_errors_name_what_is_wrong(made, exported, tmp_path):
    for call, message in ((lambda: evaluate_model(exported, made[0], shots=9), "has 8 examples"), (lambda: evaluate_model(exported, made[0], shots=-1), "shots="),
                          (lambda: evaluate_model(exported, made[0], limit=0), "limit=0"), (lambda: load_tasks(made[0]/"nothing"), "neither such a folder"),
                          (lambda: load_tasks(tmp_path), "no tasks are here")):
        with pytest.raises(ValueError, match=message): call()
    with pytest.raises(FileNotFoundError, match="no model of transformers"): evaluate_model(tmp_path/"none", made[0])


def test_without_lm_eval_tasks_are_made_and_the_rest_says_what_to_install(processes):
    script = ("import sys; sys.modules['lm_eval'] = sys.modules['lm_eval.api'] = sys.modules['lm_eval.api.model'] = None\n"
              "import regmix.evaluation as e\n"
              "for call in (lambda: e.evaluate_model('m', 't'), lambda: e.load_tasks('paper'), lambda: e.ProxyLM({}, None, None, 8)):\n"
              "    try: call()\n"
              "    except ImportError as error: assert \"pip install 'regmix[eval]'\" in str(error)\n"
              "    else: raise SystemExit(1)\n")
    process = processes.Process(target=run_with_package, args=(str(ROOT), script))
    process.start()
    process.join(300)
    assert process.exitcode == 0


# ---------------------------------------------------------------- the paper's tasks

def copies(folder):
    "Invented rows in the columns of allenai/sciq and allenai/ai2_arc."
    words = ["iron", "salt", "water", "gold", "carbon", "oxygen"]
    for split in ("train", "validation", "test"):
        sciq = [dict(question=f"Which one is {w}?", distractor1="a stone", distractor2="wood", distractor3="air", correct_answer=w, support=f" Here lies {w}.") for w in words]
        arc = [dict(id=f"{split}{i}", question=f"Which one is {w}?", choices=dict(text=[w, "wood", "a long stone"], label=["A", "B", "C"]), answerKey="A") for i, w in enumerate(words)]
        (folder/"sciq").mkdir(parents=True, exist_ok=True)
        (folder/"arc_easy").mkdir(exist_ok=True)
        (folder/f"sciq/{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in sciq))
        pd.DataFrame(arc).to_parquet(folder/f"arc_easy/{split}.parquet")
    return folder


@needs_lm_eval
def test_the_papers_tasks_run_on_local_copies(exported, tmp_path):
    data = copies(tmp_path/"data")
    table = evaluate_model(exported, ["sciq", "arc_easy"], shots=[0, 2], data=data, context=512)
    assert table.groupby("task")["metric"].unique().map(set).tolist() == [{"acc", "acc_norm"}] * 2
    assert (table["n"] == 6).all() and np.allclose(table.groupby("task")["chance"].first(), [1 / 3, 1 / 4])
    with pytest.raises(ValueError, match="holds 2 models"): paper_scores(pd.concat([table.assign(model=m) for m in "ab"]))
    scores = paper_scores(table)
    pd.testing.assert_series_equal(paper_scores(table.assign(model="a")), scores)
    assert scores.index.tolist() == ["SciQ", "ARC Easy"]
    assert np.isclose(scores["SciQ"], 100 * table.query("task == 'sciq' and metric == 'acc_norm'")["value"].mean())
    lm = Fixed([("Here lies iron.\nQuestion: Which one is iron?\nAnswer:", " iron")])
    assert np.isclose(evaluate_model(lm, "sciq", data=data).set_index("metric").loc["acc", "value"], 1 / 6)
    (data/"sciq/test.jsonl").unlink()
    with pytest.raises(TaskDataMissing, match="no file for the split 'test', which sciq reads"): load_tasks("sciq", data)


def in_parts(folder, parts, of):
    rows = [json.loads(line) for line in (folder/"test.jsonl").open()]
    (folder/"test.jsonl").unlink()
    for k in parts: (folder/f"test-{k:05}-of-{of:05}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows[k::of]))


@needs_lm_eval
@pytest.mark.parametrize("of", [1, 3])
def test_copies_may_have_the_names_of_the_hub(exported, tmp_path, of):
    data = copies(tmp_path/"data")
    expected = {d["question"] for d in load_tasks("sciq", data)[0].test_docs()}
    in_parts(data/"sciq", range(of), of)
    docs = [d["question"] for d in load_tasks("sciq", data)[0].test_docs()]
    assert len(docs) == 6 and set(docs) == expected


@needs_lm_eval
@pytest.mark.parametrize("spoil, message", [(lambda f: in_parts(f, [0, 2], 3), "2 files for the split 'test', and by their names there are 3"),
                                            (lambda f: shutil.copy(f/"test.jsonl", f/"test-00000-of-00001.jsonl"), "2 files for the split 'test', and by their names there are 1"),
                                            (lambda f: (f/"test.parquet").touch(), "keep one kind")])
def test_copies_that_lack_something_are_refused(tmp_path, spoil, message):
    data = copies(tmp_path/"data")
    spoil(data/"sciq")
    with pytest.raises(ValueError, match=message): load_tasks("sciq", data)


@needs_lm_eval
def test_without_a_network_one_line_names_the_missing_data(processes, tmp_path):
    offline, data = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}, copies(tmp_path/"data")
    asked = ("regmix.evaluation", "nobody/model", "--tasks", "paper", "--data", data)
    process = processes.Process(target=run_module, args=(tmp_path/"said.txt", offline, *asked))
    process.start()
    process.join(600)
    said = (tmp_path/"said.txt").read_text()
    assert process.exitcode == 1 and "Traceback" not in said
    line = said.strip().splitlines()[-1]
    assert "the data of 12 of 14 tasks could not be had" in line and "hellaswag (Rowan/hellaswag)" in line and "sciq (" not in line and "--data" in line
    names = {t.name for t in PAPER_TASKS.values()} - {"sciq", "arc_easy"}
    assert all(f"{n} (" in line for n in names)


@needs_lm_eval
def test_a_place_for_the_table_is_asked_for_first(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "evaluate_model", lambda *a, **k: pytest.fail("it was evaluated"))
    assert main(["model", "--tasks", str(made[0]), "--out", str(tmp_path/"none/out.csv")]) == 1
    assert f"there is no folder {tmp_path/'none'}" in capsys.readouterr().err and not (tmp_path/"none").exists()


@needs_lm_eval
def test_from_a_shell(made, exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main([str(exported), "--tasks", str(made[0]/"nextline_code"), "--shots", "0", "1", "--limit", "3", "--out", str(tmp_path/"out.csv")]) == 0
    assert pd.read_csv(tmp_path/"out.csv")["shots"].tolist() == [0, 0, 1, 1] and "nextline_code" in capsys.readouterr().out
    assert main([str(tmp_path/"none"), "--tasks", str(made[0])]) == 1
    assert "no model of transformers is here" in capsys.readouterr().err


@needs_lm_eval
def test_a_model_is_looked_for_before_tasks_are_prepared(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(evaluation, "load_tasks", lambda *a: pytest.fail("tasks were prepared"))
    for path in (tmp_path, tmp_path/"none", "no/such/folder", "./none"):
        assert main([str(path), "--tasks", "paper"]) == 1
        assert f"{path}: no model of transformers is here" in capsys.readouterr().err


@needs_lm_eval
@pytest.mark.parametrize("what, again", [("model", "make export"), ("tasks", "make the tasks again")])
def test_a_damaged_file_is_named_before_anything_is_run(made, exported, tmp_path, monkeypatch, capsys, what, again):
    "Of a model that was exported, and of tasks that were made; with their manifest removed they are taken as they are."
    monkeypatch.setattr(evaluation, "_transformers_lm", lambda *a: pytest.fail("the model was loaded"))
    shutil.copytree(exported, tmp_path/"model")
    shutil.copytree(made[0], tmp_path/"tasks")
    call, rng = [str(tmp_path/"model"), "--tasks", str(tmp_path/"tasks")], np.random.default_rng(0)
    for name in json.loads((tmp_path/what/"manifest.json").read_text())["files"]:
        data, file = (tmp_path/what/name).read_bytes(), tmp_path/what/name
        place = int(rng.integers(len(data)))
        for bad in (data[:place] + bytes([data[place] ^ 4]) + data[place + 1:], data[:-1], None):
            file.unlink() if bad is None else file.write_bytes(bad)
            assert main(call) == 1
            said = capsys.readouterr().err
            gone = "no model of transformers is here" if name == "config.json" else again
            assert file.name in said and (gone if bad is None else again) in said and "Traceback" not in said
        file.write_bytes(data)
    (tmp_path/what/"manifest.json").unlink()
    monkeypatch.setattr(evaluation, "_transformers_lm", lambda *a: Fixed())
    file.write_bytes(data + b"\n")
    assert main([*call, "--limit", "1"]) == 0


@needs_lm_eval
def test_what_may_be_a_name_on_the_hub_is_asked_for_there(made, monkeypatch, capsys):
    import lm_eval.models.huggingface as theirs
    def unreachable(**options): raise OSError("We couldn't connect.\nCheck your connection.")
    monkeypatch.setattr(theirs, "HFLM", unreachable)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["nobody/model", "--tasks", str(made[0]/"lastword_sea")]) == 1
    assert "nobody/model: there is no such folder, and the Hugging Face hub gave no model of this name: We couldn't connect.\n" in capsys.readouterr().err


@needs_lm_eval
@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_from_a_swarm_to_scores_by_the_commands_of_the_readme(corpus, made, tmp_path, capsys, monkeypatch):
    "The arguments that make gives to Python, in a place where no Python is, are those of the two commands."
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path/"venv/bin").mkdir(parents=True)
    (tmp_path/"venv/bin/python").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (tmp_path/"venv/bin/python").chmod(0o755)
    def make(*given, **values):
        said = [f"{k}={v}" for k, v in values.items()]
        return subprocess.run(["make", "-s", *given, f"VENV={tmp_path/'venv'}", *said], cwd=ROOT, capture_output=True, text=True, timeout=300)
    config = TrainConfig(model="80K", tokens=2048, context=128, batch=8, evals=1, eval_tokens=128)
    train_swarm(pd.DataFrame([corpus.prior] * 2, ["Human-0", "RegMix-0"]), corpus, tmp_path/"kept", config, [0, 1], n_jobs=1, keep=True, progress=False)
    done = make("export", FROM=tmp_path/"kept", RUN="RegMix-0")
    assert done.returncode == 2 and "make export FROM=swarm RUN=name TO=folder" in done.stderr
    module, *given = make("export", FROM=tmp_path/"kept", RUN="RegMix-0", TO=tmp_path/"model", CORPUS=corpus.folder.parent).stdout.splitlines()[1:]
    assert module == "regmix.training" and export_main(given) == 0
    data = copies(tmp_path/"data")
    (data/"lambada_openai").mkdir()   # in the columns of EleutherAI/lambada_openai
    (data/"lambada_openai/test.jsonl").write_text("".join(json.dumps(dict(text=f"The sea is all of {w}, and what I saw in it was {w}")) + "\n" for w in ("iron", "salt", "gold")))
    module, *given = make("evaluate", MODEL=tmp_path/"model", TASKS=f"{made[0]/'continuation_sea'} sciq lambada_openai", DATA=data, OUT=tmp_path/"out.csv").stdout.splitlines()[1:]
    assert module == "regmix.evaluation" and main(given) == 0
    table = pd.read_csv(tmp_path/"out.csv").set_index(["task", "metric"])
    assert table["n"].groupby("task").first().to_dict() == {"continuation_sea": 20, "sciq": 6, "lambada_openai": 3}
    assert {"continuation_sea", "SciQ", "Lambada"} <= set(capsys.readouterr().out.split())
    alone = evaluate_swarm(*load_weights(tmp_path/"kept", ["RegMix-0"]), corpus, made[0]/"continuation_sea", context=128).set_index(["task", "metric"])
    assert np.allclose(table.loc[alone.index, "value"], alone["value"])   # the model that was asked is the one that was trained
