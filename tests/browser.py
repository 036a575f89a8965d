"""A headless Chromium that is told what to do over its DevTools protocol: open, evaluate, drag, press keys, type, look."""
import base64
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Enter": 13, "PageUp": 33, "PageDown": 34, " ": 32}


def chromium(): return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    "One page of a browser of its own; `errors` and `requests` hold what the page complained of and asked for."
    def __init__(self, folder):
        from websocket import create_connection   # comes with Jupyter
        self.count, self.errors, self.requests = itertools.count(1), [], []
        port, flags = Path(folder)/"DevToolsActivePort", ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
                                                          "--disable-background-networking", "--no-first-run", "--hide-scrollbars", "--remote-allow-origins=*"]
        self.process = subprocess.Popen([chromium(), *flags, f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait(lambda: port.is_file() and port.read_text().count("\n") >= 1, 60)
        number, path = port.read_text().split("\n")[:2]
        self.socket = create_connection(f"ws://127.0.0.1:{number}{path}", timeout=60)
        target = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"): self.ask(f"{domain}.enable")

    session = None

    def __enter__(self): return self

    def __exit__(self, *_):
        self.socket.close()
        self.process.terminate()
        self.process.wait(20)

    def ask(self, method, **params):
        "Send one command, and note what happens until it is answered."
        number = next(self.count)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})))
        while True:
            told = json.loads(self.socket.recv())
            if told.get("id") == number:
                assert "error" not in told, told["error"]
                return told["result"]
            self.note(told.get("method"), told.get("params", {}))

    def note(self, method, params):
        if method == "Runtime.exceptionThrown": self.errors.append(params["exceptionDetails"]["exception"].get("description", str(params)))
        if method == "Log.entryAdded": self.errors.append(params["entry"]["text"])
        if method == "Network.requestWillBeSent": self.requests.append(params["request"]["url"])

    @staticmethod
    def wait(holds, seconds=30):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)

    def run(self, script):
        "Evaluate JavaScript, and wait for a promise."
        told = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]["exception"].get("description", told)
        return told["result"].get("value")

    def open(self, path, fragment=""):
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=Path(path).resolve().as_uri() + fragment)
        self.wait(lambda: self.run("document.readyState === 'complete' && location.protocol === 'file:'"))

    def size(self, width, height, dark=False):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def place(self, selector):
        "The box of an element, scrolled into sight: left, top, width, height."
        box = f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; }})"
        return self.run(f"{box}(document.querySelector({json.dumps(selector)}))")

    def mouse(self, kind, x, y): self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

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
            for kind in ("keyDown", "keyUp"): self.ask("Input.dispatchKeyEvent", type=kind, key=key, **(code if kind == "keyDown" else {}))

    def type(self, text): self.ask("Input.insertText", text=text)

    def look(self, path, whole=True):
        "Take a picture of the page."
        Path(path).write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))
