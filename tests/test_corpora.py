"""Corpora: the same bytes every time, no origin on both sides, nothing lost in silence, nothing half-written."""
import bz2
import gzip
import importlib.metadata
import importlib.util
import json
import lzma
import os
import re
import signal
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tokenizers")

from regmix.corpora import _chunks, build_corpus, is_valid, load_corpus, load_tokenizer, train_tokenizer
from regmix.installed import read_installed
from regmix.text import Document, LowestRanks, chain, domain_files, read_dataset, read_folder, read_pile

ROOT = Path(__file__).parent.parent
needs_datasets = pytest.mark.skipif(not importlib.util.find_spec("datasets"), reason="datasets is not installed")
SMALL = dict(vocab_size=400, context=8, valid_fraction=.3, progress=False)


def documents(n=120, domains=("law", "web")):
    return [Document(d, f"{d} document {i}: " + "the court of appeal heard the case " * (i % 5 + 1), f"{d}:file{i // 3}", f"s{i % 7}.org" if d == "web" and i % 10 else None)
            for d in domains for i in range(n)]


def contents(folder): return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def texts(corpus, domain, split):
    ids, tok = corpus.tokens(domain, split), corpus.tokenizer
    return [tok.decode(part[:-1].tolist(), skip_special_tokens=False) for part in np.split(ids, np.flatnonzero(ids == corpus.eos) + 1)[:-1]]


def jsonl(rows): return "".join(json.dumps(r) + "\n" for r in rows)


# --- the same text, the same bytes ---

BUILD = """
import importlib.metadata as m, sys
from regmix.corpora import build_corpus
from regmix.installed import read_installed
every, few = m.distributions, ("matplotlib", "numpy", "pandas", "scipy", "jupyterlab", "torch", "notebook-shim", "jupyter-server")
m.distributions = lambda: (d for d in every() if d.metadata["Name"].lower().replace("_", "-") in few)   # to list all takes seconds
build_corpus(read_installed(max_bytes_per_domain=40_000), sys.argv[1], name='twice', vocab_size=600, valid_fraction=.2, context=16, progress=False)
"""


def test_two_builds_agree_byte_for_byte(tmp_path):
    for name, extra in (("a", {"PYTHONHASHSEED": "1", "RAYON_NUM_THREADS": "1"}), ("b", {"PYTHONHASHSEED": "2", "TOKENIZERS_PARALLELISM": "true"})):
        subprocess.run([sys.executable, "-c", BUILD, str(tmp_path/name)], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)} | extra, cwd=tmp_path)
    a, b = contents(tmp_path/"a"), contents(tmp_path/"b")
    assert set(a) == set(b) and a == b
    corpus = load_corpus(tmp_path/"a").verify()
    assert len(corpus.domains) >= 12
    assert not re.search(rb"/home/|/root/|site-packages/|" + str(tmp_path).encode(), a["corpus.json"])


# --- tokens lead back to text ---

@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip), min_size=12, max_size=40, unique=True), st.integers(0, 3))
def test_every_text_comes_back(tmp_path_factory, lines, seed):
    folder = tmp_path_factory.mktemp("c")/"c"
    docs = [Document("a", t + "<|endoftext|>", f"{i}") for i, t in enumerate(lines)]
    try: corpus = build_corpus(docs, folder, seed=seed, **{**SMALL, "context": 1})
    except ValueError as e:
        assert "needs" in str(e)
        return
    found = texts(corpus, "a", "train") + texts(corpus, "a", "valid")
    assert sorted(found) == sorted(d.text for d in docs)


def test_manifest_counts_what_the_files_hold(tmp_path):
    docs = documents()
    corpus = build_corpus(docs + docs[:4], tmp_path/"c", **SMALL)
    for d in corpus.domains:
        f = corpus.facts(d)
        for side in ("train", "valid"):
            found = texts(corpus, d, side)
            assert len(found) == f[f"{side}_documents"]
            assert sum(len(t.encode()) for t in found) == f[f"{side}_bytes"]
            assert len(corpus.tokens(d, side)) == f[f"{side}_tokens"]
    assert corpus.facts("law")["duplicates"] == 4
    assert np.isclose(corpus.prior.sum(), 1) and corpus.tokens("law").dtype == np.dtype("<u2")
    rows = corpus.documents("web")
    valid = texts(corpus, "web", "valid")
    assert rows.bytes.tolist() == [len(t.encode()) for t in valid]
    ids = corpus.tokens("web", "valid")
    for (s, n), t in zip(zip(rows.start, rows.length), valid): assert corpus.tokenizer.decode(ids[s:s + n - 1].tolist()) == t


