"""Folders as people have them: every file is read or named, names are plain, and the held-out split never fails by chance."""
import bz2
import gzip
import json
import lzma
import os
import random
import re
import subprocess
import sys
import tempfile
import unicodedata
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tokenizers")

from regmix import text as text_module
from regmix.corpora import _encode, build_corpus, is_valid, open_corpus, origin_of, train_tokenizer
from regmix.text import Document, domain_files, domain_of_stem, read_folder

WORDS = "and all that was said of it in the court that year and the next "
SMALL = dict(vocab_size=300, context=8, progress=False)


def jsonl(rows): return "".join(json.dumps(r) + "\n" for r in rows).encode()


def texts_of(reader): return Counter(d.domain for d in reader)


def built(documents, folder, **options):
    "A corpus, and what it warned of."
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return build_corpus(documents, folder, **{**SMALL, **options}), [str(w.message) for w in told]


# --- every file is read, or named with the reason ---

PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": None}


def pack(data, ending):
    if ending == ".zst": return pytest.importorskip("zstandard").compress(data)
    return PACK[ending](data)


ROWS = [{"text": f"row {i}, of which\nmore is said", "source": f"s{i}"} for i in range(4)]
KINDS = {".jsonl": jsonl(ROWS), ".ndjson": jsonl(ROWS), ".json": json.dumps(ROWS, indent=1).encode(), ".JSON": jsonl(ROWS),
         ".csv": pd.DataFrame(ROWS).to_csv(index=False).encode(), ".tsv": pd.DataFrame(ROWS).to_csv(index=False, sep="\t").encode()}


@pytest.mark.parametrize("packed", PACK)
def test_every_kind_of_rows_is_read_packed_or_not_and_in_upper_case(tmp_path, packed):
    for i, (ending, data) in enumerate(KINDS.items()):
        name = f"k{i}-00{ending}{packed}"
        (tmp_path/(name.upper() if i % 2 else name)).write_bytes(pack(data, packed))
    (tmp_path/"plain").mkdir()
    for name in ("a.txt", "b.md", "c.py", "COPYING", "changelog.Debian"): (tmp_path/"plain"/(name + packed)).write_bytes(pack(b"A text.", packed))
    reader = read_folder(tmp_path)
    found = list(reader)
    assert sorted(Counter(d.domain.lower() for d in found).values()) == [4] * len(KINDS) + [5]
    assert reader.problems.notes == [] and not sum(reader.problems.count.values())
    assert Counter(d.text for d in found if d.domain != "plain") == {r["text"]: len(KINDS) for r in ROWS}


def test_what_is_not_read_is_named_with_the_reason(tmp_path):
    for name, data in {"web.jsonl": jsonl(ROWS), "README.md": b"About.", "manifest.json": b"{}", "SHA256SUMS": b"0", "notes.doc": b"?", ".hidden": b"x", "sources.csv": b"id,size\n1,2\n",
                       "law/a.txt": b"A case.", "law/a.pyc": b"\0\1", "law/b.pyc": b"\0\1", "law/empty.h": b"", "law/.git/config": b"x", "law/a.txt.md5": b"0", "law/side.json": b'{"n": 1}'}.items():
        path = tmp_path/name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path/"law"/"more").symlink_to(tmp_path)
    (tmp_path/"law"/"gone.txt").symlink_to(tmp_path/"nowhere")
    (tmp_path/"news").mkdir()
    reader = read_folder(tmp_path)
    assert texts_of(reader) == {"web": 4, "law": 1}
    notes = "\n".join(reader.problems.notes)
    for name in ("README.md", "manifest.json", "notes.doc", "law/empty.h", "law/more", "law/gone.txt", "sources.csv", "law/side.json"): assert name in notes, name
    for line in ("2 files not read (binary): law/a.pyc, law/b.pyc", "2 files not read (hidden)", "2 files not read (checksums)", "1 file not read (empty): law/empty.h",
                 "it has no field 'text' but 'id', 'size'", "(a folder without files): news"): assert line in notes, line
    read = {f.name for files in domain_files(tmp_path).values() for f in files}
    every = {p.name for p in tmp_path.rglob("*") if not p.is_dir() or p.is_symlink()}
    assert every == read | {n for n in every if n in notes} | {".hidden", "config", "SHA256SUMS", "a.txt.md5"}


@pytest.mark.parametrize("ending", [".jsonl.zst", ".json.gz", ".csv.bz2", ".txt.xz", ".c.zst"])
@pytest.mark.parametrize("keep", [.5, .98])
def test_an_archive_that_was_cut_is_refused_by_name(tmp_path, ending, keep):
    random.seed(0)
    rows = [{"text": " ".join(str(random.random()) for _ in range(30))} for _ in range(150)]
    data = {"jsonl": jsonl(rows), "json": json.dumps(rows).encode(), "csv": pd.DataFrame(rows).to_csv().encode()}.get(ending.split(".")[1], jsonl(rows))
    whole = pack(data, "." + ending.split(".")[-1])
    (tmp_path/"web").mkdir()
    (tmp_path/"web"/f"a{ending}").write_bytes(whole[:int(len(whole) * keep)])
    with pytest.raises(ValueError, match=re.escape(f"web/a{ending}: damaged")): list(read_folder(tmp_path))


# --- what cannot be opened ---

