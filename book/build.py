"""Build the book: pages are put together in build/book-src, Sphinx makes build/book of them, and a check reads it.

Chapters bring the outputs that are stored in them. Stages and exhibits bring those of their last run, from build/logs;
a page whose notebook has not run says which command runs it. No notebook is executed but the index, which only
reads tables.
"""
import argparse
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

from regmix.files import cores, digest_of, sha256_of

from . import api, notebooks, play
from .audit import audit
from .links import relink
from .pages import BUILD, FRONT, PARTS, ROOT, SOURCE, Finder, plan, title_of, toctree, write_bytes
from .results import exhibit, read, sections_of_stages, stage, verdicts

SITE = BUILD/"book"
EXPLORER = BUILD/"book-extra/mixture-explorer.html"
NEEDED = "sphinx", "myst_nb", "sphinx_book_theme", "sphinx-mathjax-offline"


def index_page() -> str:
    "Run the index, which reads tables only, and return it as Markdown."
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    notebook, where = read(ROOT/FRONT), {"metadata": {"path": str(ROOT/"nbs")}}
    quiet = ["--IPKernelApp.log_level=50"]   # it would say that others on this machine could listen
    try: NotebookClient(notebook, kernel_name="python3", resources=where, extra_arguments=quiet).execute()
    except CellExecutionError as e:
        raise SystemExit(f"book: {FRONT} does not fit the tables in figures/ ({e.ename}: {e.evalue}): "
                         "renew them with make reproduce and make beyond, or mend its sentences") from None
    return "\n\n".join(c.source for c in notebooks.page(notebook).cells if c.cell_type == "markdown")


EXPLORED = """# The mixture explorer

> Drag the weight of a domain, and see what the fitted laws predict for each loss.

The page below is one file that asks for nothing; <a href="mixture-explorer.html">open it by itself</a>
on a small screen.
Its models are fitted as [Regression on mixtures](nbs/50_regression.ipynb) and [Laws](nbs/55_laws.ipynb) show.

Three smaller pictures to play with stand in their chapters:
<a href="nbs/10_mixtures.html#play-strength">the strength of a Dirichlet draw</a>,
<a href="nbs/50_regression.html#play-proxies">proxies, noise, and what is proposed</a>, and
<a href="nbs/65_optima.html#play-guards">guards, and closeness to the prior</a>.

<iframe class="explorer" src="mixture-explorer.html"
  title="The mixture explorer: sliders for the weights of the domains, and the predicted losses"></iframe>
"""


def run_elsewhere(repository: str) -> str:
    "Say how a notebook runs on somebody else's machine, if there is a public copy that it can be taken from."
    if not repository: return ""
    return ("## Without installing\n\nThe rocket above a notebook opens it on Binder, where all is installed, "
            "or on Colab. On Colab run this first, and then restart the runtime:\n\n"
            f"```sh\n!git clone --depth 1 {repository} book && pip install -q -e 'book[book]'\n```\n\n")


