"""Foreign tables: read right, or refused with a line that names the file, the row and the value."""
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regmix.swarms import Swarm, long_losses, save_swarm
from regmix.tables import Metric, as_weights, read_cells, read_mixtures, read_swarm, read_tables, run_column, suspicious, with_range
from regmix.weights import named_as, read_weights

DOMAINS = ["web", "code", "law", "news", "talk"]


def tables(n=20, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.dirichlet(np.ones(5), n), columns=DOMAINS, index=pd.Index([f"run-{i}" for i in range(n)], name="run"))
    Y = pd.DataFrame({"val loss": 3 - X["code"] + 0.1 * rng.random(n), "arc_acc": 20 + 10 * X["code"]}, index=X.index)
    return X, Y


def write(tmp, X, Y, **to_csv):
    X.to_csv(tmp/"m.csv", **to_csv)
    Y.to_csv(tmp/"l.csv", **to_csv)
    return tmp/"m.csv", tmp/"l.csv"


def read(pair, **options):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        swarm = read_tables(*pair, **options)
    assert set(swarm.meta["notes"]) <= {str(w.message) for w in said}, "every note is a warning, too"
    return swarm


def same(swarm, X, Y):
    pd.testing.assert_frame_equal(swarm.mixtures, X, check_names=False, check_index_type=False, check_column_type=False)
    got = swarm.final_losses()
    assert np.allclose(got.loc[X.index, Y.columns], Y)
    return swarm.meta.get("notes")


def test_five_domains_twenty_runs_other_names(tmp_path):
    X, Y = tables()
    assert same(read(write(tmp_path, X.rename_axis("experiment"), Y.rename_axis("experiment"))), X, Y) == []
    assert same(read(write(tmp_path, X.rename_axis("proxy model"), Y.rename_axis("proxy model"))), X, Y) == []


def test_run_columns_with_different_names(tmp_path):
    X, Y = tables()
    same(read(write(tmp_path, X.rename_axis("mix"), Y.rename_axis("job")), run=("mix", "job")), X, Y)
    with pytest.raises(ValueError, match=r"l.csv: no column 'mix' to name the runs; there is 'job'"): read((tmp_path/"m.csv", tmp_path/"l.csv"), run="mix")


def test_per_cent_is_rescaled_and_said_and_a_mixed_table_is_refused(tmp_path):
    X, Y = tables()
    notes = same(read(write(tmp_path, 100 * X, Y)), X, Y)
    assert len(notes) == 1 and "per cent" in notes[0] and "m.csv" in notes[0] and "divided by 100" in notes[0]
    mixed = X.copy()
    mixed.iloc[3] *= 100
    with pytest.raises(ValueError, match="m.csv: run 'run-3' sums to 100 and run 'run-0' to 1: rows must sum to 1, or all of them to 100; columns taken for domains: 'web'"): read(write(tmp_path, mixed, Y))


def test_order_of_runs_does_not_matter(tmp_path):
    X, Y = tables()
    same(read(write(tmp_path, X, Y.sample(frac=1, random_state=1))), X, Y)
    numbered = X.rename(index=lambda r: r[4:]), Y.rename(index=lambda r: r[4:] + ".0").iloc[::-1]   # 7 and 7.0 are one run
    same(read(write(tmp_path, *numbered)), numbered[0], Y.rename(index=lambda r: r[4:]))


@pytest.mark.parametrize("index", [False, True], ids=["no column", "row numbers without a name"])
def test_no_names_of_runs_only_by_order_and_only_if_asked(tmp_path, index):
    X, Y = (t.reset_index(drop=True) for t in tables())
    pair = write(tmp_path, X, Y, index=index)
    with pytest.raises(ValueError, match="m.csv and .*l.csv: no column names the runs .*by_order=True, --by-order"): read(pair)
    swarm = read(pair, by_order=True)
    assert np.allclose(swarm.mixtures, X) and np.allclose(swarm.final_losses(), Y) and "by the order of the rows" in swarm.meta["notes"][0]
    Y.iloc[:-1].to_csv(pair[1], index=index)
    with pytest.raises(ValueError, match="20 rows and .* has 19"): read(pair, by_order=True)


def test_by_order_where_names_are_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="joined by name; leave by_order out"): read(write(tmp_path, *tables()), by_order=True)


def test_an_unnamed_column_of_names_is_read(tmp_path):
    X, Y = tables()
    same(read(write(tmp_path, X.rename_axis(None), Y.rename_axis(None).iloc[::-1])), X, Y)


def test_a_forgotten_index_beside_the_names_is_no_domain(tmp_path):
    X, Y = tables()
    notes = same(read(write(tmp_path, X.reset_index(), Y.reset_index())), X, Y)
    assert len(notes) == 2 and "label" in notes[0]
    X.assign(name="a label", index=range(20)).to_csv(tmp_path/"m.csv")
    same(read((tmp_path/"m.csv", tmp_path/"l.csv")), X, Y)