@contextmanager
def as_nobody():
    "A folder, and the rights of a user who is not root."
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o755)
        root = os.geteuid() == 0
        def drop():
            if root: os.seteuid(65534)
        try: yield Path(home), drop
        finally:
            if root: os.seteuid(0)
            for path in Path(home).rglob("*"):
                if not path.is_symlink(): path.chmod(0o755)


def two(folder):
    for d in ("law", "code"): (folder/f"{d}.jsonl").write_bytes(jsonl({"text": f"{d} {i} {WORDS}"} for i in range(9)))


@pytest.mark.parametrize("path, closed, message", [
    ("web/a.txt", "web", "web: the folder cannot be read (Permission denied)"),
    ("web/b/a.txt", "web/b", "web/b: the folder cannot be read (Permission denied)"),
    ("web.jsonl", "web.jsonl", "web.jsonl: no permission, and nothing else of the domain 'web' can be read"),
    ("web/a.jsonl", "web/a.jsonl", "web/a.jsonl: no permission: mend it"),
    ("web/.git/x", "web/.git", None), ("web/a.txt", "web/a.txt", None)])
def test_without_permission_a_folder_rows_or_a_domain_is_refused_and_a_text_is_named(path, closed, message):
    with as_nobody() as (home, drop):
        two(home)
        assert texts_of(read_folder(home)) == {"law": 9, "code": 9}   # imports what reading needs while root may
        (home/path).parent.mkdir(parents=True, exist_ok=True)
        (home/path).write_bytes(jsonl(ROWS))
        if path.count("/"): (home/"web"/"other.txt").write_text("A page.")
        (home/closed).chmod(0)
        drop()
        if message:
            with pytest.raises(ValueError, match=re.escape(message)): read_folder(home)
            assert sorted(read_folder(home, domains=["law"]).facts) if path == "web.jsonl" else True
        else:
            reader = read_folder(home)
            assert texts_of(reader) == {"law": 9, "code": 9, "web": 1}
            assert closed in "".join(reader.problems.notes)


ODD = {"a link to nothing": lambda p: p.symlink_to("nowhere"), "a link to itself": lambda p: p.symlink_to(p.name), "a pipe, socket or device": os.mkfifo,
       "a link to a folder": lambda p: p.symlink_to("..")}


@pytest.mark.parametrize("why", ODD)
@pytest.mark.parametrize("name", ["web", "web.jsonl", "web/a.jsonl", "web/a.txt", "web/a"])
def test_a_domain_of_odd_files_is_refused_and_one_odd_text_is_named(tmp_path, why, name):
    if why == "a link to a folder" and "/" not in name: pytest.skip("is read")
    two(tmp_path)
    (tmp_path/name).parent.mkdir(exist_ok=True)
    ODD[why](tmp_path/name)
    with pytest.raises(ValueError, match=f"^{name}: {why}, and nothing else of the domain 'web' can be read: mend it, or move it"): read_folder(tmp_path)
    assert texts_of(read_folder(tmp_path, domains=["law"])) == {"law": 9}
    if "/" not in name: return
    (tmp_path/"web"/"b.txt").write_text("A page.")
    if name.endswith("jsonl"):
        with pytest.raises(ValueError, match=f"^{name}: {why}: mend it"): read_folder(tmp_path)
    else: assert f"1 file not read ({why}): {name}" in "".join(told(read_folder(tmp_path)))


def told(reader):
    "The notes of a reader."
    list(reader)
    return reader.problems.notes


def test_an_archive_is_named_or_refused_where_it_is_all_there_is(tmp_path):
    two(tmp_path)
    for name in ("web.zip", "web/a.tar.gz", "web/b.jsonl.lz4"):
        (tmp_path/"web").mkdir(exist_ok=True)
        (tmp_path/name).write_bytes(b"PK\0\1")
        with pytest.raises(ValueError, match=f"^{name}: an archive, to be unpacked first, and nothing else of the domain 'web'"): read_folder(tmp_path)
        (tmp_path/"web"/"a.txt").write_text("A page.")
        assert name in "".join(told(read_folder(tmp_path)))
        (tmp_path/name).unlink()
        (tmp_path/"web"/"a.txt").unlink()


# --- names at the door ---

@pytest.mark.parametrize("name", ["pile_cc", "c++", "C#", "médecine", "法律", r"$\frac{1$", "x" * 150])
def test_any_one_word_names_a_domain_all_the_way(tmp_path, name):
    two(tmp_path)
    (tmp_path/name).mkdir()
    (tmp_path/name/"a.jsonl").write_bytes(jsonl({"text": f"{i} {WORDS}"} for i in range(40)))
    corpus, _ = built(read_folder(tmp_path), tmp_path/"c"/"c")
    assert name in corpus.domains and corpus.verify().facts(name)["train_documents"] >= 30
    assert len(corpus.tokens(name)) and len(corpus.documents(name)) and [p.name for p in (tmp_path/"c").iterdir()] == ["c"]


@pytest.mark.parametrize("name", ["..", ".web", "a b", "a\nb", "a\x07b", "a\u202eb", "a/b", "a=b", "*", "", "x" * 300, "法" * 60, "\ud800", 3, None])
def test_other_names_are_refused_in_one_sentence(tmp_path, name):
    with pytest.raises(ValueError, match="cannot name a domain: use one word") as e: built([Document(name, "A page.")] * 3, tmp_path/"c")
    assert len(str(e.value)) < 300 and str(e.value).isprintable()
    assert not list(tmp_path.iterdir())


