"""Build the book: `python -m book.build` puts pages together in build/book-src, Sphinx makes build/book, a check reads it.

Chapters bring the outputs that are stored in them. Stages and exhibits bring those of their last run, from build/logs;
a page whose notebook has not run says which command runs it. No notebook is executed but the index, which only
reads tables.
"""
import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import nbformat

from . import api, notebooks
from .audit import audit
from .links import relink

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT/"build"
SOURCE, SITE, LOGS = BUILD/"book-src", BUILD/"book", BUILD/"logs"
NEEDED = "sphinx", "myst_nb", "sphinx_book_theme", "sphinx-mathjax-offline"


def table(rows: list[dict], columns: dict) -> str:
    "Write rows as a table of Markdown; `columns` gives each name its heading."
    def line(values): return "| " + " | ".join(str(v).replace("|", r"\|").replace("$", r"\$") for v in values) + " |"
    return "\n".join([line(columns.values()), line("---" for _ in columns), *(line(r[c] for c in columns) for r in rows)])


# ---- which pages there are ----

PARTS = [(5, "The paper"), (15, "Ground floor"), (20, "Runs"), (50, "From text to proxies"),
         (67, "Regression and search"), (80, "Targets"), (100, "Pictures, report, tools")]   # up to which number


def found(*patterns: str) -> list[str]:
    "List files of the repository, from its root, in the order of their patterns and names."
    names = [p.relative_to(ROOT).as_posix() for pattern in patterns for p in sorted(ROOT.glob(pattern))]
    return [n for n in dict.fromkeys(names) if ".ipynb_checkpoints" not in n and not Path(n).name.startswith(".")]


def plan() -> dict[str, list[str]]:
    "List what the book holds: part -> files of the repository, in the order of reading."
    chapters = found("nbs/[0-9][0-9]_*.ipynb")
    parts = {"Start here": found("nbs/tour.ipynb", "nbs/glossary.*", "nbs/walkthrough/your_corpus.ipynb", "nbs/walkthrough/*.ipynb")}
    low = 0
    for high, name in PARTS:
        parts[name] = [c for c in chapters if low <= int(Path(c).name[:2]) < high]
        low = high
    parts |= {"Stages": found("nbs/stages/*.ipynb"), "Gallery": found("nbs/exhibits/*.ipynb"), "Beyond the paper": found("nbs/beyond/*.ipynb"),
              "Teaching": found("nbs/sessions/*.ipynb", "nbs/sessions/*.md"),
              "Reference": found("book/check.md", "data/*/README.md", "LAB.md"), "Tables": found("figures/*.md")}
    listed = {f for files in parts.values() for f in files} | {"nbs/index.ipynb"}
    parts["More"] = [f for f in found("nbs/**/*.ipynb", "nbs/**/*.md") if f not in listed and "/solutions/" not in f]
    return parts


def source_of(file: str) -> str:
    "Name a page's source in build/book-src."
    return "index.md" if file in ("nbs/index.ipynb", "README.md") else file


ABOUT = {"nbs/stages": "stages.md", "nbs/exhibits": "figures/README.md", "nbs/beyond": "figures/beyond.md", "figures": "figures/README.md",
         "regmix": "api/index.md", "nbs/walkthrough": "nbs/walkthrough/your_corpus.ipynb", ".": "index.md", "nbs": "index.md"}   # folder -> page


class Finder:
    "Finds what a link of the repository leads to in the book; files that are no pages are copied when somebody links to them."
    def __init__(self, pages): self.pages, self.copied = {f: source_of(f) for f in [*pages, "nbs/index.ipynb", "README.md"]}, set()

    def __call__(self, path: str) -> str | None:
        if path in self.pages: return self.pages[path]
        if path.removesuffix(".py").startswith("regmix/") and (ROOT/path).is_file(): return f"api/{Path(path).stem}.md"
        if (ROOT/path).is_dir(): return ABOUT.get(path) or self.pages.get(f"{path}/README.md")
        if path.startswith("..") or not (ROOT/path).is_file(): return None
        if path not in self.copied:
            write_bytes(SOURCE/path, (ROOT/path).read_bytes())
            self.copied.add(path)
        return path


