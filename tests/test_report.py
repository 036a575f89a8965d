"""The report: names in any script, one file with nothing to fetch, a word for whoever cannot see a picture, nothing drawn where no run has been."""
import re
import shlex
import warnings
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from regmix.choice import fit_given, fit_swarm
from regmix.cli import app
from regmix.proposals import proposal_as_json, propose_fit
from regmix.report import BARS, curve_of, make_report, move_weight, moving_domains, nearest_runs, plot_mixture, predicted_changes, short_name
from regmix.swarms import Swarm, long_losses
from regmix.tables import Metric

NAMES = ["新聞", "한국어 위키", "أخبار", "हिन्दी", "🦊🚀", "a$b_c$", "<i>", "R&D", 'say "so"', "x" * 70]
VOID = {"meta", "br", "wbr", "img"}


def toy(names, n=40, targets=("loss",), seed=0):
    "A swarm whose first domain does harm, and whose second helps."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.dirichlet(np.ones(len(names)), n), columns=names).rename(index=lambda i: f"run {i}")
    slope = np.r_[1.0, -1.0, np.zeros(len(names) - 2)]
    losses = {t: 2 + np.exp(X.to_numpy() @ slope) + rng.normal(0, 0.01, n) for t in targets}
    return Swarm("toy", X, long_losses(pd.DataFrame(losses, X.index), 1))


def told_of(fit, **more):
    found = propose_fit(fit, prior=pd.Series(1 / len(fit.domains), fit.domains), kl=0.05)
    return proposal_as_json(found, prior=dict.fromkeys(fit.domains, 1 / len(fit.domains)), **more) | {"mixture": found.mixture}


class Balanced(HTMLParser):
    "Check that a page's elements are closed in order, and collect its attributes and text."
    def __init__(self, page):
        super().__init__()
        self.open, self.asked, self.texts = [], [], []
        self.feed(page)
        assert not self.open
    def handle_starttag(self, tag, attrs):
        if tag not in VOID: self.open.append(tag)
        self.asked += attrs
    def handle_startendtag(self, tag, attrs): self.asked += attrs
    def handle_endtag(self, tag): assert self.open.pop() == tag
    def handle_data(self, text): self.texts.append(text)


def test_names_in_any_script_from_the_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    swarm = toy(NAMES, 60)
    swarm.mixtures.rename_axis("run").to_csv("m.csv")
    swarm.final_losses()[["loss"]].rename(columns={"loss": "损失 $x$"}).rename_axis("run").to_csv("l.csv")
    for line in ("fit --mixtures m.csv --losses l.csv --target '损失 $x$' --law ridge --out fit", "propose fit --stability 0 --out p.json", "report fit p.json --title '报告 <1>' --out r.html"):
        found = CliRunner().invoke(app, shlex.split(line))
        assert found.exit_code == 0, found.stderr
        assert "Glyph" not in found.stderr and "missing" not in found.stderr
    page = (tmp_path/"r.html").read_text(encoding="utf-8")
    read = Balanced(page)
    drawn = [unescape(t) for t in re.findall("<text[^>]*>([^<]*)</text>", page)]
    for name in NAMES: assert short_name(name) in drawn and name in read.texts, name
    assert any("损失 $x$" == t for t in drawn) and "报告 <1>" in read.texts and not re.search("[\u2801-\u28ff]", page)
    assert "<path" in page and "DejaVuSans-" not in page, "a sign was drawn as an outline"


def test_one_page_for_every_reader():
    fit = fit_swarm(toy(list("ab")), [Metric("loss", unit="nats per token")], ["ridge"])
    told = told_of(fit)
    page = make_report(fit, told)
    assert page == make_report(fit, told)
    read = Balanced(page)
    fetched = [v for k, v in read.asked if k in ("src", "href", "xlink:href", "data", "srcset") and not v.startswith("#")]
    assert not fetched and not re.search(r"@import|url\((?!#)|<script|<link", page)
    pictures = re.findall("<svg ([^>]*)>", page)
    assert pictures and all(re.search('role="img" aria-label="[^"]{10,}"', p) for p in pictures)
    assert all(word in page for word in ("name=\"viewport\"", "prefers-color-scheme:dark", "@media print", "size:A4", "break-inside:avoid"))
    tables = page.count("<table>")
    assert tables and page.count('role=region tabindex=0 aria-label="') == tables, "a table that cannot scroll"
    marks = re.findall(r'<(\w+) id="([^"]+)"(.*?)>', page)
    assert len({(i, rest) for _, i, rest in marks}) == len({i for _, i, _ in marks}), "two things of one name"


