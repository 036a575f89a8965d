"""The pipeline: the Makefile and the parameter file agree; stages and exhibits run through the strict runner; the ledger is whole."""
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from regmix.ledger import BEYOND, COLUMNS, EXHIBITS, VERDICTS, Rows, by_source, collect, judge, paper_rows, summary
from regmix.runner import check_parameters, main, run, sections
from regmix.swarms import AUTHORS, load_swarm

ROOT = Path(__file__).parent.parent
PARAMS = ROOT/"nbs/params/reproduce.yaml"


def make_list(name):
    text = (ROOT/"Makefile").read_text().replace("\\\n", " ")
    return re.search(rf"^{name} := (.*)$", text, re.M).group(1).split()


def test_makefile_and_parameters_agree():
    spec = yaml.safe_load(PARAMS.read_text())
    assert sorted(sum(map(make_list, ("SWARMS", "FITS", "OUR_FITS", "PANELS", "OUR_PANELS", "PROPOSALS", "OUR_PROPOSALS", "SIMULATIONS", "OUR_SIMULATIONS", "OUR_SCHEDULES")), [])) == sorted(spec["stages"])
    exhibits = make_list("EXHIBITS") + make_list("OUR_EXHIBITS")
    assert sorted(exhibits) == sorted(spec["exhibits"])
    assert sorted(exhibits) == sorted(p.stem for p in (ROOT/"nbs/exhibits").glob("*.ipynb"))


@pytest.mark.parametrize("name", sections(PARAMS))
def test_every_section_fits_its_notebook(name):
    section = sections(PARAMS)[name]
    check_parameters(ROOT/section["notebook"], section["parameters"])
    if section["notebook"].startswith("nbs/exhibits"): return
    depends = section["parameters"].get("fit")
    assert depends is None or depends in sections(PARAMS)
    if depends: assert re.search(rf"\b{name}\b.*build/stamps/{depends}\.stamp", (ROOT/"Makefile").read_text())


def test_unknown_section_and_parameter_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="no section 'table_99'"): main(["table_99"])
    with pytest.raises(ValueError, match="no parameter 'proxies'; it has name, swarm"):
        run(ROOT/"nbs/stages/20_fit_regression.ipynb", tmp_path/"x", {"proxies": 3})


def test_a_failing_notebook_leaves_no_result(tmp_path):
    import nbformat
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}})
    nb.cells = [nbformat.v4.new_code_cell("recipe = 'guess'  # a name", metadata={"tags": ["parameters"]}),
                nbformat.v4.new_code_cell("raise ValueError(f'{recipe=}')")]
    nbformat.write(nb, tmp_path/"bad.ipynb")
    result = tmp_path/"r.json"
    result.write_text("old")
    with pytest.raises(SystemExit, match="recipe='guess'"): run(tmp_path/"bad.ipynb", result, {}, log=tmp_path/"log.ipynb")
    assert not result.exists()


def test_stages_end_to_end(authors):
    "Stage 20 and stage 30 at smoke size: real logs, real fits, files as promised."
    build = ROOT/"build"
    fit, sim = build/"fits/pytest", build/"simulations/pytest"
    run(ROOT/"nbs/stages/20_fit_regression.ipynb", fit/"fit.json", {"name": "pytest", "estimator": "lightgbm", "n_proxies": 0}, log=build/"logs/pytest_20.ipynb")
    metrics = pd.read_csv(fit/"metrics.csv").set_index("metric")
    assert metrics.loc["rho", "value"] > 0.98 and (metrics["low"] <= metrics["value"]).all()
    run(ROOT/"nbs/stages/30_simulate_mixtures.ipynb", sim/"simulation.json", {"name": "pytest", "fit": "pytest"}, [fit/"fit.digest"], log=build/"logs/pytest_30.ipynb")
    mixture = pd.read_csv(sim/"mixture.csv", index_col="domain")["weight"]
    assert abs(mixture.sum() - 1) < 1e-9 and mixture.idxmax() == "pile_cc"


def test_laws_and_proposals_end_to_end():
    "Stage 25 and stage 32 at smoke size, on our own proxies."
    build = ROOT/"build"
    run(ROOT/"nbs/stages/25_compare_laws.ipynb", build/"laws/pytest/laws.json", {"name": "pytest", "swarm": "replication/main", "tests": ["replication/main_unseen"]}, log=build/"logs/pytest_25.ipynb")
    found = pd.read_parquet(build/"laws/pytest/predictions.parquet")
    rho = found[found["size"] == 256].groupby("law")[["true", "predicted"]].corr("spearman")["true"].xs("predicted", level=1)
    assert rho["log-linear"] > rho["ridge"] > rho["own weight"] > 0.3
    run(ROOT/"nbs/stages/32_propose_mixtures.ipynb", build/"proposals/pytest/proposals.json", {"name": "pytest", "swarm": "replication/main"}, log=build/"logs/pytest_32.ipynb")
    mixtures = pd.read_parquet(build/"proposals/pytest/mixtures.parquet").drop(columns=["law", "aim", "asked"])
    assert len(mixtures) == 2 * 2 * 2 + 2 + 2 and np.allclose(mixtures.sum(axis=1), 1, atol=1e-6) and (mixtures >= 0).all(axis=None)


def test_logs_missing_is_a_skip_and_not_a_crash(tmp_path, monkeypatch):
    import regmix.paper as paper
    if (paper.DATA/"authors").exists(): pytest.skip("the authors' logs are in data/authors")
    monkeypatch.delenv("REGMIX_AUTHORS_DIR", raising=False)
    state = run(ROOT/"nbs/exhibits/figure_08.ipynb", tmp_path/"figure_08.csv", {}, log=tmp_path/"log.ipynb")
    assert state == "skipped"
    assert "make data" in (tmp_path/"figure_08.skipped").read_text()