def test_names_from_fields_are_checked_and_named_by_line(tmp_path):
    (tmp_path/"a.jsonl").write_bytes(jsonl([{"text": "x", "set": "web"}, {"text": "y", "set": "w" * 300}]))
    with pytest.raises(ValueError, match="a.jsonl, line 2: 'www.* cannot name a domain"): list(read_folder(tmp_path, domain_field="set"))
    (tmp_path/"a.jsonl").write_bytes(jsonl([{"text": "x", "set": "法律"}, {"text": "y", "set": "新闻 A"}]))
    assert texts_of(read_folder(tmp_path, domain_field="set")) == {"法律": 1, "新闻_a": 1}


def test_names_that_look_alike_are_refused(tmp_path):
    for form in ("NFC", "NFD"): (tmp_path/unicodedata.normalize(form, "é.jsonl")).write_bytes(jsonl(ROWS))
    if len(list(tmp_path.iterdir())) == 2:
        with pytest.raises(ValueError, match="look alike and differ in their bytes: rename one"): read_folder(tmp_path)


def test_names_that_are_not_in_utf8_are_written_with_escapes(tmp_path):
    two(tmp_path)
    os.mkdir(os.fsencode(tmp_path) + b"/web")
    try:
        for i in range(20): Path(os.fsdecode(os.fsencode(tmp_path) + b"/web/caf\xe9%d.txt" % i)).write_text(f"{i} {WORDS}")
    except OSError: pytest.skip("this disk has names in UTF-8 only")
    (tmp_path/"web"/os.fsdecode(b"\xff.bin")).write_bytes(b"\0\1")
    (tmp_path/"code.jsonl").write_bytes(jsonl({"text": f"page {i} {WORDS}", "source": "\ud800", "url_site": "\udfff"} for i in range(20)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        corpus = open_corpus(tmp_path, tmp_path.parent/f"{tmp_path.name}-c", **SMALL)
    assert any(r"web/\udcff.bin" in str(w.message) for w in told)
    assert corpus.facts("web")["valid_documents"] + corpus.facts("web")["train_documents"] == 20


# --- long texts, in bounded memory ---

@pytest.fixture
def short(monkeypatch):
    "Limits that a test can reach."
    for name, n in (("LONGEST", 8000), ("PIECE", 250), ("LINE", 32000)): monkeypatch.setattr(text_module, name, n)
    monkeypatch.setattr(text_module._pieces, "__defaults__", (250,))


LONG = " ".join(f"wörd{i}" for i in range(2000))   # 19 KB
SPREAD = " ".join(f"漢\\{i}\"\n" for i in range(4000))  # more than a line that is held


@pytest.mark.parametrize("name, write", [
    ("web.txt", lambda t: t.encode()), ("web.jsonl", lambda t: jsonl([{"id": 1, "text": t, "n": 2}])), ("web.json", lambda t: json.dumps([{"text": t}]).encode()),
    ("web.csv", lambda t: pd.DataFrame({"text": [t]}).to_csv().encode()), ("web.parquet", None), ("web.jsonl.gz", lambda t: gzip.compress(jsonl([{"text": t}])))])
def test_a_long_document_is_read_in_pieces_and_says_so(tmp_path, short, name, write):
    if write: (tmp_path/name).write_bytes(write(LONG))
    else: pd.DataFrame({"text": [LONG]}).to_parquet(tmp_path/name)
    reader = read_folder(tmp_path)
    found = list(reader)
    assert "".join(d.text for d in found) == LONG and len(found) > 60 and max(len(d.text) for d in found) <= 250
    assert all(d.text.startswith("wörd") for d in found) and len({d.source for d in found}) == 1 and found[0].source
    assert reader.problems.long == [f"{name}, {'line' if 'jsonl' in name or 'txt' in name else 'row'} 1"] and not sum(reader.problems.count.values())


@pytest.mark.parametrize("ascii", [True, False])
def test_a_line_that_is_too_long_to_be_held_is_read_in_pieces(tmp_path, short, ascii):
    row = json.dumps({"doc": {"n": 1, "body": SPREAD}, "url_site": "a.org"}, ensure_ascii=ascii)
    after = {"doc": {"body": "a page"}}
    (tmp_path/"web.jsonl").write_text("\n".join([json.dumps(after), row, json.dumps(after)]))
    reader = read_folder(tmp_path, text_field="doc.body")
    first, *pieces, last = reader
    assert first.text == last.text == "a page" and "".join(d.text for d in pieces) == SPREAD
    assert reader.problems.long == ["web.jsonl, line 2"] and {d.source for d in pieces} == {"web.jsonl, line 2"}
    corpus, told = built(reader, tmp_path.parent/f"{tmp_path.name}-c")
    assert "1 document of more than 0 MB was read in pieces, each of which is a document of its own: web.jsonl, line 2" in told
    assert max(len(d.text.encode()) for d in read_folder(tmp_path, text_field="doc.body").capped(500)) <= 500


@pytest.mark.parametrize("line", ['{"text": "a page", "html": "%s"}', '{"text": "a \\x %s"}', '{"text": "%s \\ud800"}', '{"te%s', '["%s"]', '%s'])
def test_a_long_line_that_is_no_document_is_one_bad_line(tmp_path, short, line):
    (tmp_path/"web.jsonl").write_text(line % ("x" * 40_000) + '\n{"text": "a page"}\n')
    reader = read_folder(tmp_path)
    assert [d.text for d in reader][-1] == "a page"
    assert reader.problems.count == {"web": 1} and reader.problems.where["web"][0].startswith("web.jsonl, line 1: ")


def test_a_row_of_json_or_a_line_of_a_table_that_is_too_long_is_refused_with_a_remedy(tmp_path, short):
    (tmp_path/"web.json").write_text('[{"text":\n"' + "x" * 70_000 + '"}]')
    with pytest.raises(ValueError, match="web.json: a row of more than 0 MB: write it as a line of .jsonl"): list(read_folder(tmp_path))
    (tmp_path/"web.json").rename(tmp_path/"web.csv")
    (tmp_path/"web.csv").write_text("text\n" + "x" * 70_000)
    with pytest.raises(ValueError, match="web.csv: a line of more than 0 MB: cut its text into rows"): list(read_folder(tmp_path))


@pytest.mark.parametrize("ending", [".jsonl.gz", ".txt.bz2", ".csv.xz", ".json.zst"])
def test_what_grows_as_no_text_does_is_refused(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(text_module, "HARMLESS", 50_000)
    (tmp_path/f"web{ending}").write_bytes(pack(b"{\"text\": \"" + b"a" * 3_000_000, "." + ending.split(".")[-1]))
    with pytest.raises(ValueError, match=f"web{ending}: unpacks to more than 250 times its size, which no text does: .*unpack it yourself"): list(read_folder(tmp_path))
    (tmp_path/f"web{ending}").unlink()
    pd.DataFrame({"text": ["some words " * 900] * 600}).to_parquet(tmp_path/"web.parquet")
    with pytest.raises(ValueError, match="web.parquet: unpacks to more than 250 times its size"): list(read_folder(tmp_path))
    (tmp_path/"web.parquet").unlink()
    logs = "".join(f"{i} GET /index.html 200\n" for i in range(30_000)).encode()
    (tmp_path/"web.txt.bz2").write_bytes(bz2.compress(logs))
    assert len(list(read_folder(tmp_path))) == 1


MEMORY = """
import resource, sys
from regmix.text import read_folder
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, n = peak(), sum(len(d.text) for d in read_folder(sys.argv[1]))
print(n, peak() - before)
"""


def test_a_line_of_80_mb_takes_little_memory(tmp_path):
    "Whole, it would take its bytes, its text and the row's text: 240 MB."
    with open(tmp_path/"web.jsonl", "w") as f:
        f.write('{"text": "')
        for i in range(80): f.write("some words " * 90_909)
        f.write('"}\n')
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}, capture_output=True, text=True)
    n, grown = map(float, done.stdout.split())
    assert n == 80 * 90_909 * 11 and grown < 150, done


def test_tokens_do_not_hang_on_how_many_are_cut_at_once():
    texts = [f"{i} {WORDS * (i % 7)}\n" * (400 if i % 9 == 0 else 1) for i in range(40)] + ["a word " * 90_000]
    tok = train_tokenizer(texts[1:9], 300)
    for text, ids in zip(texts, _encode(tok, texts, 0)):
        assert tok.decode(ids[:-1]) == text and ids[-1] == 0
        if len(text) < 1 << 18: assert ids[:-1].tolist() == tok.encode(text).ids


# --- rows as people write them ---

def test_a_line_that_is_nested_too_deeply_is_one_bad_line(tmp_path):
    deep = '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}"
    (tmp_path/"web.jsonl").write_text(f'{{"text": "a page"}}\n{deep}\n{{"text": "another"}}\n')
    reader = read_folder(tmp_path)
    assert texts_of(reader) == {"web": 2} and reader.problems.where == {"web": ["web.jsonl, line 2: nested too deeply"]}
    (tmp_path/"web.jsonl").write_text(json.dumps({"text": "x", "meta": '{"set": ' * 99_999}) + "\n")
    assert texts_of(read_folder(tmp_path)) == {"web": 1}
    (tmp_path/"web.jsonl").rename(tmp_path/"web.json")
    (tmp_path/"web.json").write_text(f'[{{"text": "a page"}},\n{deep}]')
    with pytest.raises(ValueError, match="web.json: row 2: nested too deeply"): list(read_folder(tmp_path))


def test_rows_that_no_line_parts_are_read(tmp_path):
    for i, end in enumerate(("", "\r", " ", ", ")): (tmp_path/f"web-{i}.jsonl").write_bytes(end.join(json.dumps({"text": f"{i} {k}"}) for k in range(5)).encode())
    assert texts_of(read_folder(tmp_path, strict=True)) == {"web": 20}


def test_files_that_hold_nothing_are_named_and_a_domain_of_them_is_refused(tmp_path):
    for name, data in {"web-0.jsonl": jsonl(ROWS), "web-1.jsonl": b"", "web-2.json": b"[]", "web-3.csv": b"text\n", "web-4.jsonl.gz": gzip.compress(b"\n\n")}.items(): (tmp_path/name).write_bytes(data)
    reader = read_folder(tmp_path)
    assert texts_of(reader) == {"web": 4} and sorted(reader.problems.empty) == ["web-1.jsonl", "web-2.json", "web-3.csv", "web-4.jsonl.gz"]
    (tmp_path/"law.jsonl").write_bytes(jsonl({"text": f"{i} {WORDS}"} for i in range(40)))
    with pytest.raises(ValueError, match="domain 'news' is empty"): built(read_folder((tmp_path/"news.json").write_bytes(b"[]") and tmp_path), tmp_path/"c")


def test_tables_lose_no_cell_in_silence(tmp_path):
    (tmp_path/"web.csv").write_text('id,text\n1,one, two\n2,"three" four\n3,"five\nsix" seven\n4\n5,eight\n')
    reader = read_folder(tmp_path)
    assert [d.text for d in reader] == ["three four", "eight"]
    assert [w.split(": ", 1)[1][:20] for w in reader.problems.where["web"]] == ["3 cells, and the tab", "quotes that do not c", "the text is null"]
    for data, message in (('text\na\n"b\nc\nd\n', "behind row 1 a quote is opened and never closed"), ("text,text\na,b\n", "two columns are named 'text'")):
        (tmp_path/"web.csv").write_text(data)
        with pytest.raises(ValueError, match=f"web.csv: .*{message}"): list(read_folder(tmp_path))


def test_other_encodings_and_marks(tmp_path):
    (tmp_path/"web").mkdir()
    for i, encoding in enumerate(("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1")): (tmp_path/"web"/f"{i}.txt").write_bytes(f"café {i}".encode(encoding))
    (tmp_path/"law.jsonl").write_bytes("".join(json.dumps({"text": f"café {i}"}, ensure_ascii=False) + "\r\n" for i in range(3)).encode("utf-8-sig") * 2)
    (tmp_path/"code.csv").write_bytes("id,text\r\n1,café\r\n".encode("utf-8-sig"))
    reader = read_folder(tmp_path)
    assert Counter(d.text for d in reader) == {"café 0": 3, "café 1": 3, "café 2": 2, "café": 1}
    assert reader.problems.count == {"web": 3, "law": 0, "code": 0}


def test_spark_names_its_files_by_what_packs_them(tmp_path):
    for i in range(2): pd.DataFrame({"text": [f"{i}"]}).to_parquet(tmp_path/f"web-0000{i}.snappy.parquet")
    assert texts_of(read_folder(tmp_path)) == {"web": 2}


@pytest.mark.parametrize("packed", [p for p in PACK if p])
def test_a_damaged_second_part_of_an_archive_is_not_passed_over(tmp_path, packed):
    two = [pack(jsonl(ROWS), packed) for _ in range(2)]
    (tmp_path/f"web.jsonl{packed}").write_bytes(b"".join(two))
    assert texts_of(read_folder(tmp_path)) == {"web": 8}
    (tmp_path/f"web.jsonl{packed}").write_bytes(two[0] + b"\1" + two[1][1:])
    with pytest.raises(ValueError, match=f"web.jsonl{packed}: damaged after line 4"): list(read_folder(tmp_path))


# --- any bytes give documents or one sentence ---

ENDINGS = [e + p for e in (".jsonl", ".json", ".csv", ".tsv", ".txt", ".c") for p in PACK] + [".parquet"]
TABLE = pd.DataFrame({"text": [f"row {i} {WORDS}" for i in range(50)], "source": "s"}).to_parquet()
GOOD = [jsonl(ROWS), json.dumps(ROWS, indent=1).encode(), b"id,text\n1,\"a\nb\"\n", b"text\tid\na\t1\n", "größe\n".encode(), TABLE]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(ENDINGS), st.sampled_from(GOOD) | st.binary(max_size=60) | st.text("[{\"text\": 1,}]\n\\u\ud800", max_size=60).map(lambda t: t.encode("utf-8", "surrogatepass")),
       st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=3), st.booleans(), st.integers(0, 9000))