# ---- notebooks with their outputs ----

def read(path: Path): return nbformat.read(path, 4)


def logs_of_stages() -> dict[str, list[str]]:
    "List the sections that run each stage, in the order of the files of parameters."
    from regmix.runner import sections
    named = {}
    for file in ("reproduce", "beyond", "replicate-cpu", "targets-cpu"):
        for s in sections(ROOT/f"nbs/params/{file}.yaml").values():
            named.setdefault(s.notebook.relative_to(ROOT).as_posix(), []).append(s.name)
    return named


def run_of(file: str, names: list[str]):
    "Return a notebook with the outputs of a run, that run's name, and whether it was a run of the same code: the first such if there is one."
    notebook, runs = read(ROOT/file), [n for n in names if (LOGS/f"{n}.ipynb").is_file()]
    made = None
    for name in runs:
        made, same = notebooks.with_outputs(notebook, read(LOGS/f"{name}.ipynb"))
        if same: return made, name, True
    return (made, runs[-1], False) if runs else (notebook, None, False)


def first(notebook, text: str):
    "Put a paragraph behind a notebook's title and subtitle."
    head = notebook.cells[0].source.split("\n\n")
    at = 2 if len(head) > 1 and head[1].startswith(">") else 1
    notebook.cells[0].source = "\n\n".join([*head[:at], text, *head[at:]])


def not_run(name: str | None, same: bool, command: str) -> str | None:
    "Say that the outputs of a page are missing, or those of older code."
    if same: return None
    if name: return f"*This notebook was edited after its last run, and the outputs are those of that run: `{command}` renews them.*"
    return f"*This notebook has not been run here, so the page has no outputs: `{command}` runs it.*"


def stage(file: str, sections: list[str]):
    made, name, same = run_of(file, sections)
    others = f" It is run for {len(sections)} sections." if len(sections) > 1 else ""
    said = not_run(name, same, f"make reproduce ONLY={name or sections[0] if sections else Path(file).stem}")
    if said: first(made, said)
    if name: first(made, f"*The outputs are those of section `{name}` of the [parameters](../params/reproduce.yaml).{others}*")
    return made


def verdicts() -> dict[str, list[dict]]:
    "Sort the ledger's rows by the exhibit's notebook, as the gallery names it."
    gallery = (ROOT/"figures/README.md").read_text(encoding="utf-8")
    named = {}
    for section in re.split(r"(?m)^## ", gallery)[1:]:
        exhibit = re.match(r"((?:Table|Figure|Appendix) \w+)", section)
        if exhibit:
            for notebook in re.findall(r"\(\.\./(nbs/exhibits/\w+\.ipynb)\)", section): named.setdefault(notebook, []).append(exhibit[1])
    rows = {}
    with open(ROOT/"figures/ledger.csv", encoding="utf-8", newline="") as f: ledger = list(csv.DictReader(f))
    for notebook, exhibits in named.items():
        ours = "_ours" in notebook
        both = ours and notebook.replace("_ours", "") not in named   # an exhibit that has the one notebook only
        rows[notebook] = [r for r in ledger if r["exhibit"] in exhibits and (both or (r["source"] == "replication") == ours)]
    return rows


ORDER = "match", "close", "differs", "inconclusive", "ours alone", "out of reach"


def verdict(rows: list[dict]) -> str:
    "Say what the ledger holds of an exhibit: counts, and the rows in a fold."
    counts = [f"{n} {v}" for v in ORDER for n in [sum(r["verdict"] == v for r in rows)] if n]
    shown = [r | {"bounds": f"{r['low']} to {r['high']}" if r["low"] and r["high"] else ""} for r in rows]
    columns = {"quantity": "quantity", "paper": "paper", "ours": "ours", "bounds": "95% interval", "verdict": "verdict"}
    return (f"**Verdict**: {', '.join(counts)}. [What the words mean](../90_ledger.ipynb), [all rows](../../figures/ledger.csv).\n\n"
            f"<details class=\"rows\"><summary>The {len(rows)} rows of the ledger</summary>\n\n{table(shown, columns)}\n\n</details>")


