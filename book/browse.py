"""Open every page of a site in a headless Chromium, driven by its DevTools protocol, and hear what it complains of."""
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

NAMES = "chromium", "chromium-browser", "google-chrome", "chrome"


def chromium() -> str | None:
    "Find a browser on this machine."
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    "One page of the browser."
    def __init__(self, address: str):
        from websocket import create_connection
        self.socket = create_connection(address, timeout=60, suppress_origin=True)
        self.numbers, self.events = itertools.count(1), []
        for part in ("Page", "Runtime", "Network", "Log"): self.call(f"{part}.enable")

    def call(self, method: str, **given):
        "Ask for something and wait for the answer; keep the events that come before it."
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": given}))
        while True:
            said = json.loads(self.socket.recv())
            if said.get("id") == number:
                if "error" in said: raise RuntimeError(f"{method}: {said['error']['message']}")
                return said["result"]
            self.events.append(said)

    def wait(self, event: str, seconds: float = 30):
        "Wait for an event."
        end = time.monotonic() + seconds
        while not any(e.get("method") == event for e in self.events):
            if time.monotonic() > end: raise TimeoutError(event)
            self.events.append(json.loads(self.socket.recv()))

    def run(self, script: str):
        "Evaluate an expression in the page, wait for its promise, and return its value."
        got = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in got: raise RuntimeError(str(got["exceptionDetails"]))
        return got["result"].get("value")

    def open(self, address: str):
        "Open a page, and wait until it is loaded and its formulas are set."
        self.events.clear()
        self.call("Page.navigate", url=address)
        self.wait("Page.loadEventFired")
        self.run("window.MathJax?.startup?.promise?.then(() => 1)")

    def complaints(self) -> list[str]:
        "List what the page said as an error, and what it asked another machine for."
        return [said for e in self.events for said in [complaint(e.get("method"), e.get("params", {}))] if said]

    def size(self, width: int, height: int = 900):
        "Give the window a size; a narrow one is a phone."
        given = dict(width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setDeviceMetricsOverride", **given)


HERE = "file:", "data:", "blob:", "about:", "http://127.0.0.1"   # addresses that leave no machine


def complaint(event: str, given: dict) -> str | None:
    "Say what an event tells against a page, if anything."
    if event == "Runtime.exceptionThrown":
        return f"error: {given['exceptionDetails'].get('exception', {}).get('description')}"
    if event == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
        return f"log: {given['entry']['text']}"
    if event == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
        return f"console: {' '.join(str(a.get('value', '')) for a in given['args'])}"
    if event == "Network.requestWillBeSent" and not given["request"]["url"].startswith(HERE):
        return f"asks another machine for {given['request']['url']}"
    if event == "Network.loadingFailed" and not given.get("canceled"): return f"not loaded: {given.get('errorText')}"


FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-extensions", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--remote-debugging-port=0")


@contextmanager
def browser(tab: type = Tab):
    "Start a browser, and yield its page; `tab` is what drives it."
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        process = subprocess.Popen([chromium(), *FLAGS, f"--user-data-dir={home}", "about:blank"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            said, end = Path(home)/"DevToolsActivePort", time.monotonic() + 60
            while not (said.is_file() and said.read_text().strip()):
                if time.monotonic() > end: raise TimeoutError("the browser does not answer")
                time.sleep(0.1)
            pages = json.load(urlopen(f"http://127.0.0.1:{said.read_text().split()[0]}/json"))
            yield tab(next(p for p in pages if p["type"] == "page")["webSocketDebuggerUrl"])
        finally:
            process.terminate()
            process.wait(20)


WIDE = "document.documentElement.scrollWidth - innerWidth"
UNSET = "[...document.querySelectorAll('mjx-merror, span.problematic')].map(e => e.textContent.slice(0, 60))"


def look(tab: Tab, address: str) -> list[str]:
    "Open a page wide and narrow, and list what is wrong with it."
    tab.size(1280)
    tab.open(address)
    found = tab.complaints() + [f"not set: {e}" for e in tab.run(UNSET)]
    tab.size(360, 780)
    time.sleep(0.05)
    beyond = tab.run(WIDE)
    return found + ([f"{beyond} pixels wider than a phone"] if beyond > 0 else [])


def search(tab: Tab, address: str, word: str) -> list[str]:
    "Search the site for a word that many pages have."
    tab.size(1280)
    tab.open(f"{address}?q={word}")
    for _ in range(200):
        n = tab.run("document.querySelectorAll('#search-results li').length")
        if n > 5: break
        time.sleep(0.05)
    return tab.complaints() + ([] if n > 5 else [f"{n} pages found for {word}"])


def main(home: str) -> int:
    "Open every page of a site."
    if not chromium():
        print(f"book: no browser: install one of {', '.join(NAMES)}", file=sys.stderr)
        return 2
    root = Path(home).resolve()
    pages = [p for p in sorted(root.rglob("*.html")) if "_static" not in p.relative_to(root).parts]
    wrong = 0
    with browser() as tab:
        for page in pages:
            found = look(tab, page.as_uri())
            if page == root/"search.html": found += search(tab, page.as_uri(), "mixture")
            for line in found: print(f"{page.relative_to(root)}: {line[:300]}", flush=True)
            wrong += len(found)
    print(f"{len(pages)} pages opened, {wrong} faults")
    return 1 if wrong or not pages else 0


if __name__ == "__main__": sys.exit(main(*sys.argv[1:2] or ["build/book"]))