def test_any_bytes_give_documents_or_one_sentence(ending, data, flips, inside, keep):
    "Good, random or wild data; packed, then with some bytes changed and its end cut off."
    name, packed = ending.rsplit(".", 1) if ending.count(".") > 1 else (ending, "")
    data = bytearray(pack(data, f".{packed}") if packed else data)
    for at, byte in flips: data[at:at + 1] = bytes([byte]) if at < len(data) else b""
    with tempfile.TemporaryDirectory() as home:
        (Path(home)/"web").mkdir()
        (Path(home)/"web"/f"a{ending}").write_bytes(data[:keep])
        (Path(home)/"web"/"b.txt").write_text("A page.")
        try:
            reader = read_folder(home)
            found = list(reader)
            assert all(isinstance(d, Document) and d.text.encode() for d in found)
        except (ValueError, FileNotFoundError) as e:
            assert str(e).startswith(f"web/a{ending}: ") and "\n" not in str(e) and str(e).isprintable() and len(str(e)) < 400, str(e)


# --- names ---

@settings(max_examples=40, deadline=None)
@given(st.from_regex(r"[a-z]{1,6}([-_.][a-z0-9]{0,3}[a-z]){0,3}", fullmatch=True), st.integers(0, 99999), st.sampled_from(["-{:d}", "-{:05d}", "_{:05d}", ".{:05d}", "-{:05d}-of-99999", ".part-{:d}", "_shard{:d}"]))
def test_a_shard_number_goes_and_nothing_else(name, number, form):
    assert domain_of_stem(name) == name
    assert domain_of_stem(name + form.format(number)) == name