def test_large_vocabularies_take_four_bytes(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    vocab = {"[UNK]": 0, "</s>": 70_000} | {str(i): i for i in range(1, 70_000)}
    tok = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tok.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tok.save(str(tmp_path/"tokenizer.json"))
    docs = [Document("n", " ".join(map(str, range(i, 69_000, 400))), str(i)) for i in range(1, 60)]
    corpus = build_corpus(docs, tmp_path/"c", tokenizer=tmp_path/"tokenizer.json", **SMALL)
    assert corpus.manifest["dtype"] == "<u4" and corpus.eos == 70_000 and corpus.vocab_size == 70_001
    assert corpus.tokens("n").max() == 70_000 and corpus.manifest["tokenizer"]["kind"] == "file"


def test_a_tokenizer_that_truncates_does_not(tmp_path):
    tok = train_tokenizer([d.text for d in documents()], 400)
    tok.enable_truncation(4)
    tok.save(str(tmp_path/"tokenizer.json"))
    corpus = build_corpus(documents(), tmp_path/"c", tokenizer=tmp_path, **SMALL)
    assert sum(f["train_bytes"] + f["valid_bytes"] for f in corpus.manifest["domains"].values()) == sum(len(d.text.encode()) for d in documents())
    assert corpus.documents("web").length.max() > 6


@settings(max_examples=60, deadline=None)
@given(st.text("ab\n", max_size=80), st.integers(1, 20))
def test_chunks_are_the_text(text, size):
    parts = _chunks(text, size)
    assert "".join(parts) == text and all(len(p) <= size for p in parts)


# --- the split ---

def test_no_origin_and_no_text_on_both_sides(tmp_path):
    docs = documents() + [Document("law", d.text, "elsewhere") for d in documents() if d.domain == "web"][:40]
    corpus = build_corpus(docs, tmp_path/"c", **SMALL)
    source = {d.text: d.source for d in docs[::-1]}
    train = {t for d in corpus.domains for t in texts(corpus, d, "train")}
    valid = {t for d in corpus.domains for t in texts(corpus, d, "valid")}
    assert not train & valid
    assert not {source[t] for t in train} & {source[t] for t in valid}


@settings(max_examples=50, deadline=None)
@given(st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=20), st.floats(.01, .99), st.integers(0, 5))
def test_a_larger_share_only_adds(origins, fraction, seed):
    small = {o for o in origins if is_valid(o, fraction / 2, seed)}
    assert small <= {o for o in origins if is_valid(o, fraction, seed)}


def test_adding_text_moves_nothing(tmp_path):
    before = build_corpus(documents(60), tmp_path/"a", **SMALL)
    after = build_corpus(documents(120), tmp_path/"b", **SMALL)
    for d in before.domains: assert set(texts(before, d, "valid")) <= set(texts(after, d, "valid"))


def test_split_by_host_document_and_pattern(tmp_path):
    docs = documents() + [Document("irc", f"line {i} of a chat about nothing", f"logs:{'ab'[i % 2]}/2010-01-{i % 28 + 1:02d}.txt") for i in range(200)]
    corpus = build_corpus(docs, tmp_path/"c", split_by={"web": "host", "irc": re.compile(r"\d{4}-\d\d-\d\d")}, **{**SMALL, "valid_fraction": {"web": .4, "irc": .3}})
    host = {d.text: d.host for d in docs}
    train, valid = ({host[t] for t in texts(corpus, "web", s)} for s in ("train", "valid"))
    assert None in train and None not in valid and not train & valid
    hosts = corpus.hosts("web")
    assert set(hosts.index) == valid and corpus.facts("web")["valid_hosts"] == len(valid)
    assert hosts.tokens.sum() == len(corpus.tokens("web", "valid"))
    day = {d.text: d.source[-14:-4] for d in docs}
    assert not {day[t] for t in texts(corpus, "irc", "train")} & {day[t] for t in texts(corpus, "irc", "valid")}
    assert corpus.manifest["split"]["by"] == {"irc": r"pattern \d{4}-\d\d-\d\d", "web": "host"}
    with pytest.raises(ValueError, match="no validation documents of host"): corpus.tokens_of_host("web", "nowhere.org")
    assert corpus.hosts("law").empty


