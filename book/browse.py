"""Drive a headless Chromium by its DevTools protocol: open pages, hear what they say and ask for, take pictures."""
import base64
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
        self.socket, self.numbers, self.events = create_connection(address, timeout=60, suppress_origin=True), itertools.count(1), []
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
        if "exceptionDetails" in got: raise RuntimeError(got["exceptionDetails"].get("exception", got["exceptionDetails"]))
        return got["result"].get("value")

    def open(self, address: str):
        "Open a page, and wait until it is loaded and its formulas are set."
        self.events.clear()
        self.call("Page.navigate", url=address)
        self.wait("Page.loadEventFired")
        self.run("window.MathJax && MathJax.startup && MathJax.startup.promise ? MathJax.startup.promise.then(() => 1) : 1")

    def complaints(self) -> list[str]:
        "List what a page said on the console as an error, and what it asked another machine for."
        found = []
        for e in self.events:
            name, given = e.get("method"), e.get("params", {})
            if name == "Runtime.exceptionThrown": found.append(f"error: {given['exceptionDetails'].get('exception', {}).get('description', '')[:300]}")
            if name == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"): found.append(f"log: {given['entry']['text'][:200]}")
            if name == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
                found.append(f"console: {' '.join(str(a.get('value', '')) for a in given['args'])[:200]}")
            if name == "Network.requestWillBeSent":
                address = given["request"]["url"]
                if not address.startswith(("file:", "data:", "blob:", "http://127.0.0.1", "about:")): found.append(f"request: {address[:200]}")
            if name == "Network.loadingFailed" and not given.get("canceled"): found.append(f"not loaded: {given.get('errorText')}")
        return found

    def size(self, width: int, height: int = 900):
        "Give the window a size; small ones are phones."
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def dark(self, on: bool = True):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if on else "light"}])

    def picture(self, path: Path, whole: bool = False, most: int = 8000):
        "Write a picture of the window, or of the whole page down to some height."
        given = {}
        if whole:
            box = self.call("Page.getLayoutMetrics")["cssContentSize"]
            given = {"captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": box["width"], "height": min(box["height"], most), "scale": 1}}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png", **given)["data"]))


@contextmanager
def browser():
    "Start a browser, and yield a function that opens a tab."
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        process = subprocess.Popen([chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={home}",
                                    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "about:blank"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            said = Path(home)/"DevToolsActivePort"
            for _ in range(600):
                if said.is_file() and said.read_text().strip(): break
                time.sleep(0.1)
            port = said.read_text().split()[0]
            def tab() -> Tab:
                pages = json.load(urlopen(f"http://127.0.0.1:{port}/json"))
                return Tab(next(p for p in pages if p["type"] == "page")["webSocketDebuggerUrl"])
            yield tab
        finally:
            process.terminate()
            process.wait(20)


WIDE = "document.documentElement.scrollWidth - innerWidth"
UNSET = "[...document.querySelectorAll('mjx-merror, .MathJax_Error, span.problematic')].map(e => e.textContent.slice(0, 60))"


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
    pages, wrong = [p for p in sorted(root.rglob("*.html")) if "_static" not in p.relative_to(root).parts], 0
    with browser() as tab:
        one = tab()
        for page in pages:
            for line in look(one, page.as_uri()) + (search(one, page.as_uri(), "mixture") if page == root/"search.html" else []):
                print(f"{page.relative_to(root)}: {line}", flush=True)
                wrong += 1
    print(f"{len(pages)} pages opened, {wrong} faults")
    return 1 if wrong or not pages else 0


if __name__ == "__main__": sys.exit(main(*sys.argv[1:2] or ["build/book"]))