def test_domains_are_said_before_anything_is_read(tmp_path, capsys):
    for name in ("stem-crawl-01", "stem-papers-01", "stem-papers-02", "cc_2019-30"): (tmp_path/f"{name}.jsonl").write_bytes(jsonl({"text": f"{name} {i} and more of the same"} for i in range(90)))
    options = dict(vocab_size=300, context=8)
    open_corpus(tmp_path, tmp_path.parent/"cache", **options)
    said = capsys.readouterr().err
    assert "without its ending and shard number: cc_2019-30 (1 file), stem-crawl (1 file), stem-papers (2 files)" in said
    open_corpus(tmp_path, tmp_path.parent/"cache", **options)
    assert not capsys.readouterr().err


def test_names_that_meet_are_refused(tmp_path):
    (tmp_path/"web").mkdir()
    (tmp_path/"web"/"a.txt").write_text("A page.")
    (tmp_path/"web-0.jsonl").write_bytes(jsonl(ROWS))
    with pytest.raises(ValueError, match="'web' is both a subfolder and a file"): read_folder(tmp_path)
    (tmp_path/"web-0.jsonl").rename(tmp_path/"Web-0.jsonl")
    with pytest.raises(ValueError, match="differ only in upper and lower case"): read_folder(tmp_path)


# --- fields ---

