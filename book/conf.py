"""How Sphinx makes the book: what `book/build.py` has put together in build/book-src, nothing from another machine."""
import os
from importlib.metadata import files
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.fileutil import copy_asset_file

HERE = Path(__file__).parent
REPOSITORY = os.environ.get("BOOK_REPOSITORY", "")   # the one setting of all links to a host; empty: no link

project, author, copyright = "regmix", "regmix developers", "2026 onwards, regmix developers"
extensions = ["myst_nb", "sphinx.ext.mathjax"]
root_doc = "index"
language = "en"
exclude_patterns = ["nbs/solutions/**"]   # files that one may download

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "gfm"
myst_enable_extensions = ["dollarmath", "amsmath", "fieldlist"]
myst_heading_anchors = 5
myst_disable_syntax = ["myst_line_comment", "myst_block_break", "myst_target", "myst_role"]   # Jupyter has none
myst_links_external_new_tab = False
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "misc.highlighting_failure"]
nb_ipywidgets_js = {}

mathjax_path = "mathjax/tex-svg-full.js"   # one file, its fonts in it

add_module_names = False
python_maximum_signature_line_length = 88
html_theme = "sphinx_book_theme"
html_title = "regmix"
html_static_path = [str(HERE/"_static")]
html_css_files = ["book.css"]
html_js_files = ["book.js", "play.js"]
html_favicon = str(HERE/"_static/favicon.svg")
html_extra_path = [p for p in [os.environ.get("BOOK_EXTRA", "")] if p]
html_show_sphinx = False
html_last_updated_fmt = None
html_context = {"default_mode": "auto"}   # light or dark, as the reader's system has it, until a reader says otherwise
html_theme_options = {
    "show_toc_level": 2, "show_navbar_depth": 1, "max_navbar_depth": 3, "home_page_in_toc": True,
    "use_download_button": True, "use_fullscreen_button": False,
    "pygments_light_style": "a11y-high-contrast-light", "pygments_dark_style": "a11y-high-contrast-dark",
}
if REPOSITORY:
    html_theme_options |= {
        "repository_url": REPOSITORY, "repository_branch": "main", "path_to_docs": "",
        "use_repository_button": True,
        "launch_buttons": {"binderhub_url": "https://mybinder.org", "colab_url": "https://colab.research.google.com",
                           "notebook_interface": "jupyterlab"},
    }


def copy_mathjax(app, error):
    "Put MathJax beside the pages."
    if error: return
    name = Path(mathjax_path).name
    at = next(p for p in files("sphinx-mathjax-offline") if p.name == name)
    folder = Path(app.outdir)/"_static/mathjax"
    folder.mkdir(parents=True, exist_ok=True)
    copy_asset_file(str(at.locate()), str(folder))


class MarkCells(SphinxPostTransform):
    "Give each cell of code the id of its notebook's cell, so that a link can lead to it."
    default_priority = 198   # before the cells are folded

    def run(self, **kwargs):
        for node in self.document.findall(nodes.container):
            name = (node.get("cell_metadata") or {}).get("cell_id")
            if node.get("nb_element") == "cell_code" and name: node["ids"].append(f"cell-{name}")


class LinkNames(SphinxPostTransform):
    "Let code in prose that is the name of something exported lead to its page."
    default_priority = 700

    def run(self, **kwargs):
        objects, short = self.env.domains["py"].objects, self.env.__dict__.get("short_names")
        if short is None:
            short = {}
            for name in objects: short.setdefault(name.rpartition(".")[2], set()).add(name)
            self.env.short_names = short
        for node in list(self.document.findall(nodes.literal)):
            text = node.astext()
            bare = text[:-2] if text.endswith("()") else text
            if isinstance(node.parent, nodes.reference | nodes.title) or not telling(text): continue
            full = {bare} if bare in objects else short.get(bare, set())
            if len(full) == 1: self.link(node, objects[full.pop()])

    def link(self, node, entry):
        uri = self.app.builder.get_relative_uri(self.env.docname, entry.docname)
        link = nodes.reference("", "", internal=True, refuri=f"{uri}#{entry.node_id}", classes=["name"])
        node.replace_self(link)
        link += node


def telling(text: str) -> bool:
    "Tell whether a name is one that a reader takes for a name of this package: not `run` or `n`."
    called = text.endswith("()") or text.startswith("regmix.")
    return called or "_" in text.strip("_") or sum(c.isupper() for c in text) > 1


def setup(app):
    app.add_post_transform(MarkCells)
    app.add_post_transform(LinkNames)
    app.connect("build-finished", copy_mathjax)