# --- folders: what is read, what is refused ---

def folder(tmp_path):
    f = tmp_path/"f"
    (f/"books"/"part").mkdir(parents=True)
    for i in range(30): (f/"books"/"part"/f"b{i}.txt").write_text(f"Chapter {i}. It was the best of times, it was the worst of times.")
    (f/"law-1.jsonl").write_text(jsonl({"text": f"Case {i}: dismissed with costs, as before."} for i in range(30)))
    with gzip.open(f/"law-2.jsonl.gz", "wt") as g: g.write(jsonl({"text": f"Case {i}: allowed with costs, as before."} for i in range(30)))
    return f


def test_formats(tmp_path):
    import pandas as pd
    f = folder(tmp_path)
    pd.DataFrame({"text": ["a page", "two pages"], "url_host": ["www.a.org", None], "url_site": [None, "b.org"], "other": 1}).to_parquet(f/"web.parquet")
    if importlib.util.find_spec("zstandard"):
        import zstandard
        half = [zstandard.compress(jsonl([{"text": f"packed {i}"}]).encode()) for i in range(2)]
        (f/"zip-0.jsonl.zst").write_bytes(b"".join(half))
    found = Counter(d.domain for d in read_folder(f))
    assert found["books"] == 30 and found["law"] == 60 and found["web"] == 2 and found.get("zip", 2) == 2
    assert [d.host for d in read_folder(f, domains=["web"])] == ["www.a.org", "b.org"]
    corpus = build_corpus(read_folder(f, domains=["books", "law"]), tmp_path/"c", **SMALL)
    assert corpus.domains == ["books", "law"]
    assert corpus.manifest["source"] == {"kind": "folder", "folder": "f", "files": 32}


def test_a_hyphen_alone_cuts_nothing(tmp_path):
    for n in ("pile-cc-0001.jsonl", "pile-cc-0002.jsonl", "pile-0.jsonl"): (tmp_path/n).write_text(jsonl([{"text": n}]))
    assert {d: len(f) for d, f in domain_files(tmp_path).items()} == {"pile": 1, "pile-cc": 2}
    assert {d: len(f) for d, f in domain_files(tmp_path, ["pile", "pile-cc"]).items()} == {"pile": 1, "pile-cc": 2}


def test_bad_lines_are_counted_and_located(tmp_path):
    f = folder(tmp_path)
    with open(f/"law-1.jsonl", "ab") as g: g.write(b'{"text": "cut o\n{"text": "caf\xe9"}\n\n{"title": "x"}\n{"text": 3}\n{"text": "  "}\n{"text": "\\ud800"}\n[1]\n')
    (f/"books"/"latin.txt").write_bytes(b"one\ntw\xf6\n")
    with pytest.warns(UserWarning, match="8 rows or files were not read: books/latin.txt, line 2: invalid UTF-8 at byte 6"):
        corpus = build_corpus(read_folder(f), tmp_path/"c", **SMALL)
    assert [corpus.facts(d)["bad_lines"] for d in ("books", "law")] == [1, 7]
    assert any("law-1.jsonl, line 31: broken JSON" in p for p in corpus.manifest["problems"])
    assert any("line 34: no field 'text'" in p for p in corpus.manifest["problems"])
    assert corpus.facts("law")["train_documents"] + corpus.facts("law")["valid_documents"] == 60
    with pytest.raises(ValueError, match="books/latin.txt, line 2: invalid UTF-8"): build_corpus(read_folder(f, strict=True), tmp_path/"d", **SMALL)


def test_a_byte_order_mark_is_no_problem(tmp_path):
    (tmp_path/"a.jsonl").write_text(jsonl([{"text": "first"}]), encoding="utf-8-sig")
    reader = read_folder(tmp_path, strict=True)
    assert [d.text for d in reader] == ["first"]


