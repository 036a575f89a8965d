"""What is deposited: a citation that validates, data that a stranger's tool reads, a list of digests, the same bytes each time."""
import datetime
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from urllib.parse import unquote

import pytest

import regmix
from regmix.archive import CROISSANT, citation, croissant_text, damaged, project_files, write_archive
from regmix.files import ROOT, sha256_of
from regmix.swarms import list_swarms, load_swarm


# --- CITATION.cff ---

@pytest.fixture(scope="module")
def cff():
    "The validator of the Citation File Format 1.2.0: its published schema (CC BY 4.0, the Citation File Format's authors)."
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT/"tests/cff-1.2.0.json").read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())


def test_the_citation_is_valid(cff):
    assert [e.message for e in cff.iter_errors(citation())] == []


@pytest.mark.parametrize("change", [{"title": None}, {"date-released": "30.11.2026"}, {"licence": "MIT"}, {"authors": []}, {"license": "mine"}])
def test_a_wrong_citation_is_not(cff, change):
    wrong = {k: v for k, v in (citation() | change).items() if v is not None}
    assert list(cff.iter_errors(wrong)), change


def test_the_citation_agrees_with_the_package():
    cited, project = citation(), tomllib.loads((ROOT/"pyproject.toml").read_text())["project"]
    assert cited["version"] == regmix.__version__ and cited["license"] == project["license"]
    assert datetime.date.fromisoformat(cited["date-released"]) and cited["authors"][0]["name"] == project["authors"][0]["name"]


# --- Croissant ---

def test_croissant_describes_the_swarms_as_they_are():
    again = "the swarms have changed: python -m regmix.archive --croissant describes them anew"
    told = json.loads(text := croissant_text())
    assert CROISSANT.read_text(encoding="utf-8") == text, again
    assert {r["name"] for r in told["recordSet"]} == {f"{s}/{t}" for s in list_swarms(CROISSANT.parent).index for t in ("mixtures", "losses")}
    tables = {p.relative_to(CROISSANT.parent).as_posix() for p in CROISSANT.parent.rglob("*.parquet")}
    assert tables <= {f["name"] for f in told["distribution"]} and "by/4.0" in told["license"]
    assert "creativecommons.org/licenses/by/4.0" in (CROISSANT.parent/"README.md").read_text(encoding="utf-8")


def test_mlcroissant_finds_no_fault_and_reads_what_we_read():
    mlc = pytest.importorskip("mlcroissant")
    dataset = mlc.Dataset(str(CROISSANT))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and not issues.warnings
    swarm = load_swarm("replication/noise")
    for row, (run, weights) in zip(dataset.records("noise/mixtures"), swarm.mixtures.iterrows(), strict=True):
        row = {k.removeprefix("noise/mixtures/"): v for k, v in row.items()}
        assert row.pop("run").decode() == run and row == weights.to_dict()


# --- the crate and the archive ---

@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_archive(tmp_path_factory.mktemp("archive")/"one.zip")


@pytest.fixture(scope="module")
def unpacked(archive):
    with zipfile.ZipFile(archive) as packed: packed.extractall(archive.parent)
    return archive.parent/f"regmix-{regmix.__version__}"


def references(value):
    "Every id that an entity of a crate refers to."
    if isinstance(value, dict): return [value["@id"]] if set(value) == {"@id"} else [r for v in value.values() for r in references(v)]
    return [r for v in value for r in references(v)] if isinstance(value, list) else []