def nested(n=60): return [{"doc": {"body": f"{i} and so on and on", "n": i}, "meta": json.dumps({"set": s}) if i % 2 else {"set": s}} for i in range(n) for s in ("RedCode", "Pile-CC")]


def test_fields_may_be_nested_and_differ_by_domain(tmp_path):
    (tmp_path/"a.jsonl").write_bytes(jsonl(nested()))
    (tmp_path/"b.jsonl").write_bytes(jsonl({"text": f"b {i}"} for i in range(9)))
    pd.DataFrame({"content": ["x", "y"]}).to_parquet(tmp_path/"c.parquet")
    assert texts_of(read_folder(tmp_path, text_field={"a": "doc.body", "c": "content"})) == {"a": 120, "b": 9, "c": 2}
    with pytest.raises(ValueError, match=r"a.jsonl: the first line has no field 'doc.text', only 'doc.body', 'doc.n', 'meta.set'"): list(read_folder(tmp_path, text_field={"*": "doc.text"}))
    with pytest.raises(ValueError, match="no domain 'd'; choose from a, b, c"): read_folder(tmp_path, text_field={"d": "x"})


def test_a_field_of_the_rows_makes_domains(tmp_path):
    (tmp_path/"more").mkdir()
    (tmp_path/"00.jsonl").write_bytes(jsonl(nested()))
    (tmp_path/"more"/"01.jsonl").write_bytes(jsonl([*nested(2), {"doc": {"body": "of none"}, "meta": {}}]))
    (tmp_path/"more"/"a.txt").write_text("no row")
    reader = read_folder(tmp_path, text_field="doc.body", domain_field="meta.set")
    assert texts_of(reader) == {"redcode": 62, "pile_cc": 62}
    assert reader.problems.left_out == {"without meta.set": 1} and "more/a.txt" in reader.problems.notes[0]
    assert "'RedCode' is redcode" in reader.problems.notes[-1]
    table = pd.DataFrame({"text": ["a", "b"], "meta": [{"set": "x"}, {"set": "y"}]})
    (tmp_path/"p").mkdir()
    table.to_parquet(tmp_path/"p"/"t.parquet")
    assert texts_of(read_folder(tmp_path/"p", domain_field="meta.set")) == {"x": 1, "y": 1}
    with pytest.raises(ValueError, match="both be the domain 'a_b'"):
        (tmp_path/"p"/"u.jsonl").write_bytes(jsonl({"text": "x", "meta": {"set": s}} for s in ("a b", "a-b")))
        list(read_folder(tmp_path/"p", domain_field="meta.set"))


# --- the split never fails by chance ---



@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(1, 12), st.integers(0, 50), st.sampled_from([.001, .05, .3]))
def test_two_documents_are_enough(tmp_path_factory, n, of_each, seed, fraction):
    docs = [Document("a", f"{i} {WORDS * 3}", f"f{i // of_each}") for i in range(n)]
    corpus, told = built(docs, tmp_path_factory.mktemp("c")/"c", seed=seed, valid_fraction=fraction)
    f = corpus.facts("a")
    assert f["valid_documents"] >= 1 and f["train_documents"] >= 1 and min(f["valid_tokens"], f["train_tokens"]) >= 9
    held = [is_valid(origin_of(d), fraction, seed) for d in docs]
    if f["held_out_by"] == "share": assert f["valid_documents"] == sum(held) and not told
    else: assert len(told) == 1 and "a (" in told[0]


def test_dolma_one_source_for_all_is_split_by_document_and_says_so(tmp_path):
    corpus, told = built([Document("wiki", f"{i} {WORDS}", "wiki") for i in range(120)], tmp_path/"c")
    assert told == [f"split by document, as the sources are too few: wiki ({corpus.facts('wiki')['valid_documents']} of 120 documents held out)"]
    assert corpus.facts("wiki")["split_by"] == "document" and corpus.manifest["notes"] == told
    with pytest.raises(ValueError, match=r"cannot be split by source.*split_by='document'"): built([Document("wiki", f"{i} {WORDS}", "wiki") for i in range(120)], tmp_path/"d", split_by="origin")
    two = [Document("wiki", f"{i} {WORDS}", "big" if i else "small") for i in range(120)]
    with pytest.raises(ValueError, match="cannot be split by source"): built(two, tmp_path/"d", split_by="origin", context=40)
    few = [Document("wiki", f"{i} {WORDS}", f"{i // 40}") for i in range(120)]
    corpus, told = built(few, tmp_path/"d", split_by={"wiki": "origin"}, valid_fraction=.001)
    assert corpus.facts("wiki")["valid_documents"] == 40 and "1 of 3 origins held out" in told[0]


