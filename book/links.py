"""Links of the repository as links of the book: a notebook is a page, a folder the page about it, a file a copy."""
import posixpath
import re

CODE = re.compile(r"(?ms)(^```.*?^```\s*$|`[^`\n]+`)")
LINK = re.compile(r"(\]\()([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)((?: \"[^\"]*\")?\))")
ELSEWHERE = re.compile(r"[a-z]+:|//|#")


def prose_only(markdown: str, change) -> str:
    "Apply a function to what is not code."
    parts = CODE.split(markdown)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


def relink(
    markdown: str,
    here: str,   # the file that it stands in, from the repository's root
    to: str,     # the page that it becomes, from the root of the book's sources
    find,        # a path from the repository's root -> one from the root of the sources; None: there is no such thing
) -> str:
    "Rewrite the relative links of a page."
    def new(match):
        if ELSEWHERE.match(match[2]): return match[0].lower() if match[2][0] == "#" else match[0]
        file, mark, anchor = match[2].partition("#")
        anchor = anchor.lower()   # Jupyter keeps capitals in the name of a heading, GitHub and the book do not
        found = find(posixpath.normpath(posixpath.join(posixpath.dirname(here), file)))
        if found is None: return match[0]
        return f"{match[1]}{posixpath.relpath(found, posixpath.dirname(to) or '.')}{mark}{anchor}{match[3]}"
    return prose_only(markdown, lambda text: LINK.sub(new, text))