@pytest.fixture(scope="module")
def listed(unpacked):
    "The crate of the archive: its entities."
    told = json.loads((unpacked/"ro-crate-metadata.json").read_text(encoding="utf-8"))
    assert told["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    return told["@graph"]


def test_the_crate_is_well_formed(listed):
    by_id = {e["@id"]: e for e in listed}
    assert len(by_id) == len(listed)
    about, root = by_id["ro-crate-metadata.json"], by_id["./"]
    assert about["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"} and about["about"] == {"@id": "./"} and about["@type"] == "CreativeWork"
    assert root["@type"] == "Dataset" and all(root[k] for k in ("name", "description", "datePublished", "license", "hasPart"))
    outside = {"https://w3id.org/ro/crate/1.1"}
    assert {r for e in listed for r in references(list(e.values()))} <= set(by_id) | outside
    assert {e["@id"] for e in listed if e["@type"] == "File"} | {e["@id"] for e in listed if e["@type"] == "Dataset"} - {"./"} == {p["@id"] for p in root["hasPart"]}


def test_every_digest_of_the_crate_is_that_of_the_file(listed, unpacked):
    files = {unquote(e["@id"]): e for e in listed if e["@type"] == "File"}
    there = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    assert set(files) == there - {"ro-crate-metadata.json"} == set(project_files())
    for name, e in files.items(): assert e["sha256"] == sha256_of(ROOT/name) == sha256_of(unpacked/name) and int(e["contentSize"]) == (ROOT/name).stat().st_size
    assert damaged(unpacked) == {}


def test_every_drawn_figure_has_its_notebook_and_its_data(listed):
    actions = [e for e in listed if e["@type"] == "CreateAction"]
    drawn = [r["@id"] for a in actions for r in a["result"]]
    assert len(drawn) == len(set(drawn)), "drawn twice"
    assert {f for f in project_files() if re.fullmatch(r"figures/.*\.(png|pdf)", f)} - set(drawn) == {"figures/method.png", "figures/method.pdf"}
    for a in actions: assert a["instrument"]["@id"].startswith(("nbs/exhibits/", "nbs/beyond/")) and {"@id": "data/paper/"} in a["object"], a["@id"]


def test_made_again_and_made_of_the_unpacked_the_archive_has_the_same_bytes(archive, unpacked, tmp_path):
    assert write_archive(tmp_path/"two.zip").read_bytes() == archive.read_bytes()
    (unpacked/"build").mkdir()
    (unpacked/"build/left").write_text("over")         # what lies about is not taken in
    call = [sys.executable, "-m", "regmix.archive", "--out", str(tmp_path/"three.zip")]
    made = subprocess.run(call, cwd=unpacked, env=os.environ | {"PYTHONPATH": str(unpacked), "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True)
    assert made.returncode == 0 and sha256_of(archive) in made.stdout, made.stderr
    assert (tmp_path/"three.zip").read_bytes() == archive.read_bytes()


def test_a_repository_that_git_cannot_read_is_named(tmp_path):
    (tmp_path/".git").write_text("broken")
    with pytest.raises(RuntimeError, match="is a repository, and git does not list its files"): project_files(tmp_path)


def test_nothing_of_the_machine_is_in_the_archive(archive):
    with zipfile.ZipFile(archive) as packed: entries = packed.infolist()
    day = tuple(map(int, citation()["date-released"].split("-")))
    assert {e.date_time for e in entries} == {(*day, 0, 0, 0)} and [e.filename for e in entries] == sorted(e.filename for e in entries)
    assert {e.external_attr >> 16 for e in entries} == {0o100644, 0o100755} and {e.compress_type for e in entries} == {zipfile.ZIP_STORED}


# --- the checklists ---

def test_every_item_of_the_checklists_has_an_answer_and_every_link_leads_somewhere():
    from test_links import ELSEWHERE, LINK, anchors
    page = ROOT/"book/checklists.md"
    first, second = re.split(r"(?m)^## ", page.read_text(encoding="utf-8"))[1:]
    for part, items in ((first, 21), (second, 32)):
        rows = [[c.strip() for c in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| ") and not line.startswith(("| item", "| ---"))]
        assert len(rows) == items and len({r[0] for r in rows}) == items
        assert all(re.match(r"\*\*(Yes|No|Partly|Not applicable)\b", r[1]) for r in rows)
        assert all(r[2] for r in rows if "Not applicable" not in r[1])
    assert re.findall(r"(?m)^\| (\d[a-g])\.", second) == "1a 1b 1c 2a 2b 2c 2d 2e 3a 3b 3c 3d 3e 3f 3g 4a 4b 4c 5a 5b 5c 5d 5e 5f 6a 6b 6c 7a 7b 7c 8a 8b".split()
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if ELSEWHERE.match(link): continue
        file, _, anchor = link.partition("#")
        assert (page.parent/file).exists() and (not anchor or anchor in anchors(page.parent/file)), link
