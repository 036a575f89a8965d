"""Slides of the sessions: they ask no other machine for anything, and their notes are there."""
import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbconvert")
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from book import audit, slides


def test_slides_ask_no_other_machine(tmp_path):
    def cell(make, text, kind): return make(text, metadata={"slideshow": {"slide_type": kind}})
    cells = [cell(new_markdown_cell, "# A $p$ formula", "slide"), cell(new_code_cell, "1 + 1", "slide"), cell(new_markdown_cell, "Say this.", "notes")]
    nbformat.write(new_notebook(cells=cells), tmp_path/"s.ipynb")
    html = slides.slides(tmp_path/"s.ipynb")
    page = audit.Page(html)
    assert page.asked and not [a for a in page.asked if audit.elsewhere(a)] and not [a for s in page.styles for a in audit.styled(s) if audit.elsewhere(a)]
    assert "import mermaid" not in html and "require(" not in html and html.count("<section>") == 4 and '<aside class="notes">' in html
    assert all(a.startswith(("reveal/", "mathjax/")) for a in page.asked) and "reveal/dist/theme/white.css" in page.asked   # which has its own letters


def test_what_the_slides_load_is_said_where_it_is_not(monkeypatch, capsys):
    monkeypatch.setattr(slides, "WANTED", {"no-such-package": ("a/", "b", ("c",))})
    assert slides.main() == 2 and "no-such-package is not installed" in capsys.readouterr().err
