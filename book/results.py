"""Pages of what was run: stages and exhibits with the outputs of their last run, exhibits with their verdicts."""
import csv
import re
from collections import Counter
from pathlib import Path

import nbformat

from . import notebooks
from .pages import BUILD, ROOT

LOGS = BUILD/"logs"   # where the runner leaves the notebooks that it has executed
COMMANDS = {          # file of parameters: the command that runs a section of it
    "reproduce": "make reproduce ONLY=", "beyond": "make beyond ONLY=",
    "replicate-cpu": "make replicate SWARM=", "targets-cpu": "make replicate-target SWARM=",
}


def read(path: Path): return nbformat.read(path, 4)


def table(rows: list[dict], columns: dict) -> str:
    "Write rows as a table of Markdown; `columns` gives each name its heading."
    def cell(value): return str(value).replace("|", r"\|").replace("$", r"\$")
    def line(values): return f"| {' | '.join(map(cell, values))} |"
    body = [line(r[c] for c in columns) for r in rows]
    return "\n".join([line(columns.values()), line("---" for _ in columns), *body])


def sections_of_stages() -> dict[str, list[tuple[str, str]]]:
    "List the sections that run each notebook, with their files of parameters, in the order of these."
    from regmix.runner import sections
    named = {}
    for file in COMMANDS:
        for s in sections(ROOT/f"nbs/params/{file}.yaml").values():
            named.setdefault(s.notebook.relative_to(ROOT).as_posix(), []).append((s.name, file))
    return named


def run_of(file: str, names: list[str]):
    "Return a notebook with the outputs of a run, the run's name, and whether it ran this code; such a run goes first."
    notebook, runs = read(ROOT/file), [n for n in names if (LOGS/f"{n}.ipynb").is_file()]
    if not runs: return notebook, None, False
    made = {name: notebooks.with_outputs(notebook, read(LOGS/f"{name}.ipynb")) for name in runs}
    best = next((name for name in runs if made[name][1]), runs[0])
    return made[best][0], best, made[best][1]


def behind_title(notebook, text: str | None):
    "Put a paragraph behind a notebook's title and subtitle."
    if not text: return
    head = notebook.cells[0].source.split("\n\n")
    at = 2 if len(head) > 1 and head[1].startswith(">") else 1
    notebook.cells[0].source = "\n\n".join([*head[:at], text, *head[at:]])


def not_run(name: str | None, same: bool, command: str) -> str | None:
    "Say that the outputs of a page are missing, or those of older code."
    if same: return None
    if not name: return f"*This notebook has not been run here, so the page has no outputs: `{command}` runs it.*"
    return f"*This notebook was edited after its last run. The outputs are those of that run; `{command}` renews them.*"


def stage(file: str, sections: list[tuple[str, str]]):
    "Return a stage's notebook with the outputs of one of its sections."
    files = dict(sections)
    made, name, same = run_of(file, list(files))
    of = name or next(iter(files))
    behind_title(made, not_run(name, same, f"{COMMANDS[files[of]]}{of}"))
    others = f" It is run for {len(files)} sections." if len(files) > 1 else ""
    where = f"[parameters](../params/{files[of]}.yaml)"
    if name: behind_title(made, f"*The outputs are those of section `{name}` of the {where}.{others}*")
    return made


def exhibits_of(gallery: str) -> dict[str, list[str]]:
    "Find the exhibits of each notebook, as the gallery names them."
    named = {}
    for section in re.split(r"(?m)^## ", gallery)[1:]:
        exhibit = re.match(r"((?:Table|Figure|Appendix) \w+)", section)
        if not exhibit: continue
        for notebook in re.findall(r"\(\.\./(nbs/exhibits/\w+\.ipynb)\)", section):
            named.setdefault(notebook, []).append(exhibit[1])
    return named


def verdicts() -> dict[str, list[dict]]:
    "Sort the ledger's rows by notebook: those of our own runs belong to `_ours`, where an exhibit has two notebooks."
    named = exhibits_of((ROOT/"figures/README.md").read_text(encoding="utf-8"))
    with open(ROOT/"figures/ledger.csv", encoding="utf-8", newline="") as f: ledger = list(csv.DictReader(f))
    found = {}
    for notebook, exhibits in named.items():
        ours, twin = "_ours" in notebook, notebook.replace("_ours", "")
        rows = [r for r in ledger if r["exhibit"] in exhibits]
        alone = ours and twin not in named
        found[notebook] = [r for r in rows if alone or (r["source"] == "replication") == ours]
    return found


ORDER = "match", "close", "differs", "inconclusive", "ours alone", "out of reach"
SHOWN = {"quantity": "quantity", "paper": "paper", "ours": "ours", "bounds": "95% interval", "verdict": "verdict"}


def verdict(rows: list[dict]) -> str:
    "Say what the ledger holds of an exhibit: counts, and the rows in a fold."
    given = Counter(r["verdict"] for r in rows)
    counts = [f"{given[v]} {v}" for v in [*ORDER, *sorted(set(given) - set(ORDER))] if given[v]]
    links = "[What the words mean](../90_ledger.ipynb), [all rows](../../figures/ledger.csv)"
    shown = [r | {"bounds": f"{r['low']} to {r['high']}" if r["low"] and r["high"] else ""} for r in rows]
    fold = f'<details class="rows"><summary>The {len(rows)} rows of the ledger</summary>'
    return f"**Verdict**: {', '.join(counts)}. {links}.\n\n{fold}\n\n{table(shown, SHOWN)}\n\n</details>"


def drop_second_pictures(notebook):
    "Where a page begins with a picture from figures/, leave it out below the cell that draws it."
    shown = set(re.findall(r"\(\.\./\.\./figures/(\w+)\.png\)", notebook.cells[0].source))
    for cell in notebook.cells:
        drawn = set(re.findall(r"save_figure\(\w+, '(\w+)'", cell.source)) if cell.cell_type == "code" else set()
        if drawn and drawn <= shown: cell.outputs = [o for o in cell.outputs if "image/png" not in o.get("data", {})]


def exhibit(file: str, rows: list[dict]):
    "Return an exhibit's notebook with its verdict and the outputs of its last run."
    name = Path(file).stem
    made, run, same = run_of(file, [name])
    behind_title(made, not_run(run, same, f"make {'beyond' if '/beyond/' in file else 'reproduce'} ONLY={name}"))
    behind_title(made, verdict(rows) if rows else None)
    drop_second_pictures(made)
    return made
