"The page of the paper's claims follows from the ledger, and every row that a claim names is there."
import pandas as pd
import pytest

from regmix.claims import CLAIMS, SAYS, SIDES, choices_for, claims_page, deciding, rows_for
from regmix.files import FIGURES
from regmix.ledger import IF, OTHER, summary

LEDGER = pd.read_csv(FIGURES/"ledger.csv", dtype=str, keep_default_na=False)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.says)
def test_rows_are_in_the_ledger(claim):
    for exhibit, quantity in claim.rows:
        found = LEDGER[(LEDGER["exhibit"] == exhibit) & (LEDGER["quantity"] == quantity)]
        assert len(found), f"{exhibit} has no row {quantity!r}: name a row of figures/ledger.csv"
        assert not (found["verdict"] == "ours alone").any(), f"{quantity!r} is ours alone: judge it by a rule, or name another row"


def test_page_is_that_of_the_ledger():
    assert (FIGURES/"claims.md").read_text() == claims_page(LEDGER), "run make reproduce: figures/claims.md is of another ledger"


def test_every_claim_can_be_judged_somewhere_or_is_out_of_reach():
    silent = [c.says for c in CLAIMS if all(deciding(rows_for(c, LEDGER, side)) is None for side in SIDES)]
    assert silent == ["at 7B RegMix needs half the training on most tasks"]


def test_other_choices_belong_to_a_row():
    "A row under another choice has a row that it varies, of the same source, and is counted apart."
    rows = set(zip(LEDGER["exhibit"], LEDGER["source"], LEDGER["quantity"]))
    again = LEDGER[LEDGER["quantity"].str.contains(IF, regex=False)]
    assert len(again) > 20 and again["verdict"].isin([*SAYS, "ours alone"]).all()
    of_ours = set(LEDGER.loc[LEDGER["verdict"] == "ours alone", "quantity"])
    for r in again.itertuples():
        row = r.quantity.partition(IF)[0]
        assert (r.exhibit, r.source, row) in rows, r.quantity
        assert (r.verdict == "ours alone") == (row in of_ours), r.quantity
    assert summary(LEDGER)[OTHER].sum() == len(again)
    shown = [q for c in CLAIMS for side in SIDES for q in choices_for(c, LEDGER, side)["quantity"]]
    assert set(again["quantity"]) >= set(shown) and len(set(shown)) > 15
