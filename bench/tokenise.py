"""How fast is text cut into tokens, and in how much memory? `build_corpus` beside the plain loop, in one run.

The rival does what one would write first: the same tokenizer, document after document, every token kept in a list until
the end. Both get the same documents and write the same tokens; each runs in a process of its own, so that memory can be
told apart. The text is what this installation carries. Give a folder of `<domain>-*.jsonl` to use that instead:
python bench/tokenise.py FOLDER. About a minute on two cores.
"""
import hashlib
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from regmix.corpora import build_corpus, is_valid, load_tokenizer, origin_of, train_tokenizer
from regmix.installed import read_installed
from regmix.text import read_folder

FEW = ["python", "docstrings", "stubs", "cpp", "tables"]


def reader(folder): return read_folder(folder) if folder else read_installed(domains=FEW)


def peak() -> float: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(documents, room):
    build_corpus(documents, room/"ours", tokenizer=room/"tokenizer.json", split_by="document", progress=False)


def plain_loop(documents, room):
    tok, tokens, seen = load_tokenizer(room)[0], {}, set()
    tok.encode_special_tokens = True
    for d in documents:
        if d.text in seen: continue
        seen.add(d.text)
        side = "valid" if is_valid(origin_of(d, "document"), .05) else "train"
        tokens.setdefault((side, d.domain), []).extend(tok.encode(d.text).ids + [0])
    for (side, domain), ids in tokens.items():
        (room/"plain"/side).mkdir(parents=True, exist_ok=True)
        (room/"plain"/side/f"{domain}.bin").write_bytes(np.array(ids, "<u2").tobytes())


def measured(build, folder, room):
    documents = reader(folder)
    for _ in documents: pass  # the text is read once before the clock starts
    before, start = peak(), time.perf_counter()
    build(documents, room)
    return time.perf_counter() - start, before, peak()


def alone(*task):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool: return pool.submit(measured, *task).result()


def hashes(folder): return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.bin"))}


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as t:
        room = Path(t)
        documents, start = list(reader(folder)), time.perf_counter()
        size = sum(len(d.text.encode()) for d in documents) / 1e6
        train_tokenizer((d.text[:20_000] for d in documents[::max(1, round(size / 10))])).save(str(room/"tokenizer.json"))
        print(f"{len(documents):,} documents, {size:.1f} MB of text; tokenizer of 8,192 trained on a tenth of them or 10 MB in {time.perf_counter() - start:.1f} s")
        times = {}
        for name, build in (("build_corpus", ours), ("plain loop", plain_loop)):
            times[name], before, most = alone(build, folder, room)
            print(f"  {name:13} wall {times[name]:6.2f} s   {size / times[name]:5.1f} MB/s   memory {before:5.0f} MB before, {most:5.0f} MB at most")
        print(f"  ratio {times['plain loop'] / times['build_corpus']:.1f}x; the same tokens: {hashes(room/'ours') == hashes(room/'plain')}")