def drop_second_pictures(notebook):
    "Where a page begins with a picture from figures/, leave it out below the cell that draws it."
    shown = set(re.findall(r"\(\.\./\.\./figures/(\w+)\.png\)", notebook.cells[0].source))
    for cell in notebook.cells:
        drawn = set(re.findall(r"save_figure\(\w+, '(\w+)'", cell.source)) if cell.cell_type == "code" else set()
        if drawn and drawn <= shown: cell.outputs = [o for o in cell.outputs if "image/png" not in o.get("data", {})]


def exhibit(file: str, rows: list[dict]):
    name = Path(file).stem
    made, run, same = run_of(file, [name])
    said = not_run(run, same, f"make {'beyond' if '/beyond/' in file else 'reproduce'} ONLY={name}")
    if said: first(made, said)
    if rows: first(made, verdict(rows))
    drop_second_pictures(made)
    return made


def index_page() -> str:
    "Run the index, which reads tables only, and return it as Markdown."
    from nbclient import NotebookClient
    notebook = read(ROOT/"nbs/index.ipynb")
    quiet = ["--IPKernelApp.log_level=50"]   # it would say that others on this machine could listen
    where = {"metadata": {"path": str(ROOT/"nbs")}}
    client = NotebookClient(notebook, kernel_name="python3", resources=where, extra_arguments=quiet)
    client.execute()
    return "\n\n".join(c.source for c in notebooks.page(notebook).cells if c.cell_type == "markdown")


# ---- putting together ----

def title_of(file: str) -> str:
    "Return a page's title, as its first line has it."
    path = ROOT/file
    text = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    return next((line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("# ")), path.stem)


def short_title(file: str) -> str:
    "Return the title as the table of contents has it: short, with the chapter's number."
    title, name = title_of(file), Path(file).name
    if re.match(r"nbs/\d\d_", file): return f"{name[:2]} {title}"
    if "_ours" in name and "exhibits/" in file: return title.split(",")[0].split(":")[0] + ", ours"
    return title


def toctree(files: list[str], here: str = "", caption: str = "", titles: bool = True) -> str:
    "Write a table of contents that the page does not show, but the sidebar."
    up = "/"
    lines = [f"{short_title(f)} <{up}{Path(source_of(f)).with_suffix('').as_posix()}>" if titles and (ROOT/f).is_file() else f"{up}{f}" for f in files]
    head = [f":caption: {caption}"] if caption else []
    return "\n".join(["```{toctree}", ":hidden:", *head, "", *lines, "```"])


def write_bytes(path: Path, data: bytes):
    "Write a file if it is not there as it should be."
    if path.is_file() and path.read_bytes() == data: return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_notebook(path: Path, notebook): write_bytes(path, (nbformat.writes(notebook) + "\n").encode())


EXPLORED = """# The mixture explorer

> Drag the weight of a domain, and see what the fitted laws predict for each loss.

The page below is one file that asks for nothing; <a href="mixture-explorer.html">open it by itself</a> on a small screen.
Its models are fitted as [Regression on mixtures](nbs/50_regression.ipynb) and [Laws](nbs/55_laws.ipynb) show.

<iframe class="explorer" src="mixture-explorer.html" title="The mixture explorer: sliders for the weights of the domains, and the predicted losses"></iframe>
"""


def run_elsewhere(repository: str) -> str:
    "Say how a notebook runs on somebody else's machine, if there is a public copy that it can be taken from."
    if not repository: return ""
    return ("## Without installing\n\nThe rocket above a notebook opens it on Binder, where all is installed, or on Colab. "
            "On Colab run this first, and then restart the runtime:\n\n"
            f"```sh\n!git clone --depth 1 {repository} book && pip install -q -e 'book[book]'\n```\n\n")


