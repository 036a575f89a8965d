"""Links within the repository lead somewhere: pages, notebooks and folders are there, and so are headings."""
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT/"data").rglob("*.md"), *(ROOT/"figures").glob("*.md")]
PAGES = sorted(p for p in PAGES + [*(ROOT/"nbs").rglob("*.ipynb")] if ".ipynb_checkpoints" not in p.parts)
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)(?: \"[^\"]*\")?\)")
ELSEWHERE = re.compile(r"[a-z]+:|//")   # https:, mailto:
NAMED = re.compile(r"\[((?:`[A-Za-z_]\w*`|[^`\]])+)\]\(([^()\s]*?([^/()\s]+\.ipynb))\)")


def prose(path):
    "The Markdown of a page, or of a notebook's Markdown cells, without what is quoted as code."
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n\n".join("".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")
    return re.sub(r"(?ms)^```.*?^```", "", text)


def anchors(path):
    "The names of a page's headings, as GitHub makes them."
    found = set()
    for title in re.findall(r"(?m)^#+ (.+?)\s*$", prose(path)):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
        found |= {slug, slug + "-1"}
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    dead = []
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", prose(path))):
        if ELSEWHERE.match(link): continue
        file, _, anchor = link.partition("#")
        target = path.parent/file if file else path
        if not target.exists(): dead.append(f"{link}: no such file")
        elif ROOT not in target.resolve().parents and target.resolve() != ROOT: dead.append(f"{link}: outside the repository")
        elif anchor and anchor.lower() not in anchors(target): dead.append(f"{link}: no such heading")
    assert not dead, "\n".join(dead)


def test_links_name_the_chapter_that_defines():
    "Where a link's text is the name of a function, the chapter that it leads to defines that function."
    code = {}
    for path in (ROOT/"nbs").glob("[0-9]*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code[path.name] = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    wrong = []
    for path in PAGES:
        for text, _, chapter in NAMED.findall(prose(path)):
            for name in re.findall(r"`(\w+)`", text):
                defined = rf"(?m)\b(?:def|class) {name}\b|^(?:\w+, )*{name}\b[^=\n]* = |\.{name}\b[^=\n]* = "
                if chapter in code and not re.search(defined, code[chapter]):
                    wrong.append(f"{path.relative_to(ROOT)}: {name} is not defined in {chapter}")
    assert not wrong, "\n".join(wrong)