@pytest.mark.parametrize("which", [0, 1])
def test_duplicate_runs_are_refused_with_their_lines(tmp_path, which):
    both = list(tables())
    both[which] = pd.concat([both[which], both[which].iloc[[4]]])
    with pytest.raises(ValueError, match="run 'run-4' of column 'run' is on lines 6, 22"): read(write(tmp_path, *both))


def test_runs_in_one_file_only(tmp_path):
    X, Y = tables()
    pair = write(tmp_path, X.drop(index="run-3"), Y.drop(index=["run-5", "run-6"]))
    with pytest.raises(ValueError, match="2 only in .*m.csv: 'run-5', 'run-6'; 1 only in .*l.csv: 'run-3'.*--drop-unmatched"): read(pair)
    swarm = read(pair, drop_unmatched=True)
    assert len(swarm) == 17 and "'run-5', 'run-6'" in swarm.meta["notes"][0]
    with pytest.raises(ValueError, match="no run in common"): read(write(tmp_path, X, Y.rename(index=str.upper)), drop_unmatched=True)


def test_a_constant_target_is_noted_and_a_constant_weight_is_pinned(tmp_path):
    X, Y = tables()
    X["talk"], X["news"] = 0.0, X["news"] + X["talk"]
    notes = same(read(write(tmp_path, X, Y.assign(flat=2.0))), X, Y.assign(flat=2.0))
    assert "'talk' (0)" in notes[0] and "nothing can be learnt" in notes[0] and "'flat' is 2 in every run; it cannot be a target" in notes[1]


def test_missing_values_name_row_and_column(tmp_path):
    X, Y = tables()
    X.loc["run-2", "law"] = Y.loc["run-7", "val loss"] = np.nan
    pair = write(tmp_path, X, Y)
    with pytest.raises(ValueError, match=r"m.csv: line 4 \(run 'run-2'\), column 'law': the value is missing .1 such cells in 1 runs.*--drop-missing"): read(pair)
    swarm = read(pair, drop_missing=True)
    assert len(swarm) == 18 and not {"run-2", "run-7"} & set(swarm.mixtures.index) and "'run-2', 'run-7'" in swarm.meta["notes"][-1]
    X.fillna(0).to_csv(pair[0])   # a blank that became a 0 is not let through
    with pytest.raises(ValueError, match="run 'run-2' sums to"): read(pair)
    tables()[0].to_csv(pair[0])
    with pytest.raises(ValueError, match=r"l.csv: line 9 \(run 'run-7'\), column 'val loss'"): read(pair)
    assert len(read(pair, targets=["arc_acc"])) == 20   # what is missing is of no concern


@pytest.mark.parametrize("cell, why", [("many", "no number"), ("0,5", "decimal point"), ("inf", "no number"), ("45%", "no number"), ("True", "no number"), ("1_0", "no number"), ("0x1", "no number")])
def test_text_is_refused_with_its_place(tmp_path, cell, why):
    X, Y = tables()
    text = X.astype(object)
    text.loc["run-1", "code"] = cell
    with pytest.raises(ValueError, match=rf"m.csv: line 3 \(run 'run-1'\), column 'code': '{cell}' is no number.*"): read(write(tmp_path, text, Y))


def test_other_columns_of_text_do_no_harm_where_targets_are_named(tmp_path):
    X, Y = tables()
    pair = write(tmp_path, X, Y.assign(comment="fine"))
    with pytest.raises(ValueError, match="column 'comment': 'fine' is no number"): read(pair)
    assert read(pair, targets=["val loss"]).targets == ["val loss"]
    with pytest.raises(ValueError, match="no column 'loss'; there is 'val loss', 'arc_acc', 'comment'"): read(pair, targets=["loss"])


@pytest.mark.parametrize("spoil, message", [(lambda X: X * 0.9, "run 'run-0' sums to 0.9, not to 1"), (lambda X: X.assign(web=X["web"] - 2, code=X["code"] + 2), "negative"),
                                            (lambda X: X * 500, "sums to 500, not to 1"), (lambda X: X.drop(columns="web"), "sums to")])
def test_rows_that_do_not_sum_to_one(tmp_path, spoil, message):
    X, Y = tables()
    with pytest.raises(ValueError, match="m.csv: .*" + message): read(write(tmp_path, spoil(X), Y))


