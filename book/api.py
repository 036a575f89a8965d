"""Write a page for each module: what it exports, read from its source and never imported."""
import ast
import io
import re
import tokenize
from dataclasses import dataclass, field, replace
from pathlib import Path

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def comments(source: str) -> dict[int, str]:
    "Find the comments of a module by line."
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


@dataclass
class Symbol:
    "A name that a module exports."
    name: str
    kind: str                 # 'function', 'class', 'method', 'attribute' or 'data'
    signature: str = ""       # what stands behind the name
    doc: str = ""
    parameters: list = field(default_factory=list)   # (name, type, comment)
    returns: str = ""         # what the comment behind the signature says
    members: list = field(default_factory=list)      # of a class
    cell: str = ""            # id of the notebook's cell


def _said(notes: dict, first: int, last: int) -> str:   # the comments of some lines, as one
    return " ".join(notes[i] for i in range(first, last + 1) if i in notes)


def _signature(node: FUNCTION, skip_self: bool) -> str:
    args = ast.parse(ast.unparse(node)).body[0].args
    if skip_self and (args.posonlyargs or args.args): (args.posonlyargs or args.args).pop(0)
    back = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(args)}){back}"


def function(node: FUNCTION, notes: dict, kind: str = "function") -> Symbol:
    "Read a function: its signature, the comment of each argument, its docstring."
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    a = node.args
    args = [*a.posonlyargs, *a.args, *filter(None, [a.vararg]), *a.kwonlyargs, *filter(None, [a.kwarg])]
    end = node.body[0].lineno - 1
    starts = [x.lineno for x in args]
    after = [*starts[1:], None]
    found = []
    for x, line, following in zip(args, starts, after):
        last = max(line, x.end_lineno) if following is None else max(line, following - 1)
        if following is None:   # up to the line that closes the signature, whose comment is the result's
            closing = node.returns.lineno if node.returns else end
            last = max(line, x.end_lineno, closing - 1)
        said = "" if following == line else _said(notes, line, last)
        found.append((x.arg, ast.unparse(x.annotation) if x.annotation else "", said))
    own_line = node.returns.lineno if node.returns else end
    returns = _said(notes, own_line, end) if not starts or own_line > starts[-1] else ""
    if kind == "method" and not static and found: found = found[1:]
    return Symbol(node.name, kind, _signature(node, kind == "method" and not static), ast.get_docstring(node) or "",
                  [p for p in found if p[2]], returns)


def _is_property(node) -> bool:
    names = {ast.unparse(d).split(".")[-1].split("(")[0] for d in node.decorator_list}
    return bool(names & {"property", "cached_property"})


def klass(node: ast.ClassDef, notes: dict) -> Symbol:
    "Read a class: its fields, its docstring, its public methods."
    bases = ", ".join(map(ast.unparse, node.bases))
    made = Symbol(node.name, "class", f"({bases})" if bases else "", ast.get_docstring(node) or "")
    fields = [x for x in node.body if isinstance(x, ast.AnnAssign)]
    if any("dataclass" in ast.unparse(d) for d in node.decorator_list):
        made.signature = f"({', '.join(map(ast.unparse, fields))})"
    for x in node.body:
        if isinstance(x, ast.AnnAssign) and isinstance(x.target, ast.Name) and not x.target.id.startswith("_"):
            made.parameters.append((x.target.id, ast.unparse(x.annotation), _said(notes, x.lineno, x.end_lineno)))
        elif isinstance(x, FUNCTION) and x.name == "__init__":
            init = function(x, notes, "method")
            made.signature, made.parameters = init.signature.split(" -> ")[0], init.parameters + made.parameters
        elif isinstance(x, FUNCTION) and not x.name.startswith("_") and ast.get_docstring(x):
            member = function(x, notes, "method")
            if _is_property(x): member.kind, member.signature = "property", ""
            made.members.append(member)
    return made


def exported(tree: ast.Module) -> list[str]:
    "List the names of a module's `__all__`."
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return ast.literal_eval(node.value)
    return []