class Book:
    "Puts the sources together; notes what it leaves out."
    def __init__(self, repository: str = ""):
        self.repository = repository
        self.parts = plan()
        self.find = Finder(f for files in self.parts.values() for f in files)
        self.has_explorer = explorer()
        self.pictures = play.numbers(explorer_key())
        self.sections, self.rows, self.notes = sections_of_stages(), verdicts(), []
        self.written = set()

    def add(self, name: str, text: str):
        self.written.add(name)
        write_bytes(SOURCE/name, text.encode())

    def made(self, file: str):
        "Return a notebook with its outputs."
        if file.startswith("nbs/stages/"): return stage(file, self.sections[file])
        if file.startswith(("nbs/exhibits/", "nbs/beyond/")): return exhibit(file, self.rows.get(file, []))
        return read(ROOT/file)

    def notebook(self, file: str):
        made = notebooks.page(self.made(file))
        for cell in made.cells:
            if cell.cell_type == "markdown": cell.source = relink(cell.source, file, file, self.find)
        made.cells = play.with_pictures(made.cells, self.pictures)
        if not any(c.get("outputs") for c in made.cells): self.notes.append(f"no outputs: {file}")
        self.written.add(file)
        write_bytes(SOURCE/file, (nbformat.writes(made) + "\n").encode())

    def markdown(self, file: str, tail: str = ""):
        text = relink((ROOT/file).read_text(encoding="utf-8"), file, file, self.find)
        self.add(file, text + (f"\n\n{tail}\n" if tail else ""))

    def table(self, file: str):
        "Write the page of one table: in no list, but a search finds it by its name."
        name = re.sub(r"\b0", "", Path(file).stem.replace("_", " ")).capitalize()
        text = relink((ROOT/file).read_text(encoding="utf-8"), file, file, self.find)
        if not text.startswith("# "): text = f"# {name}, the numbers\n\n{text}"
        self.add(file, f"---\norphan: true\n---\n\n{text}")

    def assemble(self):
        "Write all sources; remove those of pages that are gone."
        parts, gallery, beyond = self.parts, "figures/README.md", "figures/beyond.md"
        for file in [f for name, files in parts.items() for f in files]:
            if file.endswith(".ipynb"): self.notebook(file)
            elif file == gallery: self.markdown(file, toctree(parts["Gallery"]))
            elif file == beyond: self.markdown(file, toctree(parts["Beyond the paper"]))
            elif file in parts["Tables"]: self.table(file)
            else: self.markdown(file)
        self.stages()
        self.api()
        if self.has_explorer: self.add("explorer.md", EXPLORED)
        self.index()
        keep = self.written | self.find.copied
        for path in [p for p in SOURCE.rglob("*") if p.is_file()]:
            if path.relative_to(SOURCE).as_posix() not in keep: path.unlink()

    def stages(self):
        "Write the page above the stages."
        links = "\n".join(f"- [{title_of(f)}]({f})" for f in self.parts["Stages"])
        values = f"[file of parameters]({self.find('nbs/params/reproduce.yaml')})"
        about = ("# Stages\n\n> The notebooks that compute: each reads files, calls the package, writes a result.\n\n"
                 f"[The runner](nbs/92_runner.ipynb) runs them with the values of a {values}.")
        self.add("stages.md", "\n\n".join([about, links, toctree(self.parts["Stages"])]) + "\n")

    def api(self):
        "Write a page for each module, and the one above them."
        modules = sorted(p for p in (ROOT/"regmix").glob("*.py") if not p.name.startswith("_"))
        for path in modules: self.add(f"api/{path.stem}.md", api.page(path))
        links = "\n".join(f"- [`regmix.{p.stem}`]({p.stem}.md): {api.about(p)}" for p in modules)
        about = "# The package, module by module\n\n> What each module exports: signatures, arguments, what comes back."
        self.add("api/index.md", "\n\n".join([about, links, toctree([f"api/{p.stem}" for p in modules])]) + "\n")

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


def explorer_key() -> str:
    "Digest what the explorer is made of: the package, and whether the authors' logs are here."
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
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-j", str(jobs), "-c", str(Path(__file__).parent),
               "-d", str(BUILD/"book-doctrees"), str(SOURCE), str(SITE)]
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
    short = address.removesuffix("/").removesuffix(".git")
    if re.fullmatch(r"|https://github\.com/[\w.-]+/[\w.-]+", short): return short
    raise argparse.ArgumentTypeError(f"{address!r}: give https://github.com/OWNER/NAME, or leave it out")


def arguments():
    "Read the command line."
    parser = argparse.ArgumentParser(prog="python -m book.build", description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=host, default="",
                        help="https://github.com/OWNER/NAME, for links to Binder and Colab")
    return parser.parse_args()


def main() -> int:
    start, given = time.monotonic(), arguments()
    if lacking := [m for m in NEEDED if find_spec(m) is None]:
        print(f"book: {', '.join(lacking)} cannot be imported: install what the book needs with "
              "pip install -c constraints.txt -e '.[site]'", file=sys.stderr)
        return 2
    book = Book(given.repository)
    book.assemble()
    print(f"sources: {len(book.written)} pages, {time.monotonic() - start:.0f} s", flush=True)
    for note in book.notes: print(note)
    if failed := sphinx(cores(), given.repository): return failed
    clear()
    originals()
    wrong = audit(SITE)
    for line in wrong: print(line)
    print(f"{SITE.relative_to(ROOT)}/index.html: {time.monotonic() - start:.0f} s, {len(wrong)} faults")
    return bool(wrong)


if __name__ == "__main__": sys.exit(main())