@pytest.mark.parametrize("spoil, message", [
    (lambda f: (f/"empty.jsonl").write_text(""), "domain 'empty' is empty (0 bad lines, 0 duplicates)"),
    (lambda f: (f/"one.jsonl").write_text(jsonl([{"text": "alone"}])), "domain 'one' has one document"),
    (lambda f: (f/"one.jsonl").write_text(jsonl([{"text": "alone"}] * 9)), "domain 'one' has 9 documents, 8 of them copies, and what is left is one document"),
    (lambda f: (f/"twin.jsonl").write_text((f/"law-1.jsonl").read_text()), "domain 'twin' is empty (0 bad lines, 30 documents, all of them copies)"),
    (lambda f: (f/"cut.json").write_text('[{"text": "a"}, {"te'), "cut.json: broken JSON"),
    (lambda f: (f/"short.parquet").write_bytes(b"PAR1"), "short.parquet: damaged"),
    (lambda f: (f/"cut.jsonl.xz").write_bytes(lzma.compress(b'{"text": "a"}\n' * 99)[:-9]), "cut.jsonl.xz: damaged after line"),
    (lambda f: (f/"books"/"b.txt.bz2").write_bytes(bz2.compress(b"a book\n" * 99)[:-9]), "books/b.txt.bz2: damaged after line"),
    (lambda f: (f/"books"/"none.gz").write_bytes(b""), "books/none.gz: damaged (it is empty)"),
    (lambda f: (f/"books"/"no.gz").write_bytes(b"plain text"), "books/no.gz: damaged after line"),
    (lambda f: (f/"bad.jsonl").write_text("{\n" * 3), "domain 'bad' is empty (3 bad lines"),
    (lambda f: (f/"no-0.jsonl").write_text(jsonl([{"body": "x"}])), "no-0.jsonl: the first line has no field 'text', only 'body'"),
    (lambda f: (f/"two words.jsonl").write_text(""), "'two words' cannot name a domain"),
    (lambda f: (f/"books.jsonl").write_text(""), "domain 'books' is both a subfolder and a file"),
    (lambda f: (f/"Law.jsonl").write_text(""), "'Law' and 'law' differ only in upper and lower case"),
    (lambda f: (f/"cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 99)[:-9]), "cut.jsonl.gz: damaged after line"),
])
def test_bad_folders(tmp_path, spoil, message):
    f = folder(tmp_path)
    spoil(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=re.escape(message)): build_corpus(read_folder(f), tmp_path/"c", **SMALL)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f"]


def test_folder_without_files(tmp_path):
    (tmp_path/"notes.doc").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"no files of any domain; wanted are .* there is notes.doc; 1 file not read \(of no known ending"): read_folder(tmp_path)


# --- the hub's format ---

@needs_datasets
@pytest.mark.parametrize("packed", [False, True])
def test_pile_from_files_in_the_hubs_format(tmp_path, packed):
    data = jsonl({"text": f"{s} number {i}", "meta": {"pile_set_name": s}} for i in range(40) for s in ("Pile-CC", "Wikipedia (en)", "Github", "YoutubeSubtitles")).encode()
    if packed:
        zstandard = pytest.importorskip("zstandard")
        data = zstandard.compress(data)
    path = tmp_path/("00.jsonl.zst" if packed else "00.jsonl")
    path.write_bytes(data)
    reader = read_pile(data_files=path)
    assert Counter(d.domain for d in reader) == {"pile_cc": 40, "wikipedia_en": 40, "github": 40}
    assert reader.problems.left_out == {"YoutubeSubtitles": 40}
    assert Counter(d.domain for d in read_pile(data_files=[path], domains=["github"], max_documents_per_domain=3)) == {"github": 3}
    some = read_pile(data_files=path, max_bytes_per_domain=100)
    assert all(100 <= n < 130 for n in Counter({d: sum(len(x.text) for x in some if x.domain == d) for d in ("pile_cc", "github")}).values())
    corpus = build_corpus(reader, tmp_path/"c", **SMALL)
    assert corpus.domains == ["github", "pile_cc", "wikipedia_en"] and corpus.manifest["left_out"] == {"YoutubeSubtitles": 40}


@needs_datasets
def test_any_dataset_with_a_column_for_the_domain(tmp_path):
    path = str(tmp_path/"d.jsonl")
    Path(path).write_text(jsonl({"body": f"text {i}", "topic": ["Court Opinions", "Pile-CC"][i % 2], "source": f"s{i}"} for i in range(10)))
    found = list(read_dataset("json", "topic", text_column="body", data_files=path))
    assert {d.domain for d in found} == {"court_opinions", "pile_cc"} and found[3].source == "s3"
    with pytest.raises(ValueError, match="there is no column 'domain'; the columns are body, topic, source"): list(read_dataset("json", "domain", data_files=path))
    Path(path).write_text(jsonl({"doc": {"body": f"{i}"}, "meta": {"set": "ab"[i % 2]}} for i in range(6)))
    assert Counter(d.domain for d in read_dataset("json", "meta.set", text_column="doc.body", data_files=path)) == {"a": 3, "b": 3}
    Path(path).write_text(jsonl({"text": "x", "topic": t} for t in ("a b", "a-b")))
    with pytest.raises(ValueError, match="'a b' and 'a-b' would both be the domain 'a_b'"): list(read_dataset("json", "topic", data_files=path))


@needs_datasets
def test_offline_says_what_to_do(tmp_path):
    code = "from regmix.text import read_pile\ntry: next(iter(read_pile()))\nexcept ConnectionError as e: print(e)"
    env = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120).stdout
    assert "the Pile cannot be read" in out and "data_files=" in out and "read_installed" in out