class Book:
    "Puts the sources together; notes what it leaves out."
    def __init__(self, repository: str = ""):
        self.repository = repository
        self.parts = plan()
        self.find = Finder(f for files in self.parts.values() for f in files)
        self.has_explorer = explorer()
        self.sections, self.rows, self.notes = logs_of_stages(), verdicts(), []
        self.written = set()

    def add(self, name: str, text: str):
        self.written.add(name)
        write_bytes(SOURCE/name, text.encode())

    def made(self, file: str):
        "Return a notebook with its outputs."
        if file.startswith("nbs/stages/"): return stage(file, self.sections.get(file, []))
        if file.startswith(("nbs/exhibits/", "nbs/beyond/")): return exhibit(file, self.rows.get(file, []))
        return read(ROOT/file)

    def notebook(self, file: str):
        made = notebooks.page(self.made(file))
        for cell in made.cells:
            if cell.cell_type == "markdown": cell.source = relink(cell.source, file, file, self.find)
        if not any(c.get("outputs") for c in made.cells): self.notes.append(f"no outputs: {file}")
        self.written.add(file)
        write_notebook(SOURCE/file, made)

    def markdown(self, file: str, tail: str = "", orphan: bool = False):
        text = relink((ROOT/file).read_text(encoding="utf-8"), file, file, self.find)
        self.add(file, ("---\norphan: true\n---\n\n" if orphan else "") + text + (f"\n\n{tail}\n" if tail else ""))

    def assemble(self):
        "Write all sources; remove those of pages that are gone."
        parts, gallery, beyond = self.parts, "figures/README.md", "figures/beyond.md"
        for file in [f for name, files in parts.items() for f in files]:
            if file.endswith(".ipynb"): self.notebook(file)
            elif file == gallery: self.markdown(file, toctree(parts["Gallery"]))
            elif file == beyond: self.markdown(file, toctree(parts["Beyond the paper"]))
            else: self.markdown(file, orphan=file in parts["Tables"])
        self.stages()
        self.api()
        if self.has_explorer: self.add("explorer.md", EXPLORED)
        self.index()
        keep = self.written | self.find.copied
        for path in [p for p in SOURCE.rglob("*") if p.is_file()]:
            if path.relative_to(SOURCE).as_posix() not in keep: path.unlink()

    def stages(self):
        "Write the page above the stages."
        links = [f"- [{title_of(f)}]({f})" for f in self.parts["Stages"]]
        about = ("# Stages\n\n> The notebooks that compute: each reads files, calls the package and writes a result.\n\n"
                 "[The runner](nbs/92_runner.ipynb) runs them with the values of a [file of parameters](nbs/params/reproduce.yaml).\n\n")
        self.find("nbs/params/reproduce.yaml")
        self.add("stages.md", about + "\n".join(links) + "\n\n" + toctree(self.parts["Stages"]) + "\n")

    def api(self):
        "Write a page for each module, and the one above them."
        modules = sorted(p for p in (ROOT/"regmix").glob("*.py") if not p.name.startswith("_"))
        for path in modules: self.add(f"api/{path.stem}.md", api.page(path))
        lines = [f"- [`regmix.{p.stem}`]({p.stem}.md): {api.about(p)}" for p in modules]
        tree = "\n".join(["```{toctree}", ":hidden:", "", *(p.stem for p in modules), "```"])
        self.add("api/index.md", "# The package, module by module\n\n> What each module exports: signatures, arguments, what comes back.\n\n"
                 + "\n".join(lines) + "\n\n" + tree + "\n")

    def index(self):
        "Write the first page, with the table of contents of the whole."
        text = relink(index_page(), "nbs/index.ipynb", "index.md", self.find)
        more = ["explorer"] if self.has_explorer else []
        trees = [toctree([*self.parts["Start here"], *more], caption="Start here")]
        trees += [toctree(self.parts[name], caption=name) for _, name in PARTS if self.parts[name]]
        trees.append(toctree(["stages", "figures/README.md", "figures/beyond.md"], caption="Results"))
        if self.parts["Teaching"]: trees.append(toctree(self.parts["Teaching"], caption="Teaching"))
        trees.append(toctree(["api/index", *self.parts["Reference"], *self.parts["More"]], caption="Reference"))
        self.add("index.md", f"{text}\n\n{run_elsewhere(self.repository)}" + "\n\n".join(trees) + "\n")