def test_a_rule_that_was_asked_for_stays_and_what_a_share_does_well_too(tmp_path):
    docs = [Document("web", f"{i} {WORDS}", f"p{i}", f"s{i % 7}.org") for i in range(210)]
    corpus, told = built(docs, tmp_path/"c", split_by="host", valid_fraction=.3)
    held = [is_valid(origin_of(d, "host"), .3) for d in docs]
    assert 0 < sum(held) < 210 and corpus.facts("web")["valid_documents"] == sum(held) and not told
    with pytest.raises(ValueError, match="cannot be split by source"): built([Document("a", WORDS * 99, "f")], tmp_path/"d", split_by="source")


def test_one_long_document_is_cut_in_two(tmp_path):
    book = "".join(f"Line {i}: {WORDS}\n" for i in range(200))
    corpus, told = built([Document("book", book), *(Document("law", f"{i} {WORDS}") for i in range(99))], tmp_path/"c", valid_fraction=.2)
    assert corpus.facts("book")["held_out_by"] == "cut" and corpus.facts("book")["split_by"] == "document"
    tok = corpus.tokenizer
    head, tail = (tok.decode(corpus.tokens("book", side)[:-1].tolist(), skip_special_tokens=False) for side in ("train", "valid"))
    assert head + tail == book and tail.startswith("Line ") and .15 < len(tail) / len(book) < .35
    assert any("the longest document is cut in two" in t for t in told)


def test_copies_are_told(tmp_path):
    docs = [Document("logs", f"{i % 19} {WORDS}", f"p{i}") for i in range(151)] + [Document("law", f"law {i} {WORDS}") for i in range(99)]
    corpus, told = built(docs, tmp_path/"c")
    assert "132 of 250 documents are exact copies of others and were dropped: 132 of 151 in logs" in told
    assert corpus.summary()["duplicates"].to_dict() == {"law": 0, "logs": 132}
    with pytest.raises(ValueError, match="'logs' has 151 documents, 132 of them copies and .* tokens, and needs 4,001"): built(docs, tmp_path/"d", context=4000)


def test_the_text_of_the_validation_side_trains_no_tokenizer(tmp_path):
    "A planned split is known before the tokenizer is trained."
    docs = [Document("a", f"zzz{chr(97 + i)}qqq " * 60, f"f{i}") for i in range(9)]
    corpus, _ = built(docs, tmp_path/"c", valid_fraction=.001, vocab_size=400)
    held = corpus.tokenizer.decode(corpus.tokens("a", "valid")[:-1].tolist())[:7]
    assert corpus.facts("a")["held_out_by"] == "rank" and held not in "".join(corpus.tokenizer.get_vocab())


def test_a_sample_of_tokens_that_fell_short_is_planned_again(tmp_path):
    "Long tokens: what looks enough in bytes is too few tokens, which only the cutting tells."
    docs = [Document("a", f"{i} " + "x" * 400, f"f{i}") for i in range(60)] + [Document("b", f"{i} {WORDS}") for i in range(200)]
    corpus, _ = built(docs, tmp_path/"c", valid_fraction=.02, context=40, vocab_size=600)
    assert min(corpus.facts(d)["valid_tokens"] for d in "ab") >= 41


# --- a folder by two paths, a tokenizer of one's own ---

def test_a_folder_by_any_path_is_one_corpus(tmp_path, monkeypatch):
    (tmp_path/"text").mkdir()
    for d in "ab": (tmp_path/"text"/f"{d}.jsonl").write_bytes(jsonl({"text": f"{d} {i} {WORDS}"} for i in range(99)))
    (tmp_path/"link").symlink_to("text")
    monkeypatch.chdir(tmp_path)
    found = {open_corpus(p, "cache", **SMALL).folder.resolve() for p in ("text", "text/", "./text", tmp_path/"text", "link", "text/../text")}
    assert len(found) == 1 and len(list((tmp_path/"cache").iterdir())) == 1
    other = open_corpus("text", "cache", tokenizer=str(min(found)), valid_fraction={"a": .2, "*": .1}, **SMALL)
    assert other.manifest["tokenizer"]["kind"] == "file" and other.facts("a")["valid_documents"] > other.facts("b")["valid_documents"] > 0


# --- in the shell ---

def ask(*words):
    "What a command prints, its error line, and its code."
    from typer.testing import CliRunner
    from regmix.cli import app
    done = CliRunner().invoke(app, list(map(str, words)))
    return done.stdout, done.stderr, done.exit_code