def test_the_ledger_names_every_exhibit_and_loses_no_number(tmp_path):
    ledger = collect(tmp_path)
    assert list(ledger.columns) == COLUMNS
    assert set(EXHIBITS) - set(BEYOND) <= set(ledger["exhibit"]) and len(ledger) == len(paper_rows())
    assert (ledger["verdict"] == "out of reach").all() and (ledger["note"] != "").all()


def test_committed_ledger():
    ledger = pd.read_csv(ROOT/"figures/ledger.csv", dtype=str, keep_default_na=False)
    assert list(ledger.columns) == COLUMNS and set(ledger["verdict"]) <= set(VERDICTS)
    assert set(EXHIBITS) - set(BEYOND) <= set(ledger["exhibit"])
    key = ["exhibit", "quantity"]
    assert not ledger.duplicated([*key, "source"]).any()
    missing = paper_rows().merge(ledger, on=key, how="left", indicator=True).query("_merge == 'left_only'")
    assert missing.empty
    assert (ledger.query("verdict == 'differs'")["note"] != "").all()
    assert (ledger.query("verdict == 'out of reach'")["ours"] == "").all()
    assert (ledger.query("verdict != 'out of reach'")["ours"] != "").all()
    assert set(ledger.query("ours != ''")["source"]) <= {"authors", "replication", "published"}
    alone = ledger.query("verdict == 'ours alone'").merge(paper_rows(), on=key, how="inner")
    assert alone.empty, "what the paper prints or claims is not ours alone"
    own = ledger.merge(paper_rows()[key], on=key, how="left", indicator=True).query("_merge == 'left_only' and verdict in ('match', 'close', 'differs')")
    assert own["note"].str.contains("Judged against|should sum to one|its claim holds").all(), "nothing to be close to: say what it is judged against"


def test_swarms_of_the_authors(authors):
    sizes = {name: len(load_swarm(name)) for name in AUTHORS}
    assert list(sizes.values()) == [512, 256, 256, 64]


def test_import_is_light():
    code = "import sys, regmix; heavy = {'torch', 'lightgbm', 'matplotlib', 'sklearn', 'numba', 'papermill'} & set(sys.modules); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = ("import sys, regmix.paper, regmix.mixtures, regmix.swarms, regmix.simulation, regmix.figures, regmix.ledger, regmix.runner;"
            "heavy = {'torch', 'lightgbm', 'matplotlib', 'numba', 'papermill'} & set(sys.modules); assert not heavy, heavy")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_refuse_what_the_paper_does_not_have():
    with pytest.raises(ValueError, match="no quantity"): Rows("Table 2").add("LightGBM, rho, 3B", 1.0)
    with pytest.raises(ValueError, match="leave new= out"): Rows("Table 2").add("LightGBM, rho, 1M", 99.0, new=True)
    with pytest.raises(ValueError, match="the paper claims this"): Rows("Figure 9").add("LightGBM over Linear", 9.0, verdict="ours alone")


def test_verdicts_of_what_has_no_printed_number():
    rows = Rows("Figure 9")
    rows.add("trees", 1000, new=True)
    rows.add("trees of another", new=True)
    rows.add("LightGBM over Linear", 9.0, verdict="close")
    rows.add("rho of LightGBM at 1M, squared", 98.1, new=True, verdict=judge("100", 98.1, 97.5, 98.6), note="Judged against 100.")
    assert rows.frame()["verdict"].to_list() == ["ours alone", "out of reach", "close", "differs"]


def test_an_interval_meets_what_a_printed_number_stands_for():
    assert judge("0.5", 0.40, 0.38, 0.46) == "close" and judge("0.5", 0.40, 0.38, 0.44) == "differs"
    assert judge("0.0", 0.004) == "match" and judge("0.0", 0.004, decimals=3) == "differs"
    assert judge("0.87", 0.868) == "match" and judge("0.87", 0.868, 0.856, 0.881, decimals=3) == "close"


def test_counts_by_source_lose_no_row(tmp_path):
    ledger = pd.read_csv(ROOT/"figures/ledger.csv", dtype=str, keep_default_na=False)
    for counts in (summary(ledger), by_source(ledger)):
        assert list(counts.columns[1:]) == list(VERDICTS) and counts.iloc[:, 1:].to_numpy().sum() == len(ledger)


def test_the_gallery_names_the_rows_of_its_notes():
    page = (ROOT/"figures/README.md").read_text()
    notes = re.findall(r"^- (.*)$", page, re.M)
    assert notes and all(re.match(rf"\*({'|'.join(VERDICTS)})\*, \S|… and \d+ more note", n) for n in notes)


@pytest.mark.parametrize("path", sorted((ROOT/"nbs/params").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_parameter_file_fits_its_notebooks(path):
    runs, reproduced = sections(path), sections(PARAMS)
    assert len({r["result"] for r in runs.values()}) == len(runs) > 0
    for name, r in runs.items():
        check_parameters(ROOT/r["notebook"], r["parameters"])
        if r["notebook"].endswith("35_train_targets.ipynb"):
            for simulation in r["parameters"]["simulations"].values(): assert reproduced[simulation]["notebook"].endswith("30_simulate_mixtures.ipynb")
            for schedule in r["parameters"].get("schedules", {}).values(): assert reproduced[schedule.partition(" ")[0]]["notebook"].endswith("33_schedule_mixtures.ipynb")