EXPLORER = BUILD/"book-extra/mixture-explorer.html"


def explorer_key() -> str:
    "Digest what the explorer is made of: the package, and whether the authors' logs are here."
    from regmix.files import digest_of, sha256_of
    from regmix.paper import have_authors
    files = sorted(p for p in (ROOT/"regmix").iterdir() if p.suffix in (".py", ".html", ".css", ".js"))
    return digest_of(json.dumps([have_authors(), *map(sha256_of, files)]))


def explorer() -> bool:
    "Write the page on which one drags mixtures, if this package has it, unless it is there and nothing has changed."
    if not (ROOT/"regmix/explorer.py").is_file(): return False
    key, mark = explorer_key(), EXPLORER.parent.with_suffix(".key")
    if EXPLORER.is_file() and mark.is_file() and mark.read_text() == key: return True
    from regmix.explorer import book_sets, write_explorer
    write_explorer(book_sets(), EXPLORER)
    mark.write_text(key)
    return True


def sphinx(jobs: int, repository: str = "") -> int:
    "Make the pages."
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-j", str(jobs), "-c", str(Path(__file__).parent), "-d", str(BUILD/"book-doctrees"), str(SOURCE), str(SITE)]
    SITE.mkdir(parents=True, exist_ok=True)
    extra = {"BOOK_REPOSITORY": repository, "BOOK_EXTRA": str(EXPLORER.parent) if EXPLORER.is_file() else ""}
    return subprocess.run(command, cwd=ROOT, env=os.environ | extra).returncode


def clear():
    "Remove the pages of an earlier build whose sources are gone."
    names = {p.relative_to(SOURCE).with_suffix("") for p in SOURCE.rglob("*") if p.suffix in (".md", ".ipynb")}
    made = {Path(n) for n in ("search", "genindex", "py-modindex", EXPLORER.stem)}
    for page in SITE.rglob("*.html"):
        inside = page.relative_to(SITE)
        if inside.parts[0][0] != "_" and inside.with_suffix("") not in names | made: page.unlink()


def originals():
    "Let the button that downloads a page's notebook give the notebook as it lies in the repository."
    for copy in (SITE/"_sources").rglob("*.ipynb"):
        original = ROOT/copy.relative_to(SITE/"_sources")
        if original.is_file(): shutil.copyfile(original, copy)


def host(address: str) -> str:
    "Check the address of a public copy of the repository; Binder and Colab know those of GitHub."
    if re.fullmatch(r"(https://github\.com/[\w.-]+/[\w.-]+?)?(\.git)?/?", address): return address.removesuffix("/").removesuffix(".git")
    raise argparse.ArgumentTypeError(f"{address!r}: give https://github.com/OWNER/NAME, or leave it out")


def main():
    start = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m book.build", description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=host, default="", help="https://github.com/OWNER/NAME, for links to Binder and Colab")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    given = parser.parse_args()
    if lacking := [m for m in NEEDED if find_spec(m) is None]:
        return print(f"book: {', '.join(lacking)} cannot be imported: install what the book needs, pip install -c constraints.txt -e '.[site]'", file=sys.stderr) or 2
    book = Book(given.repository)
    book.assemble()
    print(f"sources: {len(book.written)} pages, {time.monotonic() - start:.0f} s", flush=True)
    for note in book.notes: print(note)
    if failed := sphinx(given.jobs, given.repository): return failed
    clear()
    originals()
    wrong = audit(SITE)
    for line in wrong: print(line)
    print(f"{SITE.relative_to(ROOT)}/index.html: {time.monotonic() - start:.0f} s, {len(wrong)} faults")
    return bool(wrong)


if __name__ == "__main__": sys.exit(main())