def test_every_remedy_of_a_text_is_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/"t").mkdir()
    (tmp_path/"t"/"00.jsonl").write_bytes(jsonl({"doc": {"body": f"{s} {i} {WORDS * 20}"}, "set": s, "source": "one"} for i in range(40) for s in "ab"))
    words = ["sample", "t", "--n", "3", "--vocab-size", "300", "--overwrite", "--out", "m.csv"]
    _, err, code = ask(*words, "--domain-field", "set")
    assert code == 2 and "t/00.jsonl" not in err and "00.jsonl: the first line has no field 'text', only 'doc.body', 'set', 'source': name the field that holds the text with --text-field" in err
    assert "name the field that holds the domain with --domain-field" in ask(*words, "--domain-field", "meta.set")[1]
    fields = ["--domain-field", "set", "--text-field", "a=doc.body", "--text-field", "b=doc.body"]
    _, err, code = ask(*words, *fields, "--split-by", "origin")
    assert code == 2 and "split it by document (--split-by document)" in err
    _, err, code = ask(*words, *fields, "--split-by", "document", "--valid-fraction", "0.1", "--valid-fraction", "b=0.4")
    assert code == 0, err
    _, err, code = ask(*words, *fields)
    assert code == 0 and "note: split by document, as the sources are too few: a (" in err
    assert "--split-by 'day': choose from document" in ask(*words, *fields, "--split-by", "day")[1]
    assert "--valid-fraction 'x'" in ask(*words, *fields, "--valid-fraction", "x")[1].replace("*=", "")
    corpus = next((tmp_path/"corpora").iterdir())
    _, err, code = ask(*words, *fields, "--tokenizer", corpus)
    assert code == 0, err
    assert "so --tokenizer changes nothing" in ask("sample", corpus, "--out", "m.csv", "--overwrite", "--tokenizer", corpus)[1]
    (tmp_path/"tok").mkdir()
    (tmp_path/"tok"/"tokenizer.json").write_text("{}")
    assert "tokenizer.json: holds no tokenizer" in ask(*words, *fields, "--tokenizer", "tok")[1]


def test_a_folder_of_programs_and_licences_is_sampled_without_an_option(tmp_path, monkeypatch):
    "Original names, packed or not, copies, an odd encoding: as a machine carries them."
    monkeypatch.chdir(tmp_path)
    for i in range(40):
        for name, text in {f"changelogs/pkg{i}/changelog.Debian.gz": f"pkg ({i % 11}.0) unstable; urgency=low\n" + WORDS * 9, f"python/lib/m{i}.py": f"def f{i}(x):\n" + f"    x = x + {i}\n" * 40,
                           f"headers/h{i}.h": f"#define A{i} {i}\n" * 40, f"licences/pkg{i}/copyright": f"Files: {i}\nLicense: " + WORDS * 9}.items():
            path = tmp_path/"deb"/name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    (tmp_path/"deb"/"python"/"lib"/"__init__.py").write_text("")
    (tmp_path/"deb"/"headers"/"latin.h").write_bytes(b"/* caf\xe9 */")
    out, err, code = ask("sample", "deb", "--n", 3, "--vocab-size", 300, "--out", "m.csv", "--json")
    assert code == 0 and json.loads(out)["domains"] == ["changelogs", "headers", "licences", "python"], err
    for line in ("1 file not read (empty): python/lib/__init__.py", "29 of 160 documents are exact copies", "29 of 40 in changelogs", "1 row or file was not read: headers/latin.h", "held out by rank"): assert line in err, line


def test_a_long_document_leaves_others_their_place_in_a_sample_by_size(tmp_path):
    "Wherever the long one ranks, half of the limit is used and more than one document is read; what was cut is named."
    for seed in range(6):
        f = tmp_path/f"f{seed}"
        (f/"log").mkdir(parents=True)
        (f/"one").mkdir()
        for i in range(60): (f/"log"/f"{i}.txt").write_text(f"{seed}-{i} " + "é" * 150)
        for i in range(3): (f/"log"/f"long{i}.txt").write_text(f"{seed}-{i} " + "é" * 4000)
        (f/"one"/"book.txt").write_text("ü" * 30_000)
        reader = read_folder(f).capped(3000)
        found = list(reader)
        sizes = {d: [len(x.text.encode()) for x in found if x.domain == d] for d in ("log", "one")}
        assert 1500 <= sum(sizes["log"]) <= 3000 and len(sizes["log"]) > 3, sizes
        assert sizes["one"] == [3000]
        note, = [n for n in reader.problems.notes if "long documents were cut" in n]
        assert any("at most 3,000 bytes" in n and ", one (of 60,000)" in n for n in reader.problems.notes)
        assert "limit of 3,000 bytes a domain" in note and "one (1 of 1 documents, to 3,000 bytes each)" in note
        assert sorted(x.text for x in reader) == sorted(x.text for x in found)


def test_every_folder_whose_name_will_not_do_is_named_at_once(tmp_path):
    for name in ("Perl é", "three docs", "fine_é"):
        (tmp_path/name).mkdir()
        (tmp_path/name/"a.txt").write_text("text")
        (tmp_path/name/"b.pdf").write_bytes(b"%PDF-1.4 only ASCII")
    with pytest.raises(ValueError, match="'Perl é' cannot name a domain: .* such as Perl_é; nor can 'three docs'"): read_folder(tmp_path)
    for name in ("Perl é", "three docs"): (tmp_path/name).rename(tmp_path/name.replace(" ", "_"))
    reader = read_folder(tmp_path)
    assert {d.domain: d.text for d in reader} == dict.fromkeys(("Perl_é", "three_docs", "fine_é"), "text")
    assert any("3 files not read (PDF: write its text to a file)" in n for n in reader.problems.notes)
