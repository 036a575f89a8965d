"""Folders as people have them: every file is read or named, names are plain, and the held-out split never fails by chance."""
import bz2
import gzip
import json
import lzma
import random
import re
import warnings
from collections import Counter

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tokenizers")

from regmix.corpora import build_corpus, is_valid, open_corpus, origin_of
from regmix.text import Document, domain_files, domain_of_stem, read_folder

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

WORDS = "and all that was said of it in the court that year and the next "


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
    for line in ("1 file not read (empty): python/lib/__init__.py", "29 of 160 documents are exact copies", "29 of 40 in changelogs", "1 bad lines were skipped, the first: headers/latin.h", "held out by rank"): assert line in err, line