def test_a_number_that_is_no_weight_is_left_out_and_named_and_domains_can_be_named(tmp_path):
    X, Y = tables()
    pair = write(tmp_path, X.assign(seed=range(1, 21), lr=[0.001, 0.002] * 10, mood="fine"), Y)
    notes = same(read(pair), X, Y)
    assert len(notes) == 1 and "left out: 'seed', 'lr', 'mood'; the domains are 'web', 'code'" in notes[0] and "--domain" in notes[0]
    assert same(read(pair, domains=DOMAINS), X, Y) == []
    with pytest.raises(ValueError, match="no column 'wep'.*did you mean 'web'"): read(pair, domains=["wep"])


def test_duplicate_columns(tmp_path):
    X, Y = tables()
    with pytest.raises(ValueError, match="m.csv: two columns are called 'web': keep one, or rename one"): read(write(tmp_path, X.set_axis(["web", "web", *DOMAINS[2:]], axis=1), Y))


def test_bytes_and_separators(tmp_path):
    X, Y = tables()
    same(read(write(tmp_path, X, Y, encoding="utf-8-sig")), X, Y)
    same(read(write(tmp_path, X, Y, sep=";")), X, Y)
    same(read(write(tmp_path, X, Y, sep="\t")), X, Y)
    with pytest.raises(ValueError, match="'0,.*' is no number: write a decimal point"): read(write(tmp_path, X, Y, sep=";", decimal=","))
    with pytest.raises(ValueError, match="UTF-16"): read(write(tmp_path, X, Y, encoding="utf-16"))
    with pytest.raises(ValueError, match="l.csv: byte 6 is no UTF-8"):
        (tmp_path/"l.csv").write_bytes(b"run,ca\xe9\n")
        read_cells(tmp_path/"l.csv")


@pytest.mark.parametrize("text, message", [("run,a\nr1,1,2\n", "line 2 has 3 cells, the header has 2"), ("a,b\nr1,1,2\nr2,1,2\n", "line 2 has 3 cells"), ("run,a,\nr1,1,\n", "column 3 has no name"),
                                           ("run,a\n,1\n", "line 2: the run has no name"), ("run,a\nr1,1\n\n,\n", "no name"), ("run\nr1\n", "no column with a metric")])
def test_ragged_files(tmp_path, text, message):
    X, _ = tables(1)
    X.rename(index={"run-0": "r1"}).to_csv(tmp_path/"m.csv")
    (tmp_path/"l.csv").write_text(text)
    with pytest.raises(ValueError, match=message): read((tmp_path/"m.csv", tmp_path/"l.csv"))


def test_parquet_and_one_file_for_both(tmp_path):
    X, Y = tables()
    X.to_parquet(tmp_path/"m.parquet")
    Y.reset_index().to_parquet(tmp_path/"l.parquet")
    same(read((tmp_path/"m.parquet", tmp_path/"l.parquet")), X, Y)
    one = X.join(Y)
    one.to_csv(tmp_path/"one.csv")
    same(read((tmp_path/"one.csv",) * 2, domains=DOMAINS, targets=list(Y)), X, Y)
    one.to_csv(tmp_path/"one.csv", index=False)   # one file: row i is row i
    assert np.allclose(read((tmp_path/"one.csv",) * 2, domains=DOMAINS, targets=list(Y)).final_losses(), Y)


def test_long_losses(tmp_path):
    X, Y = tables(4)
    X.to_csv(tmp_path/"m.csv")
    long = pd.concat([long_losses(Y + 1, 10), long_losses(Y, 20)])
    long.to_csv(tmp_path/"l.csv", index=False)
    same(read((tmp_path/"m.csv", tmp_path/"l.csv")), X, Y)
    long.drop(columns="tokens").to_csv(tmp_path/"l.csv", index=False)
    with pytest.raises(ValueError, match="two losses"): read((tmp_path/"m.csv", tmp_path/"l.csv"))
    long.assign(loss=long["loss"].where(long["run"] != "run-1")).to_csv(tmp_path/"l.csv", index=False)
    with pytest.raises(ValueError, match="column 'loss': the value is missing"): read((tmp_path/"m.csv", tmp_path/"l.csv"))
    assert list(read((tmp_path/"m.csv", tmp_path/"l.csv"), drop_missing=True).mixtures.index) == ["run-0", "run-2", "run-3"]


