"""The pictures to play with, in a real browser: what they show are Python's numbers, for the hand, the keyboard and the ear."""
import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from book import play
from book.browse import browser as started, chromium
from book.pages import ROOT
from browser import Hand
from regmix.explorer import SHOWN, as_json, guards_grid, known_law, proxies_grid, trial, triangle
from regmix.laws import LogLinearLaw
from regmix.mixtures import as_prior, tempered
from regmix.optima import propose
from regmix.paper import PRIOR
from regmix.regression import MixtureRegressor
from regmix.swarms import Swarm, long_losses

SIZES, NOISES, KLS, GUARDS, CAPS = (16, 64), (0, 0.1), (0, 1), (None, 0.1), (1, 0.5)
EVEN = pd.Series(1 / 3, ["web", "code", "law"])


@pytest.fixture(scope="module")
def swarm():
    "Each domain helps its own; the web helps all."
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.dirichlet(np.ones(3), 60), columns=EVEN.index).rename(index="run {}".format)
    return Swarm("toy", X, long_losses(pd.DataFrame({d: 2 + np.exp(-2 * X[d] - 0.5 * X["web"]) for d in X}), 1))


@pytest.fixture(scope="module")
def pages(swarm, tmp_path_factory):
    "A page of the three pictures for each theme, with tables that Python has computed."
    data = {"strength": {"domains": list(PRIOR.index), "prior": PRIOR / PRIOR.sum()}, "proxies": proxies_grid(SIZES, NOISES, 2),
            "guards": guards_grid(swarm, EVEN, "web", KLS, GUARDS, CAPS)}
    css, js = ((ROOT/"book/_static"/name).read_text() for name in ("book.css", "play.js"))
    def page(theme):
        body = "".join(play.figure(name, as_json(told)) for name, told in data.items())
        path = tmp_path_factory.mktemp("play")/f"{theme}.html"
        path.write_text(f'<!DOCTYPE html><html lang="en" data-theme="{theme}"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
                        f'<style>:root {{ font-family: sans-serif }}{css}</style><div class="bd-article">{body}</div><script>{js}</script></html>')
        return path
    return {theme: page(theme) for theme in ("light", "dark")}


@pytest.fixture(scope="module")
def browser():
    if not chromium(): pytest.skip("no chromium or chrome is installed, in which the pictures could be tried")
    with started(Hand) as b: yield b


@pytest.fixture
def page(browser, pages):
    "The pictures opened anew; nothing may have gone wrong or out in the end."
    browser.size(1280, 900)
    browser.clear()
    browser.open(pages["light"])
    yield browser
    assert browser.errors == [] and all(r.startswith(("file:", "about:")) for r in browser.requests)


def control(name, key): return f'#play-{name} [name="{key}"]'
def shown(b, name): return b.run(f"play[{json.dumps(name)}]")


def put(b, name, key, value):
    "Set a control, as a hand would."
    element = f"document.querySelector({json.dumps(control(name, key))})"
    b.run(f"{element}.value = {json.dumps(value)}; {element}.dispatchEvent(new Event('input', {{bubbles: true}}))")


def stream(seed):
    "The numbers from 0 to 1 of a seed, as the picture draws them (mulberry32)."
    m = 2 ** 32 - 1
    while True:
        seed = seed + 0x6D2B79F5 & m
        t = (seed ^ seed >> 15) * (1 | seed) & m
        t = (t + ((t ^ t >> 7) * (61 | t) & m) & m) ^ t
        yield ((t ^ t >> 14) & m) / 2 ** 32


def log_gamma(a, u):
    d = a + 2 / 3
    while True:
        x = math.sqrt(-2 * math.log(1 - next(u))) * math.cos(2 * math.pi * next(u))
        v, w = (1 + x / math.sqrt(9 * d)) ** 3, 1 - next(u)
        if v > 0 and math.log(w) < x * x / 2 + d - d * v + d * math.log(v): return math.log(d * v) + math.log(1 - next(u)) / a


def draw(alpha, seed, i):
    logs = np.array([log_gamma(a, stream((seed * 300 + i) * 64 + j)) for j, a in enumerate(alpha)])
    w = np.exp(logs - logs.max())
    return w / w.sum()