def _value(node) -> str:   # of a constant, if it fits a line
    text = ast.unparse(node.value) if node.value else ""
    return text if len(text) <= 100 else ""


def _added(node, found: dict, functions: dict) -> tuple | None:   # `Class.name = function`: (class, name, function)
    if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)): return None
    owner, name = node.targets[0].value, node.targets[0].attr
    made = functions.get(getattr(node.value, "id", ""))
    known = isinstance(owner, ast.Name) and owner.id in found and made and not name.startswith("_")
    return (owner.id, name, made) if known else None


def module(path: Path) -> tuple[str, str, list[Symbol]]:
    "Read a module: its docstring, its notebook, and what it exports in the order of the notebook."
    source = path.read_text(encoding="utf-8")
    tree, notes = ast.parse(source), comments(source)
    names, found, cells = set(exported(tree)), {}, {}
    functions = {n.name: n for n in tree.body if isinstance(n, FUNCTION)}
    for i, line in enumerate(source.splitlines(), 1):
        match = re.match(r"# %% \S+ #(\w+)", line)
        if match: cells[i] = match[1]
    for node in tree.body:
        at = cells.get(max((i for i in cells if i <= node.lineno), default=0), "")
        if added := _added(node, found, functions):
            owner, name, made = added
            found.pop(made.name, None)
            found[owner].members.append(replace(function(made, notes, "method"), name=name))
        elif isinstance(node, FUNCTION) and node.name in names: found[node.name] = function(node, notes)
        elif isinstance(node, ast.ClassDef) and node.name in names: found[node.name] = klass(node, notes)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for t in targets:
                for name in [n.id for n in ast.walk(t) if isinstance(n, ast.Name) and n.id in names]:
                    found[name] = Symbol(name, "data", _value(node), _said(notes, node.lineno, node.end_lineno))
        for name in found:
            if not found[name].cell: found[name].cell = at
    notebook = re.search(r"File to edit: \.\./(\S+\.ipynb)", source)
    return ast.get_docstring(tree) or "", notebook[1] if notebook else "", list(found.values())


def _one_line(text: str) -> str: return " ".join(text.split())


def _fields(s: Symbol) -> list[str]:
    lines = []
    for name, kind, said in s.parameters:
        shown = name.replace("_", r"\_") if name.startswith("_") else name
        lines.append(f":param {shown}: {_one_line(said)}")
        if kind: lines.append(f":type {shown}: {kind}")
    if s.returns: lines.append(f":returns: {_one_line(s.returns)}")
    return lines


def _block(s: Symbol, where: str, depth: int = 0) -> list[str]:
    "Write one symbol as a directive of Sphinx's Python domain."
    fence = "`" * (5 - depth)
    kind = {"data": "data", "class": "class", "property": "property", "method": "method"}.get(s.kind, "function")
    lines = [f"{fence}{{py:{kind}}} {s.name}{s.signature if s.kind not in ('data', 'property') else ''}", ""]
    if s.doc: lines += [s.doc, ""]
    if s.kind == "data" and s.signature: lines += [f"Value: `` {s.signature} ``", ""]
    fields = _fields(s)
    if fields: lines += [*fields, ""]
    for member in s.members: lines += _block(member, "", depth + 1)
    if where and s.cell: lines += [f'<a href="{where}#cell-{s.cell}">Source, in the chapter</a>', ""]
    return [*lines, fence, ""]


def page(path: Path) -> str:
    "Write the page of one module."
    name = f"regmix.{path.stem}"
    doc, notebook, symbols = module(path)
    lines = [f"# {name}", "", f"> {_one_line(doc)}", ""]
    chapter = f"[{Path(notebook).stem}](../{notebook})"
    if notebook: lines += [f"From the chapter {chapter}, which builds it step by step.", ""]
    lines += [f"```{{py:module}} {name}", "```", ""]
    for s in symbols: lines += _block(s, f"../{Path(notebook).with_suffix('.html')}" if notebook else "")
    return "\n".join(lines)


def about(path: Path) -> str:
    "Say in a line what a module is for: its docstring."
    return _one_line(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
