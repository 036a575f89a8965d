"""Make slides of the sessions in build/slides: shown in a browser, they need no network. S opens the notes."""
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from regmix.files import write_file

from .pages import BUILD, ROOT

OUT = BUILD/"slides"
WANTED = {   # distribution -> part of a path in it: what the slides load, and where it is put
    "sphinx-revealjs": ("_static/revealjs/", "reveal", ("dist/", "plugin/notes/")),
    "sphinx-mathjax-offline": ("mathjax/", "mathjax", ("tex-svg-full.js",)),
}


def copy_scripts(out: Path):
    "Put reveal.js and MathJax beside the slides; both come with packages of Sphinx."
    for name, (inside, folder, parts) in WANTED.items():
        for file in files(name):
            _, found, rest = file.as_posix().partition(inside)
            if not found or not rest.startswith(parts) or rest.endswith(".map"): continue
            target = out/folder/rest
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), target)


def slides(path: Path) -> str:
    "Turn a session into one page of slides."
    from nbconvert import SlidesExporter
    exporter = SlidesExporter(template_name="offline_reveal", extra_template_basedirs=[str(Path(__file__).parent)])
    exporter.reveal_url_prefix, exporter.reveal_theme = "reveal", "white"   # its letters are files; others fetch theirs
    made = exporter.from_filename(str(path))[0]
    return re.sub(r'href="([\w./-]+\.(ipynb|md)[^"]*)"', r'href="../../nbs/sessions/\1"', made)   # stay where they are


def main() -> int:
    try: copy_scripts(OUT)
    except PackageNotFoundError as e:
        print(f"slides: {e.name} is not installed: install what the site needs with pip install -c constraints.txt "
              "-e '.[site]', or write slides that load reveal.js from the net: jupyter nbconvert --to slides",
              file=sys.stderr)
        return 2
    for path in sorted((ROOT/"nbs/sessions").glob("*.ipynb")):
        made = write_file(OUT/f"{path.stem}.html", slides(path))
        print(made.relative_to(ROOT))
    return 0


if __name__ == "__main__": sys.exit(main())
