"""Which pages the book has, in the order of reading, and what a link of the repository leads to."""
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT/"build"
SOURCE = BUILD/"book-src"   # what Sphinx reads
FRONT = "nbs/index.ipynb"

PARTS = [(5, "The paper"), (15, "Ground floor"), (20, "Runs"), (50, "From text to proxies"),
         (67, "Regression and search"), (80, "Targets"), (100, "Pictures, report, tools")]   # up to which number


def write_bytes(path: Path, data: bytes):
    "Write a file unless it is there as it should be: Sphinx reads what has changed."
    if path.is_file() and path.read_bytes() == data: return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def found(*patterns: str) -> list[str]:
    "List files of the repository, from its root, in the order of their patterns and names."
    names = [p.relative_to(ROOT).as_posix() for pattern in patterns for p in sorted(ROOT.glob(pattern))]
    return [n for n in dict.fromkeys(names) if ".ipynb_checkpoints" not in n and not Path(n).name.startswith(".")]


def chapters() -> dict[str, list[str]]:
    "Sort the chapters into parts by their numbers."
    number = {c: int(Path(c).name[:2]) for c in found("nbs/[0-9][0-9]_*.ipynb")}
    lows = [0, *(high for high, _ in PARTS)]
    return {name: [c for c, n in number.items() if low <= n < high] for low, (high, name) in zip(lows, PARTS)}


def plan() -> dict[str, list[str]]:
    "List what the book holds: part -> files of the repository, in the order of reading."
    walks = "nbs/walkthrough/your_corpus.ipynb", "nbs/walkthrough/*.ipynb"
    parts = {"Start here": found("nbs/tour.ipynb", "nbs/glossary.*", *walks)} | chapters()
    parts |= {"Stages": found("nbs/stages/*.ipynb"), "Gallery": found("nbs/exhibits/*.ipynb"),
              "Beyond the paper": found("nbs/beyond/*.ipynb"),
              "Teaching": found("nbs/sessions/*.ipynb", "nbs/sessions/*.md"),
              "Reference": found("book/check.md", "book/checklists.md", "data/*/README.md", "LAB.md"),
              "Tables": found("figures/*.md")}
    listed = {f for files in parts.values() for f in files} | {FRONT}
    rest = found("nbs/**/*.ipynb", "nbs/**/*.md")
    parts["More"] = [f for f in rest if f not in listed and "/solutions/" not in f]   # solutions stand apart
    return parts


def source_of(file: str) -> str:
    "Name a page's source: as in the repository, but the front page is the first one."
    return "index.md" if file in (FRONT, "README.md") else file


def title_of(file: str) -> str:
    "Return a page's title, as its first heading has it."
    text = (ROOT/file).read_text(encoding="utf-8")
    if file.endswith(".ipynb"): text = "".join(json.loads(text)["cells"][0]["source"])
    return next((line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("# ")), Path(file).stem)


def short_title(file: str) -> str:
    "Return the title as the table of contents has it: short, with the chapter's number."
    title, name = title_of(file), Path(file).name
    if re.match(r"nbs/\d\d_", file): return f"{name[:2]} {title}"
    if "_ours" in name and "exhibits/" in file: return re.split("[,:]", title)[0] + ", ours"
    return title


def toctree(files: list[str], caption: str = "") -> str:
    "Write a table of contents for the sidebar; what is no file of the repository is a page's name."
    def line(file):
        if not (ROOT/file).is_file(): return f"/{file}"
        return f"{short_title(file)} </{Path(source_of(file)).with_suffix('').as_posix()}>"
    head = [f":caption: {caption}"] if caption else []
    return "\n".join(["```{toctree}", ":hidden:", *head, "", *map(line, files), "```"])


ABOUT = {   # folder -> the page about it
    "nbs/stages": "stages.md", "nbs/exhibits": "figures/README.md", "nbs/beyond": "figures/beyond.md",
    "nbs/walkthrough": "nbs/walkthrough/your_corpus.ipynb", "figures": "figures/README.md",
    "regmix": "api/index.md", "nbs": "index.md", ".": "index.md",
}


class Finder:
    "Finds what a link leads to in the book; a file that is no page is copied when somebody links to it."
    def __init__(self, files): self.pages, self.copied = {f: source_of(f) for f in [*files, FRONT, "README.md"]}, set()

    def __call__(self, path: str) -> str | None:
        "Turn a path from the repository's root into one from the root of the sources; None where nothing is."
        here = ROOT/path
        if path in self.pages: return self.pages[path]
        if re.fullmatch(r"regmix/[a-z]\w*\.py", path) and here.is_file(): return f"api/{here.stem}.md"
        if here.is_dir(): return ABOUT.get(path) or self.pages.get(f"{path}/README.md")
        if path.startswith("..") or not here.is_file(): return None
        if path not in self.copied: write_bytes(SOURCE/path, here.read_bytes())
        self.copied.add(path)
        return path
