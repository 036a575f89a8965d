"""Turn notebooks into pages: outputs from logs, library code folded, every picture with words for who cannot see it."""
import ast
import re
from copy import deepcopy

from nbformat.v4 import new_markdown_cell

DIRECTIVE = re.compile(r"^#\|\s*([\w-]+)(?::\s*|\s+|$)(.*)$")
LIBRARY = {"export", "exporti"}   # `exports` is library code that the notebook's author wants seen


def directives(source: str) -> tuple[dict, str]:
    "Split a cell's source into its directives, name -> value, and the code that a reader sees."
    found, lines = {}, []
    for line in source.splitlines():
        match = DIRECTIVE.match(line)
        if match: found[match[1]] = match[2].strip()
        elif not re.search(r"#\|\s*hide_line\s*$", line): lines.append(line)
    return found, "\n".join(lines).strip("\n")


def defined(code: str) -> list[str]:
    "List the names that a cell of library code defines, those for its own use last."
    names = []
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef): names.append(node.name)
        elif isinstance(node, ast.Assign): names += [t.id for t in node.targets if isinstance(t, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name): names.append(node.target.id)
    public = [n for n in names if not n.startswith("_")]
    return public or names


def summary(code: str) -> str:
    "Say in one line what a folded cell holds."
    names, n = defined(code), len(code.splitlines())
    what = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    if not names: what = "imports" if "import " in code else "set-up"
    return f"Library code: {what} ({n} line{'s' * (n != 1)})"


def plain(markdown: str) -> str:
    "Take the marks off Markdown."
    text = re.sub(r"(?ms)^```.*?^```", " ", markdown)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?m)^\s*(#+|>|[-*]|\d+\.)\s+", "", text)
    return " ".join(re.sub(r"[*`]|<[^>]+>", "", text).split())


def sentences(text: str, most: int = 300) -> list[str]:
    "Cut plain text into sentences, each of a length that can be listened to."
    found = re.split(r"(?<=[.!?:])\s+(?=[A-Z0-9'\"(])", text)
    return [s if len(s) <= most else s[:most - 3].rsplit(" ", 1)[0] + "..." for s in found if s]


def _prose(cell) -> str:   # what a cell of text says before its next heading
    text = cell.source if cell.cell_type == "markdown" else ""
    if text.lstrip().startswith("#"): text = text.lstrip().partition("\n")[2]
    return plain(re.split(r"(?m)^#+ ", text)[0])


def alt_text(cells: list, i: int, given: str = "") -> str:
    "Say what the picture of cell `i` shows: in the words given with it, or by its heading and the sentences beside it."
    if given: return given.strip("\"'")
    heading = next((h[-1] for c in reversed(cells[:i]) if c.cell_type == "markdown"
                    for h in [re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", c.source))] if h), "")
    before = sentences(_prose(cells[i - 1]))[-1:] if i else []
    after = sentences(_prose(cells[i + 1]))[:2] if i + 1 < len(cells) else []
    said = " ".join(before + after).rstrip(":")
    return f"Picture, {plain(heading).rstrip('.')}. {said}".strip()


def _markdown_of(output) -> str | None:   # what is displayed as Markdown belongs to the prose
    return output.get("data", {}).get("text/markdown")


def _pictured(cell) -> bool:
    return any(kind.startswith("image/") for o in cell.outputs for kind in o.get("data", {}))


def _code_cell(cells, i, cell) -> list:
    "Make what stands in a page for a cell of code: nothing, the cell, and prose that it displayed."
    given, code = directives(cell.source)
    prose = [m for m in map(_markdown_of, cell.outputs) if m]
    cell.outputs = [o for o in cell.outputs if not _markdown_of(o)]
    if "hide" in given or (not code and not cell.outputs): return [new_markdown_cell(m) for m in prose]
    tags = set(cell.metadata.get("tags", []))
    own = {"cell_id": cell.get("id", "")}
    if LIBRARY & set(given):
        tags.add("hide-input")
        own |= {"mystnb": {"code_prompt_show": summary(code), "code_prompt_hide": summary(code)}}
    if given.get("echo") == "false": tags.add("remove-input")
    if _pictured(cell):
        own["mystnb"] = own.get("mystnb", {}) | {"image": {"alt": alt_text(cells, i, given.get("fig-alt", ""))}}
    cell.source, cell.metadata = code, type(cell.metadata)(own, tags=sorted(tags))
    shown = [] if "remove-input" in tags and not cell.outputs else [cell]
    return shown + [new_markdown_cell(m) for m in prose]


def page(notebook):
    "Return a notebook as the book shows it; the one given stays as it is."
    made = deepcopy(notebook)
    cells = made.cells
    made.cells = [new for i, c in enumerate(deepcopy(cells))
                  for new in (_code_cell(cells, i, c) if c.cell_type == "code" else [c])]
    return made


def with_outputs(notebook, log):
    "Return a notebook with the outputs of an executed copy, and whether that copy has the same code."
    made, ran, same = deepcopy(notebook), {c.id: c for c in log.cells}, True
    injected = [c for c in log.cells if "injected-parameters" in c.metadata.get("tags", [])]
    cells = []
    for cell in made.cells:
        cells.append(cell)
        if cell.cell_type != "code": continue
        twin = ran.get(cell.id)
        if twin is None or twin.source != cell.source: same = False
        if twin is not None: cell.outputs = deepcopy(twin.outputs)
        if "parameters" in cell.metadata.get("tags", []): cells += deepcopy(injected)
    made.cells = cells
    return made, same