def test_a_tokenizer_from_the_hub_offline_says_what_to_do(monkeypatch, tmp_path):
    import tokenizers
    class Offline:
        @staticmethod
        def from_pretrained(name): raise RuntimeError("no network")
    monkeypatch.setattr(tokenizers, "Tokenizer", Offline)
    with pytest.raises(ConnectionError, match="'EleutherAI/gpt-neox-20b' cannot be had from the hub.*tokenizer='bpe'"): load_tokenizer("EleutherAI/gpt-neox-20b")


# --- readers ---

@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 50)), min_size=1, max_size=40, unique_by=lambda x: x[0]), st.integers(1, 300), st.randoms())
def test_a_cap_does_not_depend_on_the_order(items, budget, random):
    def kept(order):
        lowest = LowestRanks(budget)
        for rank, size in order: lowest.add("a", rank, size, rank)
        return lowest.items("a")
    shuffled = list(items)
    random.shuffle(shuffled)
    a = kept(items)
    assert a == kept(shuffled) and a == sorted(r for r, _ in items)[:len(a)]
    size = dict(items)
    assert len(a) == 1 or sum(size[r] for r in a) <= budget


def test_chain_rename_and_caps_keep_problems(tmp_path):
    (tmp_path/"a.jsonl").write_text("{\n" + jsonl([{"text": f"text {i}"} for i in range(50)]))
    reader = chain(read_folder(tmp_path).rename({"a": "x"}), read_folder(tmp_path).as_domain("y", max_bytes=100))
    found = Counter(d.domain for d in reader)
    assert found["x"] == 50 and 10 <= found["y"] <= 14
    assert reader.problems.count == {"x": 1, "y": 1} and reader.problems.where["y"] == reader.problems.where["x"]
    assert reader.facts["parts"][1]["as_domain"] == "y"
    assert list(reader) == list(reader)


def test_documents_that_can_be_read_once_only(tmp_path):
    with pytest.raises(ValueError, match="can be read only once"): build_corpus(iter(documents()), tmp_path/"c", **SMALL)
    a = build_corpus(lambda: iter(documents()), tmp_path/"a", **SMALL)
    assert build_corpus(documents(), tmp_path/"b", **SMALL).digest == a.digest
    with pytest.raises(ValueError, match="document 1 is a str"): build_corpus(["text"], tmp_path/"c", **SMALL)


# --- destinations: whole or nothing ---

