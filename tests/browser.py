"""A headless Chromium that is told what to do over its DevTools protocol: open, evaluate, drag, press keys, type, look."""
import base64
import json
import time
from pathlib import Path

from book.browse import Tab

KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Enter": 13, "PageUp": 33, "PageDown": 34, " ": 32}


class Hand(Tab):
    "A page with somebody at it; `errors` and `requests` are what it complained of and asked for since the last `clear`."
    def clear(self): self.events.clear()

    def _said(self, method): return [e["params"] for e in self.events if e.get("method") == method]

    @property
    def errors(self):
        thrown = [p["exceptionDetails"]["exception"].get("description", str(p)) for p in self._said("Runtime.exceptionThrown")]
        return thrown + [p["entry"]["text"] for p in self._said("Log.entryAdded")]

    @property
    def requests(self): return [p["request"]["url"] for p in self._said("Network.requestWillBeSent")]

    def open(self, path, fragment=""):
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=Path(path).resolve().as_uri() + fragment)
        self.until(lambda: self.run("document.readyState === 'complete' && location.protocol === 'file:'"))

    @staticmethod
    def until(holds, seconds=30):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)

    def size(self, width, height, dark=False):
        super().size(width, height)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def place(self, selector):
        "The box of an element, scrolled into sight: left, top, width, height."
        box = f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; }})"
        return self.run(f"{box}(document.querySelector({json.dumps(selector)}))")

    def mouse(self, kind, x, y): self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def click(self, selector):
        left, top, width, height = self.place(selector)
        for kind in ("mousePressed", "mouseReleased"): self.mouse(kind, left + width / 2, top + height / 2)

    def drag(self, selector, start, end, steps=8):
        "Drag along a slider, from one share of its width to another."
        left, top, width, height = self.place(selector)
        at = [left + 8 + (width - 16) * (start + (end - start) * i / steps) for i in range(steps + 1)]
        self.mouse("mousePressed", at[0], top + height / 2)
        for x in at: self.mouse("mouseMoved", x, top + height / 2)
        self.mouse("mouseReleased", at[-1], top + height / 2)

    def press(self, key, times=1):
        code = {"windowsVirtualKeyCode": KEYS[key]} if key in KEYS else {"text": key}
        if key in ("Enter", " "): code["text"] = "\r" if key == "Enter" else " "
        for _ in range(times):
            for kind in ("keyDown", "keyUp"): self.call("Input.dispatchKeyEvent", type=kind, key=key, **(code if kind == "keyDown" else {}))

    def type(self, text): self.call("Input.insertText", text=text)

    def look(self, path, whole=True):
        "Take a picture of the page."
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))