def test_draws_are_dirichlet_and_pythons(page):
    page.drag(control("strength", "strength"), 26 / 60, 0.2)
    put(page, "strength", "temperature", 0.5), put(page, "strength", "seed", 11)
    page.run(f"document.querySelector({json.dumps(control('strength', 'law'))}).focus()")
    page.press("ArrowRight", 5)
    told = shown(page, "strength")
    assert told["values"]["law"] == 15 and told["strength"] < 0.6
    toy, prior = (tempered(p, 0.5).to_numpy() for p in (as_prior({"web": 60, "code": 30, "law": 15}), PRIOR))
    np.testing.assert_allclose(told["toy"], toy, atol=1e-9)
    np.testing.assert_allclose(told["spread"], np.sqrt(toy * (1 - toy) / (told["strength"] + 1)), atol=1e-9)
    np.testing.assert_allclose(told["draws"][:40], [draw(told["strength"] * toy, 11, i) for i in range(40)], atol=1e-9)
    np.testing.assert_allclose(told["one"], draw(told["strength"] * prior, 11, 300), atol=1e-9)
    many = np.array(page.run(f"Array.from({{length: 9000}}, (_, i) => dirichlet({json.dumps((2 * toy).tolist())}, 5, i))"))
    np.testing.assert_allclose(many.mean(0), toy, atol=0.012)
    np.testing.assert_allclose(many.var(0), toy * (1 - toy) / 3, atol=0.006)
    for key in ("web", "code", "law"): put(page, "strength", key, 0)
    assert "no tokens" in shown(page, "strength")["text"]


@pytest.mark.parametrize("law", SHOWN)
def test_proxies_show_trials(page, law):
    put(page, "proxies", "law", law), put(page, "proxies", "n", 1), put(page, "proxies", "noise", 0)
    page.drag(control("proxies", "noise"), 0, 1)
    told, trials = shown(page, "proxies"), np.array([trial(SHOWN[law](), 64, 0.1, k, triangle(49)) for k in range(2)])
    best = known_law(triangle(49)).min()
    assert told["values"] == {"law": law, "n": 1, "noise": 1}
    np.testing.assert_allclose(told["proposals"], trials[:, 1:], atol=1e-6)
    np.testing.assert_allclose([told["rho"], told["above"]], [trials[:, 0].mean(), known_law(trials[:, 1:]).mean() - best], atol=1e-6)
    assert f"rho {trials[:, 0].mean():.3f}" in page.run("document.querySelector('#play-proxies tr.now').innerText")
    put(page, "proxies", "n", 0)
    assert (shown(page, "proxies")["rho"] is None) == (law == "trees") == ("ranks nothing" in shown(page, "proxies")["text"])


def test_guards_show_proposals(page, swarm):
    fitted = MixtureRegressor(LogLinearLaw()).fit(swarm.mixtures, swarm.final_losses())
    for kl, guard, cap in ((0, 0, 0), (1, 1, 0), (0, 1, 1)):
        for key, i in (("kl", kl), ("guard", guard), ("cap", cap)): put(page, "guards", key, i)
        told, importance = shown(page, "guards"), {t: 1.0 if t == "web" else 1e-9 for t in fitted.target_names_}
        found = propose(fitted, swarm.mixtures, importance, EVEN, KLS[kl], guard=GUARDS[guard], upper=dict.fromkeys(EVEN.index, CAPS[cap]))
        rise = found.predicted["value"] - found.predicted["under the prior"]
        np.testing.assert_allclose([*told["mixture"], *told["rise"], told["distance"]], [*found.mixture, *rise, found.distance], atol=1e-6)
        assert f"{-rise['web']:.3f} nats below" in told["text"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_for_phones_keys_and_ears(page, pages, theme):
    page.size(360, 780)
    page.open(pages[theme])
    assert page.run("document.documentElement.scrollWidth") == 360
    unnamed = page.run("[...document.querySelectorAll('.play input, .play select')].filter(e => !e.closest('label').textContent.trim())")
    assert unnamed == []
    page.run("document.querySelector('.play input').focus()"), page.press("Tab", 2), page.press("ArrowLeft", 3)
    assert shown(page, "strength")["values"]["web"] == 57
    assert page.run("document.activeElement.getAttribute('aria-valuetext')") == "57"
    page.until(lambda: page.run("document.querySelector('.play [role=status]').textContent") == shown(page, "strength")["text"])
    ink = page.run("getComputedStyle(document.querySelector('.play .draws')).stroke")
    assert ink == {"light": "rgb(0, 103, 163)", "dark": "rgb(109, 185, 238)"}[theme]


def test_every_picture_has_its_chapter():
    made = re.findall(r"(?m)^  (\w+): data =>", (ROOT/"book/_static/play.js").read_text())
    notebooks = [json.loads(p.read_text())["cells"] for p in sorted((ROOT/"nbs").glob("*.ipynb"))]
    tags = [t for cells in notebooks for c in cells for t in c["metadata"].get("tags", []) if t.startswith(play.TAG)]
    assert sorted(tags) == sorted(play.TAG + name for name in made) and len(made) == 3
    still = [c for cells in notebooks for c in cells if set(c["metadata"].get("tags", [])) & set(tags)]
    assert all(any("image/png" in o.get("data", {}) for o in c["outputs"]) for c in still), "a still picture for who has no sliders"
    from nbformat.v4 import new_code_cell
    cell = new_code_cell("1", metadata={"tags": ["play-guards"]})
    placed = play.with_pictures([cell, new_code_cell("2")], {"guards": '{"a":1}'})
    assert [c.cell_type for c in placed] == ["code", "markdown", "code"] and '<div class="play" id="play-guards"' in placed[1].source
