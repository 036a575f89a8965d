"""Read every page of a site: links lead somewhere, pictures have words, nothing comes from another machine."""
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ASKED = {"link": "href", "object": "data"}   # element: the attribute whose address a browser follows unasked
ASKED |= dict.fromkeys(("script", "img", "iframe", "source", "video", "audio", "embed"), "src")
FETCHED = {   # kinds of <link> that a browser follows
    "stylesheet", "icon", "shortcut", "manifest", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch",
}
PLACEHOLDERS = "github.com/regmix/", "regmix.github.io"   # addresses of settings.ini, where nobody has put anything


def telling(alt: str | None) -> bool:
    "Tell whether a picture's words are words: where none are given, docutils takes the file's name."
    return bool(alt and alt.strip()) and not re.search(r"\.(png|svg|jpe?g|gif)$", alt.strip())


class Page(HTMLParser):
    "What a page holds that a check asks for."
    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.asked, self.wordless, self.bare, self.twice = set(), [], [], [], [], set()
        self.styles, self.title, self.lang, self._in = [], "", "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if "id" in given:
            if given["id"] in self.ids: self.twice.add(given["id"])
            self.ids.add(given["id"])
        if tag == "a" and given.get("name"): self.ids.add(given["name"])
        if tag == "a" and given.get("href"): self.links.append(given["href"])
        if tag == "html": self.lang = given.get("lang", "")
        if tag == "img" and not telling(given.get("alt")): self.wordless.append(given.get("src", "")[:80])
        if tag == "iframe" and not given.get("title"): self.wordless.append(given.get("src", ""))
        follows = tag != "link" or FETCHED & set(given.get("rel", "").split())
        if follows and given.get(ASKED.get(tag)): self.asked.append(given[ASKED[tag]])
        if given.get("srcset"): self.asked += [part.split()[0] for part in given["srcset"].split(",")]
        if given.get("style"): self.styles.append(given["style"])
        if tag in ("style", "title"): self._in = tag

    def handle_endtag(self, tag):
        if tag == self._in: self._in = None

    def handle_data(self, data):
        if self._in == "style": self.styles.append(data)
        elif self._in == "title": self.title += data


def elsewhere(address: str) -> bool:
    "Tell whether an address is on another machine."
    return bool(re.match(r"(?i)(https?:)?//|wss?:|ftp:", address))


def styled(text: str) -> list[str]:
    "List the addresses that a style sheet asks for."
    text = re.sub(r"(?s)/\*.*?\*/", "", text)
    return [a or b for a, b in re.findall(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""", text)]


def lead(home: Path, page: Path, address: str, pages: dict[Path, Page]) -> str | None:
    "Say what is wrong with a link, if anything."
    parts = urlsplit(address)
    if parts.scheme or address.startswith("//"): return None
    target = (page.parent/unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir(): target /= "index.html"
    if not target.is_relative_to(home): return f"{address} leads out of the book"
    if not target.is_file(): return f"{address} leads nowhere"
    known = pages[target].ids | {"", "top"} if target in pages else {unquote(parts.fragment)}
    if unquote(parts.fragment) not in known: return f"{address}: no such place there"


def faults(home: Path, path: Path, page: Page, pages: dict[Path, Page]) -> list[str]:
    "List what is wrong with a page."
    found = [lead(home, path, a, pages) for a in dict.fromkeys(page.links)]
    asked = page.asked + [a for s in page.styles for a in styled(s)]
    found += [f"asks another machine for {a}" for a in asked if elsewhere(a)]
    found += [f"{a} is not there" for a in asked if not elsewhere(a) and lead(home, path, a.split("?")[0], {})]
    found += [f"a picture without words: {src}" for src in page.wordless]
    found += [f"a link to a placeholder: {a}" for a in page.links if any(p in a for p in PLACEHOLDERS)]
    found += [f"the id {i} is there twice" for i in sorted(page.twice)]
    if not page.title.strip(): found.append("no title")
    if not page.lang: found.append("no language")
    return [f for f in found if f]


def audit(home: Path) -> list[str]:
    "List what is wrong in a site, a line each, with the page."
    home = home.resolve()
    paths = [p for p in sorted(home.rglob("*.html")) if "_static" not in p.relative_to(home).parts]
    pages = {p: Page(p.read_text(encoding="utf-8")) for p in paths}
    wrong = [] if pages else [f"{home}: no page"]
    for path, page in pages.items():
        wrong += [f"{path.relative_to(home)}: {f}" for f in faults(home, path, page, pages)]
    for path in sorted(home.rglob("*.css")):
        asked = filter(elsewhere, styled(path.read_text(encoding="utf-8")))
        wrong += [f"{path.relative_to(home)}: asks another machine for {a}" for a in asked]
    return wrong


if __name__ == "__main__":
    wrong = audit(Path(sys.argv[1]))
    for line in wrong: print(line)
    sys.exit(bool(wrong))