def test_taken_destinations(tmp_path):
    corpus = build_corpus(documents(), tmp_path/"c", **SMALL)
    with pytest.raises(FileExistsError, match="overwrite=True"): build_corpus(documents(), tmp_path/"c", **SMALL)
    other = build_corpus(documents(), tmp_path/"c", overwrite=True, seed=1, **SMALL)
    assert load_corpus(tmp_path/"c").digest == other.digest != corpus.digest
    (tmp_path/"mine").mkdir()
    (tmp_path/"mine"/"thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match="no corpus"): build_corpus(documents(), tmp_path/"mine", overwrite=True, **SMALL)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "mine"] and (tmp_path/"mine"/"thesis.tex").exists()


def test_a_failed_build_keeps_the_old_corpus(tmp_path):
    corpus = build_corpus(documents(), tmp_path/"c", **SMALL)
    def broken():
        yield from documents()
        raise OSError("disk full")
    with pytest.raises(OSError, match="disk full"): build_corpus(broken, tmp_path/"c", overwrite=True, **SMALL)
    assert load_corpus(tmp_path/"c").verify().digest == corpus.digest
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


KILLED = """
import os, signal, sys
from regmix.corpora import build_corpus
from regmix.text import Document
passes = []
def documents():
    passes.append(1)
    for i in range(9000):
        if i == 8000 and len(passes) == 2: os.kill(os.getpid(), signal.SIGKILL)
        yield Document('a', f'{i} ' + 'words and words ' * 5, str(i))
build_corpus(documents, sys.argv[1], vocab_size=300, context=8, progress=False)
"""


def test_a_killed_build_leaves_no_corpus_and_is_cleared_by_the_next(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path/"c")], env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL
    left = [p.name for p in tmp_path.iterdir()]
    assert len(left) == 1 and left[0].startswith(".c.new-") and (tmp_path/left[0]/"train"/"a.bin").stat().st_size > 0
    (tmp_path/".c.notes").mkdir()
    build_corpus(documents(), tmp_path/"c", **SMALL)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".c.notes", "c"]


@pytest.mark.parametrize("host", ["plain", "my-host-3.lan-7", "new-old"])
def test_what_a_dead_build_left_is_cleared_whatever_the_machine_is_called(tmp_path, monkeypatch, host):
    from regmix import files
    monkeypatch.setattr(files.platform, "node", lambda: host)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for kind, process in (("new", dead.pid), ("new", os.getppid())):
        (tmp_path/f".c.{kind}-{host}-{process}-1"/"train").mkdir(parents=True)
    build_corpus(documents(), tmp_path/"c", **SMALL)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".c.new-{host}-{os.getppid()}-1", "c"]


@pytest.mark.parametrize("file", ["train/law.bin", "valid/web.bin", "tokenizer.json", "valid/web.docs.parquet", "corpus.json"])
def test_damage_is_found_by_file(tmp_path, file):
    build_corpus(documents(), tmp_path/"c", **SMALL)
    path = tmp_path/"c"/file
    if file == "corpus.json": path.write_text(path.read_text().replace('"eos": 0', '"eos": 1'))
    elif file.endswith("parquet"):
        import pyarrow.parquet as pq
        t = pq.read_table(path)
        pq.write_table(t.slice(0, len(t) - 1), path)
    else:
        data = bytearray(path.read_bytes())
        data[30] ^= 1
        path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(file)): load_corpus(tmp_path/"c").verify()
    path.unlink()
    with pytest.raises((ValueError, FileNotFoundError)): load_corpus(tmp_path/"c").verify()


def test_missing_and_foreign_corpora(tmp_path):
    with pytest.raises(FileNotFoundError, match="no corpus.json"): load_corpus(tmp_path)
    (tmp_path/"corpus.json").write_text("{")
    with pytest.raises(ValueError, match="broken JSON"): load_corpus(tmp_path)
    (tmp_path/"corpus.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 99; this version reads format 1"): load_corpus(tmp_path)


# --- installed ---

def test_installed_keeps_out_the_project_and_what_was_installed_in_place():
    reader = read_installed(max_bytes_per_domain=50_000)
    documents = list(reader)
    sources = [d.source for d in documents]
    assert not any(re.match(r"(regmix|pip):|.*__pycache__|.*_sysconfigdata", s) for s in sources)
    assert {s.partition(":")[0] for s in sources} == set(reader.facts["packages"])
    for n, v in reader.facts["packages"].items():
        if n != "python": assert importlib.metadata.version(n) == v
    sizes = Counter()
    for d in documents: sizes[d.domain] += len(d.text.encode())
    assert max(sizes.values()) <= 50_000 and len(sizes) >= 12


def test_installed_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="by = 'colour'"): read_installed(by="colour")
    with pytest.raises(ValueError, match="there is no domain 'cobol' by language"): read_installed(by="language", domains=["cobol"])


def test_code_without_docstrings_still_compiles_mostly():
    import ast
    docs = list(read_installed(max_bytes_per_domain=300_000, max_chars_per_file=10 ** 6, domains=["python"]))
    ok = 0
    for d in docs:
        try: ast.parse(d.text); ok += 1
        except (SyntaxError, IndentationError): pass
    assert ok > .7 * len(docs), "classes that hold only a docstring lose their body; hardly anything else should break"