def test_sources(tmp_path):
    X, Y = tables()
    home = save_swarm(Swarm("mine", X, long_losses(Y, 1)), tmp_path/"swarm")
    same(read_swarm(home), X, Y)
    with pytest.raises(ValueError, match="--by-order is for tables"): read_swarm(home, by_order=True)
    (tmp_path/"olmix").mkdir()
    X.rename_axis("run_id").assign(name="x").to_csv(tmp_path/"olmix"/"ratios.csv")
    Y.rename_axis("run_id").to_csv(tmp_path/"olmix"/"metrics.csv")
    with pytest.warns(UserWarning, match="label"): assert read_swarm(tmp_path/"olmix").name == "olmix"
    with pytest.raises(FileNotFoundError, match="no such folder"): read_swarm(tmp_path/"nowhere")
    with pytest.raises(FileNotFoundError, match="give the two files by name"): read_swarm(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such file"): read_tables(tmp_path/"a.csv", tmp_path/"b.csv")
    with pytest.raises(ValueError, match="save the table as one of them"):
        (tmp_path/"a.xlsx").write_text("")
        read_cells(tmp_path/"a.xlsx")
    X.to_csv(tmp_path/"m.csv")
    pd.testing.assert_frame_equal(read_mixtures(tmp_path/"m.csv"), X, check_names=False, check_index_type=False, check_column_type=False)


def test_the_authors_pair(tmp_path, authors):
    from regmix.swarms import load_swarm
    want = load_swarm("authors/1m-train")
    got = read_tables(authors/"train_mixture_1m.csv", authors/"train_pile_loss_1m.csv")
    assert np.array_equal(got.mixtures, want.mixtures) and np.array_equal(got.final_losses()[want.targets], want.final_losses())


def test_weights_from_files(tmp_path):
    for name, text in {"a.json": '{"web": 700, "code": 300}', "a.yaml": "web: 700\ncode: 300\n", "b.yaml": "train:\n  web: 0.7\n  code: 0.3\n", "a.csv": "domain,tokens\nweb,700\ncode,300\n", "c.json": '{"mixture": {"web": 0.7, "code": 0.3}}'}.items():
        (tmp_path/name).write_text(text)
        w = read_weights(tmp_path/name)
        assert np.allclose(w / w.sum(), [0.7, 0.3]) and list(w.index) == ["web", "code"]
    for name, text, message in [("a.json", '{"web": 1, "web": 2}', "'web' appears twice"), ("a.json", '{"web": "x"}', "domain 'web' is 'x'"), ("a.json", "[1]", "a number for each domain"), ("a.json", "{", "not readable"),
                                ("a.csv", "a,b,c\n1,2,3\n", "3 columns"), ("a.csv", "domain,tokens\nweb,1\nweb,2\n", "'web' of column 'domain' is on lines 2, 3"), ("a.yaml", "a: [", "not readable")]:
        (tmp_path/name).write_text(text)
        with pytest.raises(ValueError, match=message): read_weights(tmp_path/name)


def test_direction_is_said_and_twice_is_nothing():
    acc, loss = Metric("acc", higher=True, unit="%"), Metric("loss")
    y = pd.Series([1.0, 2.0])
    assert acc.as_loss(y).tolist() == [-1, -2] and acc.as_loss(acc.as_loss(y)).equals(y) and loss.as_loss(y).equals(y)
    assert acc.label == "acc, % (higher is better)" and loss.label == "loss (lower is better)"
    assert "--higher hellaswag_acc_norm" in suspicious(Metric("hellaswag_acc_norm")) and suspicious(Metric("arc_bpb")) is None and suspicious(Metric("accounting")) is None


def test_the_rule_for_the_run_column():
    table = lambda **c: pd.DataFrame(c, dtype=object)
    assert run_column(table(web=["0.1", "0.2"], run_id=["1", "2"])) == "run_id"
    assert run_column(table(name=["a", "b"], run=["1", "2"])) == "run"
    assert run_column(table(a=["x", "y"], b=["u", "v"])) is None       # two columns of text: ask
    assert run_column(table(a=["x", "x"], b=["1", "2"])) is None
    with pytest.raises(ValueError, match="all of them to 100"): as_weights(pd.DataFrame({"a": [50, 0.5], "b": [50, 0.5]}), "t")


EXTRAS = {"lr": lambda r, X: r.choice([1e-4, 1e-3, 3e-3], len(X)), "seed": lambda r, X: r.integers(0, 5, len(X)), "_step": lambda r, X: np.full(len(X), 2000),
          "runtime": lambda r, X: r.uniform(100, 9000, len(X)), "weight_decay": lambda r, X: np.full(len(X), 0.1), "beta1": lambda r, X: np.full(len(X), 0.9),
          "acc": lambda r, X: r.uniform(0, 1, len(X)), "x": lambda r, X: r.normal(0, 1, len(X)), "again": lambda r, X: X.iloc[:, 0], "rest": lambda r, X: 1 - X.iloc[:, 0],
          "group": lambda r, X: X.iloc[:, :2].sum(axis=1), "total": lambda r, X: X.sum(axis=1), "dropout": lambda r, X: np.zeros(len(X)), "note": lambda r, X: ["ok", "no"] * (len(X) // 2)}


@settings(max_examples=25, deadline=None)
@given(d=st.integers(2, 8), half=st.integers(3, 15), digits=st.sampled_from([3, 4, 6, 17]), scale=st.sampled_from([1, 100, 2e9]), extras=st.lists(st.sampled_from(sorted(EXTRAS)), unique=True, max_size=4), seed=st.integers(0, 999))
def test_shuffled_tables_with_other_columns_give_the_same_or_a_refusal(tmp_path_factory, d, half, digits, scale, extras, seed):
    rng, tmp = np.random.default_rng(seed), tmp_path_factory.getbasetemp()
    X = pd.DataFrame((scale * rng.dirichlet(np.ones(d), 2 * half)).round(digits if scale == 1 else 2 if scale == 100 else 0), columns=[f"d{i}" for i in range(d)]).rename(index="r{}".format)
    more = X.assign(**{name: EXTRAS[name](rng, X) for name in extras}).sample(frac=1, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        def mixtures(table):
            table.rename_axis("run").to_csv(tmp/"p.csv")
            try: return read_mixtures(tmp/"p.csv")
            except ValueError as e: return str(e)
        want, got = mixtures(X), mixtures(more[rng.permutation(more.columns)])
    if isinstance(want, str) or isinstance(got, str): return
    pd.testing.assert_frame_equal(got.loc[want.index, want.columns], want)
    assert got.shape == want.shape


def test_two_readings_are_asked_about(tmp_path):
    X, Y = tables()
    for again in (X.assign(web2=X["web"]), X.join((100 * X).add_prefix("pct_")), X.assign(grouped=X["web"] + X["code"]), X.round(2).assign(rest=1 - X["web"].round(2))):
        with pytest.raises(ValueError, match="m.csv: the weights could be 'web', .*--domain"): read(write(tmp_path, again, Y))
    pair = write(tmp_path, X.add_prefix("mix/").join((100 * X).add_prefix("pct/")), Y)
    same(read(pair, domains=["mix/*"]), X.add_prefix("mix/"), Y)
    with pytest.raises(ValueError, match="no column 'mux/.'"): read(pair, domains=["mux/*"])


def test_one_file_needs_no_names_of_domains(tmp_path):
    X, Y = tables()
    X.join(Y).assign(lr=0.001).to_csv(tmp_path/"one.csv")
    swarm = read((tmp_path/"one.csv",) * 2, targets=["val loss"])
    assert swarm.domains == DOMAINS and swarm.targets == ["val loss"]


def test_tokens_are_read_and_other_totals_refused(tmp_path):
    X, Y = tables()
    tokens = (X * 2e9).round().astype("int64")
    notes = same(read(write(tmp_path, tokens.assign(seed=1), Y)), tokens.div(tokens.sum(axis=1), axis=0), Y)
    assert "are tokens" in notes[1] and "'seed'" in notes[0]
    with pytest.raises(ValueError, match="sums to"): read(write(tmp_path, tokens.mul(range(1, 21), axis=0), Y))


@pytest.mark.parametrize("text", ["r1,0.3,0.7\nr2,0.5,0.5\n", "r1,30,70\nr2,50,50\nr3,20,80\n", "0.3,0.7\n0.4,0.6\n"])
def test_a_file_without_a_header_is_refused(tmp_path, text):
    (tmp_path/"m.csv").write_text(text)
    with pytest.raises(ValueError, match="m.csv: the first line holds numbers .*write a line of names above it"): read_cells(tmp_path/"m.csv")


def test_domains_may_be_called_by_whole_numbers(tmp_path):
    X, Y = tables()
    same(read(write(tmp_path, X.set_axis(list("01234"), axis=1)[list("31402")], Y)), X.set_axis(list("01234"), axis=1)[list("31402")], Y)


def test_rounded_weights_are_divided_by_their_sums_if_asked(tmp_path):
    X, Y = tables()
    pair = write(tmp_path, X.round(2).assign(lr=0.001), Y)
    with pytest.raises(ValueError, match="sums to .*normalise=True, --normalise"): read(pair)
    swarm = read(pair, normalise=True)
    assert np.allclose(swarm.mixtures, X.round(2).div(X.round(2).sum(axis=1), axis=0)) and "divided by its sum" in swarm.meta["notes"][1]
    with pytest.raises(ValueError, match="a domain may be missing"): read(write(tmp_path, X.drop(columns="web"), Y), normalise=True, domains=DOMAINS[1:])


def melt(X, name, value): return X.rename_axis(index="run", columns=name).stack().rename(value).reset_index()


def test_long_weights_with_phases(tmp_path):
    X, Y = tables()
    pair = write(tmp_path, X, Y)
    melt(X, "domain", "weight").sample(frac=1, random_state=0).to_csv(pair[0], index=False)
    swarm = read(pair)
    pd.testing.assert_frame_equal(swarm.mixtures.loc[X.index, DOMAINS], X, check_names=False, check_index_type=False, check_column_type=False)
    two = pd.concat([melt(X, "source", "ratio").assign(stage="first"), melt(X[DOMAINS[::-1]].set_axis(DOMAINS, axis=1), "source", "ratio").assign(stage="second")])
    two.to_csv(pair[0], index=False)
    with pytest.raises(ValueError, match="2 phases of training in column 'stage': 'first', 'second'.*--phase"): read(pair)
    assert np.allclose(read(pair, phase="second").mixtures["web"], X["talk"])
    with pytest.raises(ValueError, match="no phase 'third'; choose from first, second"): read(pair, phase="third")
    some = melt(X, "domain", "weight").query("not (run == 'run-3' and domain == 'web')")
    some.to_csv(pair[0], index=False)
    with pytest.raises(ValueError, match="run 'run-3' sums to"): read(pair)      # a row that is missing is no silent 0


def test_long_metrics(tmp_path):
    X, Y = tables()
    pair = write(tmp_path, X, Y)
    long = pd.concat([melt(Y[["arc_acc"]].set_axis(["arc"], axis=1), "task", "value").assign(metric="acc"), melt(Y[["arc_acc"]].set_axis(["boolq"], axis=1) + 1, "task", "value").assign(metric="acc"),
                      melt(Y[["val loss"]].set_axis(["arc"], axis=1), "task", "value").assign(metric="bpb")])
    long.to_csv(pair[1], index=False)
    swarm = read(pair, targets=["boolq/acc", "arc/bpb"])
    assert np.allclose(swarm.final_losses()["boolq/acc"], Y["arc_acc"] + 1) and np.allclose(swarm.final_losses()["arc/bpb"], Y["val loss"])
    with pytest.raises(ValueError, match="no loss on 'boolq'; there is 'arc/acc', 'boolq/acc', 'arc/bpb'"): read(pair, targets=["boolq"])


def test_histories(tmp_path):
    X, Y = tables()
    pair = write(tmp_path, X, Y)
    early, between = Y.assign(_step=100) + [1, 1, 0], Y.assign(_step=200)
    between["val loss"] = np.nan
    pd.concat([early, Y.assign(_step=300), between]).to_csv(pair[1])
    notes = same(read(pair, targets=["val loss"]), X, Y[["val loss"]])
    assert "20 rows with nothing in 'val loss'" in notes[0] and "of each the last was taken (column '_step': 300)" in notes[1]
    same(read(pair, targets=["val loss"], step=100), X, Y[["val loss"]] + 1)
    with pytest.raises(ValueError, match="'run-0' was not measured at step 150, but at 100, 300"): read(pair, targets=["val loss"], step=150)
    pd.concat([early, Y.assign(_step=300).drop(index="run-7")]).to_csv(pair[1])
    assert "1 of 20 runs end earlier: 'run-7' (100)" in read(pair, targets=["val loss"]).meta["notes"][0]
    everything = pd.concat([X.join(early), X.join(Y.assign(_step=300))])      # weights beside each step
    everything.to_csv(pair[0])
    same(read((pair[0], pair[0]), targets=["val loss"]), X, Y[["val loss"]])


def test_an_export_of_runs(tmp_path):
    X, Y = tables()
    table = X.add_prefix("config.mix.").join(Y.add_prefix("summary."))
    table.insert(0, "State", ["finished"] * 17 + ["running", "crashed", "failed"])
    table = table.assign(Runtime=range(100, 120), _step=2000, Tags="", lr=0.001)
    table.rename_axis("Name").to_csv(tmp_path/"wandb.csv")
    swarm = read((tmp_path/"wandb.csv",) * 2, targets=["summary.val loss"])
    assert len(swarm) == 17 and swarm.domains == [f"config.mix.{d}" for d in DOMAINS]
    assert "'run-17' (running), 'run-18' (crashed), 'run-19' (failed)" in swarm.meta["notes"][0]
    lines = [f'{{"run": "{run}", "mix": {X.loc[run].to_json()}, "summary": {{"loss": {Y.loc[run, "val loss"]}}}}}' for run in X.index]
    (tmp_path/"runs.jsonl").write_text("\n".join(lines))
    swarm = read((tmp_path/"runs.jsonl",) * 2, targets=["summary.loss"])
    assert swarm.domains == [f"mix.{d}" for d in DOMAINS] and np.allclose(swarm.mixtures, X)
    chart = Y[["val loss"]].T.add_suffix(" - eval/loss").assign(Step=10).set_index("Step")
    chart.to_csv(tmp_path/"chart.csv")
    X.to_csv(tmp_path/"m.csv")
    assert np.allclose(read((tmp_path/"m.csv", tmp_path/"chart.csv"), targets=["eval/loss"]).final_losses()["eval/loss"], Y["val loss"])


def test_infinite_losses_and_blank_names(tmp_path):
    X, Y = tables()
    Y.loc["run-4", "val loss"], Y.loc["run-5", "val loss"] = np.inf, -np.inf
    pair = write(tmp_path, X, Y)
    with pytest.raises(ValueError, match="run 'run-4'.*the value is infinite .2 such.*--drop-missing"): read(pair)
    swarm = read(pair, drop_missing=True)
    assert len(swarm) == 18 and "'run-4', 'run-5'" in swarm.meta["notes"][0]
    X.rename(index={"run-2": ""}).to_csv(pair[0])
    with pytest.raises(ValueError, match="line 4: the run has no name in column 'run'.*--run"): read(pair)
    X.assign(run="sweep").to_csv(pair[0], index=False)
    with pytest.raises(ValueError, match="run 'sweep' of column 'run' is on lines 2, 3.*--run"): read(pair)


KNOWN = {"acc acc_norm acc_mutual_info acc_bytes exact_match exact_match,flexible-extract mcc f1 bleu chrf chrf++ acc_all likelihood rouge1 rouge2 rougeL bleu_max rouge1_acc em win_rate pass@1 maj@8 "
         "loglikelihood log_prob correct_prob choice_prob accuracy partial_accuracy prompt_level_strict_acc qa_f1_score consistency_rate math_verify mrr r@1 pearsonr": True,
         "brier_score perplexity word_perplexity byte_perplexity bits_per_byte ter wer loss val_loss bpb nll ppl error_rate amb_bias_score bias_score_ambig perspective_api_toxicity_score negative_log_likelihood cross_entropy": False}


@pytest.mark.parametrize("wrap", ["{}", "lm_eval/task/{}", "eval/arc_easy_{}", "{},none", "summary.task.{}"])
def test_the_question_knows_the_metrics_of_the_field(wrap):
    for names, higher in KNOWN.items():
        for name in set(names.split()) - {"r@1"}:
            assert suspicious(Metric(wrap.format(name), higher=not higher)), name
            assert suspicious(Metric(wrap.format(name), higher=higher)) is None, name


def test_the_question_knows_what_lm_eval_says():
    registry = pytest.importorskip("lm_eval.api.registry")
    pytest.importorskip("lm_eval.api.metrics")
    for name, higher in registry.HIGHER_IS_BETTER_REGISTRY.items():
        if name != "bypass": assert suspicious(Metric(name, higher=not higher)) and not suspicious(Metric(name, higher=higher)), name


def test_ranges():
    assert [with_range(Metric(n), v).high for n, v in (("lm_eval/x/acc", [0.2]), ("win_rate", [20.0, 90.0]), ("acc", [200.0]), ("loss", [3.0]))] == [1, 100, None, None]
    assert with_range(Metric("val_loss"), [3.0]).low == 0 and with_range(Metric("acc", high=0.5), [0.2]).high == 0.5


def test_several_sources(tmp_path):
    X, Y = tables()
    for name, rows in (("a", slice(0, 8)), ("b", slice(8, 20))):
        (tmp_path/name).mkdir()
        X[rows].reset_index(drop=True).rename(index=str).rename_axis("run").to_csv(tmp_path/name/"ratios.csv")
        Y[rows].reset_index(drop=True).rename(index=str).rename_axis("run").to_csv(tmp_path/name/"metrics.csv")
    with pytest.warns(UserWarning, match="'0' is 'a/0'"): whole = read_swarm([tmp_path/"a", tmp_path/"b"], targets=["val loss"])
    assert len(whole) == 20 and np.allclose(whole.mixtures, X) and np.allclose(whole.final_losses()["val loss"], Y["val loss"])
    with pytest.raises(ValueError, match="run '0' is in swarm 'a' and in swarm 'a'"): read_swarm([tmp_path/"a", tmp_path/"a"])


def test_names_that_differ_by_a_prefix():
    assert list(named_as(pd.Series({"web": 1.0, "law": 2.0}), ["mix/web", "mix/law", "mix/code"]).index) == ["mix/web", "mix/law"]
    assert list(named_as(pd.Series({"web": 1.0}), ["a/web", "b/web"]).index) == ["web"]


def test_in_the_shell(tmp_path, monkeypatch):
    from typer.testing import CliRunner
    from regmix.cli import app
    monkeypatch.chdir(tmp_path)
    X, Y = tables()
    for name, rows in (("a", slice(0, 10)), ("b", slice(10, 20))):
        (tmp_path/name).mkdir()
        X[rows].round(2).assign(lr=0.001).to_csv(tmp_path/name/"ratios.csv")
        Y[rows].to_csv(tmp_path/name/"metrics.csv")
    def ask(line): return CliRunner().invoke(app, ["fit", *line.split(), "--law", "ridge", "--folds", "3", "--higher", "arc_acc", "--out", "fit"])
    refused = ask("--swarm a --swarm b")
    assert refused.exit_code == 2 and "--normalise" in refused.stderr
    done = ask("--swarm a --swarm b --normalise")
    assert done.exit_code == 0 and "20 runs, 5 domains" in done.stdout and "left out: 'lr'" in done.stderr
    twice = ask("--swarm a --unit x --unit y --json")
    assert twice.exit_code == 2 and "regmix: --unit is given twice; it takes one value" in twice.stderr and '"exit": 2' in twice.stdout
    assert all(command.cls is not None for command in app.registered_commands)


@pytest.mark.parametrize("cell, why", [("1,234,567", "thousands"), ("1'000.5", "thousands"), ("45%", "per cent"), ("1.2T", "1.5e9"), ("12k", "1.5e9"), ("diverged", "--drop-missing")])
def test_a_number_written_in_another_way_is_refused_with_what_to_write(tmp_path, cell, why):
    X, Y = tables()
    Y = Y.astype(object)
    Y.loc["run-1", "val loss"] = cell
    with pytest.raises(ValueError) as found: read(write(tmp_path, X, Y), targets=["val loss"])
    assert "l.csv: line 3 (run 'run-1'), column 'val loss'" in str(found.value) and why in str(found.value)


@pytest.mark.parametrize("cell", ["#N/A", "#DIV/0!", "--", "\N{EM DASH}", "<NA>"])
def test_the_gaps_of_a_spreadsheet_are_missing(tmp_path, cell):
    X, Y = tables()
    Y = Y.astype(object)
    Y.loc["run-1", "val loss"] = cell
    pair = write(tmp_path, X, Y)
    with pytest.raises(ValueError, match="the value is missing"): read(pair)
    assert "run-1" not in read(pair, drop_missing=True).mixtures.index


def test_lines_above_the_header(tmp_path):
    X, Y = tables()
    pair = write(tmp_path, X, Y, sep=";")
    for path in pair: path.write_text("sep=;\n" + path.read_text())
    same(read(pair), X, Y)
    pair[0].write_text("My sweep\n" + X.to_csv())
    with pytest.raises(ValueError, match="the first line, 'My sweep', is one cell"): read(pair)


def test_an_empty_weight_that_may_mean_zero_is_asked_about(tmp_path):
    X, Y = tables()
    X.loc[["run-1", "run-4"], "talk"] = np.nan
    X = X.div(X.sum(axis=1), axis=0)
    with pytest.raises(ValueError, match=r"line 3: no weight in column 'talk'.* \(2 such rows\): if an empty cell means 0, write 0"): read(write(tmp_path, X, Y))
    same(read(write(tmp_path, X.fillna(0), Y)), X.fillna(0), Y)


def test_tables_that_stand_on_their_side_or_hold_no_metric(tmp_path):
    X, Y = tables()
    with pytest.raises(ValueError, match="turn the table round"): read(write(tmp_path, X.T.rename_axis("domain"), Y))
    both = X.join(Y).to_csv(tmp_path/"both.csv") or tmp_path/"both.csv"
    with pytest.raises(ValueError, match="'code' is a column of weights.*choose from 'val loss', 'arc_acc'"): read((both, both), targets=["code"])
    assert read((both, both), targets=["arc_acc"]).targets == ["arc_acc"]
    (tmp_path/"results.json").write_text("{}")
    with pytest.raises(ValueError, match="results.json: tables are read from"): read_swarm((both, tmp_path/"results.json"))
    with pytest.raises(ValueError, match="both.csv: a file, where a folder is expected.*twice the same"): read_swarm(both)


@pytest.mark.parametrize("column, bad", [("finished", "False"), ("Crashed", "1")])
def test_a_run_that_a_column_of_yes_and_no_says_is_not_finished(tmp_path, column, bad):
    X, Y = tables()
    good = {"False": "True", "1": "0"}[bad]
    notes = same(read(write(tmp_path, X, Y.assign(**{column: [bad, *[good] * 19]})), targets=list(Y)), X.iloc[1:], Y.iloc[1:])
    assert "run-0" in notes[0] and column in notes[0]


def test_the_name_of_a_benchmark_says_no_direction():
    for name in ("mmlu", "lm_eval/gsm8k", "HellaSwag", "arc_easy", "TriviaQA"): assert "benchmark" in suspicious(Metric(name)) and not suspicious(Metric(name, higher=True))
    assert not any(suspicious(Metric(name)) for name in ("mmlu/bpb", "loss_gsm8k/nll", "archive", "web"))