def test_a_curve_is_pale_where_no_run_has_been():
    fit = fit_swarm(toy(list("abcd")), ["loss"], ["ridge"])
    near = fit.mixtures.iloc[3]
    curve = curve_of(fit, near, "a")
    low, high = fit.mixtures["a"].min(), fit.mixtures["a"].max()
    assert curve.loc[(curve["weight"] - near["a"]).abs().idxmin(), "seen"]
    assert not curve[(curve["weight"] > high + 0.01) | (curve["weight"] < low - 0.01)]["seen"].any() and (curve["weight"] > high + 0.01).any()
    alone = pd.Series({"a": 0, "b": 0, "c": 0, "d": 1.0})   # no run has this: no point of the curve near it is seen
    curve = curve_of(fit, alone, "a")
    assert not curve[curve["weight"] < 0.05]["seen"].any() and np.isfinite(curve[["value", "low", "high"]]).all(axis=None)


def test_a_domain_that_never_moved_stays():
    swarm = toy(list("abc"))
    X = (swarm.mixtures * 0.8).assign(still=0.2)
    fit = fit_swarm(Swarm("held", X, swarm.losses), ["loss"], ["ridge"])
    told = told_of(fit)
    assert set(moving_domains(fit, told["mixture"]).index) == set("abc")
    curve = curve_of(fit, told["mixture"], "a")
    assert curve["weight"].max() <= 0.8 + 1e-9
    moved = move_weight(told["mixture"], "a", [0.1, 0.5], kept=("still",))
    assert np.allclose(moved["still"], 0.2) and np.allclose(moved.sum(axis=1), 1)


def test_many_domains_targets_and_runs_are_drawn_in_part_and_said(monkeypatch):
    monkeypatch.setattr("regmix.report._DRAWN", 1)   # quicker than three
    names, targets = [f"d{i}" for i in range(BARS + 10)], [f"t{i}" for i in range(14)]
    fit = fit_given(toy(names, 90, targets), targets, "ridge")
    page = make_report(fit, {"mixture": fit.mixtures.iloc[0]})
    Balanced(page)
    assert "10 smaller ones not drawn" in page and "Drawn are those 6 of 40 domains" in page
    assert page.count("<svg") < 30 and "Not drawn: <bdi>t1</bdi>" in page and "Predicted and measured" not in page
    for name in names + targets: assert name in page


def test_a_mixture_of_another_tool_gets_its_predictions():
    fit = fit_swarm(toy(list("abc")), ["loss"], ["ridge"])
    page = make_report(fit, {"mixture": pd.Series({"a": 1.0, "b": 0, "c": 0}), "prior": {"a": 0.5, "b": 0.5}})
    assert "lies far from every trained mixture" in page and "The cost falls on <bdi>loss</bdi> most: +" in page
    with pytest.raises(ValueError, match="other domains: 'z'"): make_report(fit, {"mixture": pd.Series({"a": 1.0, "z": 0})})


def test_better_and_worse_follow_the_metric():
    swarm = toy(list("abc"), targets=("loss", "exam"))
    fit = fit_swarm(swarm, [Metric("loss", unit="nats"), Metric("exam", higher=True)], ["ridge"])
    up = {"value": 2.0, "low": 1.9, "high": 2.1, "under the prior": 1.0}
    found = predicted_changes(fit, {"exam": up, "loss": up, "b": up, "elsewhere": up, "c": up | {"low": None, "high": None}})
    assert found["told"].to_dict() == {"loss": "worse", "exam": "better", "b": "worse", "c": "", "elsewhere": "higher"}
    assert list(found.index[:2]) == ["loss", "exam"] and found.loc["b", "unit"] == "nats" and found.loc["elsewhere", "unit"] == ""
    best = nearest_runs(fit, fit.mixtures.iloc[0])
    assert best.index[0] == "run 0" and best["moved"].iloc[0] == 0 and fit.values["exam"].idxmax() in best.index


def test_a_picture_for_a_notebook_reads_no_formula():
    import matplotlib.pyplot as plt
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = plot_mixture(pd.Series({"a$b_{": 0.5, "c": 0.5}), pd.DataFrame({"a$b_{": [0.1, 0.6], "c": [0.9, 0.4]}))
        fig.canvas.draw()
    assert "a$b_{" in [t.get_text() for t in fig.axes[0].get_yticklabels()]
    plt.close(fig)
