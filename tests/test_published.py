"""The published numbers: held against the study's own, recomputed from counts, and put beside a run's."""

import tomllib

import pandas as pd
import pytest
from scipy.stats import ttest_ind

from emogap.commands.cli import main
from emogap.emotions import group_of
from emogap.errors import UsageError
from emogap.fetch.registry import data_set
from emogap.published import published, published_tables
from emogap.report.comparison import compare, view
from emogap.report.study_order import PLACES
from emogap.store.views import cells
from emogap.text.statistics import wilson_interval

BASE, TUNED = "gpt2-medium", "gpt2-medium-baby-instr"
OUTCOMES = ["positive", "neutral", "negative"]


def counts_of_table_17() -> pd.DataFrame:
    table = published("sentiment_emotions").frame()
    long = table.melt(["model", "row", "n"], OUTCOMES, "response_emotion", "percent")
    long["count"] = (long["n"] * long["percent"] / 100).round().astype(int)
    return long.rename(columns={"row": "instruction_emotion"})


def place(anchor: str):
    return next(place for place in PLACES if place.anchor == anchor)


def test_every_table_is_rectangular_and_has_a_source():
    for table in published_tables().values():
        assert table.source
        assert all(len(row) == len(table.columns) for row in table.rows)
    with pytest.raises(UsageError, match="no published table 'x'"):
        published("x")


def test_tables_are_those_of_the_studys_report(real_data):
    file = real_data / "paper_artifacts" / "published_tables.toml"
    if not file.exists():
        pytest.skip(f"needs {file.name}")
    theirs = tomllib.loads(file.read_text(encoding="utf-8"))
    words = published("rewrite_statistics").frame()[["temperature", "unique_words", "average_words", "total_words"]]
    assert words.to_numpy().tolist() == theirs["table_3"]["rows"]
    assert [list(row) for row in published("preference").rows] == theirs["table_4"]["rows"]
    ours = {(model, row): shares for model, row, *shares, _ in published("sentiment_emotions").rows}
    ours |= {(model, f"group {row}"): shares for model, row, *shares, _ in published("sentiment_groups").rows}
    for row, *values in theirs["table_17"]["rows"]:
        assert (ours.pop((BASE, row)), ours.pop((TUNED, row))) == (values[:3], values[3:])
    assert not ours
    for row, *values in theirs["table_5"]["rows"]:
        shares = published("sentiment_groups").frame().set_index(["model", "row"])[OUTCOMES]
        assert [*shares.loc[(TUNED, row)], *shares.loc[(BASE, row)]] == pytest.approx(values, abs=0.1)
    assert published("corpus_10m").rows == (("0-37", 8929873, 269.78),)


def test_counts_of_table_17_give_back_its_group_rows_to_the_digit(tmp_path):
    counts = counts_of_table_17()
    assert counts.groupby("model")["count"].sum().to_dict() == {BASE: 829, TUNED: 829}
    file = tmp_path / "counts.csv"
    counts[["model", "instruction_emotion", "response_emotion", "count"]].to_csv(file, index=False)
    assert main(["sentiment", "--counts", str(file), "--out", str(tmp_path / "out")]) == 0
    ours = pd.read_csv(tmp_path / "out" / "sentiment_groups.csv").set_index(["model", "row"])
    theirs = published("sentiment_groups").frame().set_index(["model", "row"])
    pd.testing.assert_frame_equal(ours.loc[theirs.index, [*OUTCOMES, "n"]].round(2), theirs)


def test_what_the_guide_says_of_table_17_follows_from_its_counts():
    counts = counts_of_table_17()
    positive = counts[counts["response_emotion"] == "positive"]
    asked = positive["instruction_emotion"].map(lambda emotion: group_of(emotion, "study"))
    sums = positive.groupby(["model", asked])[["count", "n"]].sum()
    share = 100 * sums["count"] / sums["n"]
    assert round(share[TUNED, "positive"] - share[BASE, "positive"], 1) == 53.7
    assert round(share[TUNED, "negative"] - share[BASE, "negative"], 1) == 50.3
    assert round(share[BASE, "positive"] - share[BASE, "negative"], 1) == 12.5
    assert round(share[TUNED, "positive"] - share[TUNED, "negative"], 1) == 15.9
    assert [round(100 * end, 1) for end in wilson_interval(172, 419)] == [36.4, 45.8]
    wide = published("sentiment_emotions").frame().pivot(index="row", columns="model", values="positive")
    change = wide[TUNED] - wide[BASE]
    groups = change.index.map(lambda emotion: group_of(emotion, "study"))
    gap = ttest_ind(change[groups == "positive"], change[groups == "negative"], equal_var=False).confidence_interval()
    assert (round(gap.low, 1), round(gap.high, 1)) == (-6.7, 13.1)


def tables(**found: pd.DataFrame):
    return {f"quantitative_analysis/{name}": table for name, table in found.items()}.get


def shares(model: str, row: str, positive: float) -> dict:
    ends = {f"{outcome}_{end}": float("nan") for outcome in OUTCOMES for end in ("low", "high")}
    return {"model": model, "row": row, "positive": positive, "neutral": 100 - positive, "negative": 0.0, **ends}


CHANGES = pd.DataFrame(
    [{"model": "own-baby-instr", "row": "positive", "outcome": "positive", "change": 10.0, "low": 4.0, "high": 16.0},
     {"model": "own-instr", "row": "positive", "outcome": "positive", "change": 50.0, "low": 40.0, "high": 60.0}]
)  # fmt: skip


def test_a_published_models_own_shares_stand_beside_the_published_ones():
    own = pd.DataFrame([shares(BASE, "positive", 50.05), shares("own", "positive", 1.0)])
    table = compare(place("table-5"), tables(sentiment_groups=own, sentiment_change_groups=CHANGES))
    assert cells(table, view(place("table-5"))).iloc[0].to_dict() == {
        "": "gpt2-medium, asked positive: positive (%)", "this run": "50.05", "published": "41.05", "difference": "9.0"
    }  # fmt: skip
    assert len(table) == 3


def test_of_another_base_what_both_trainings_changed_stands_beside_the_published_change():
    own = pd.DataFrame([shares("own", "positive", 1.0)])
    table = compare(place("table-5"), tables(sentiment_groups=own, sentiment_change_groups=CHANGES))
    [row] = table.to_dict("records")
    assert row.pop("") == "own-baby-instr, asked positive: change of positive (points)"
    assert list(row.values()) == pytest.approx([10.0, 4.0, 16.0, 53.7, -43.7])
    folded_otherwise = own.assign(ambiguous=0.0)
    assert compare(place("table-5"), tables(sentiment_groups=folded_otherwise, sentiment_change_groups=CHANGES)) is None
    assert compare(place("table-5"), tables()) is None


def test_raters_shares_stand_beside_the_published_ones_by_model():
    own = pd.DataFrame(
        {"model": ["gpt2-baby", "own"], "share": [20.8, 79.2], "low": [10.0, 70.0], "high": [30.0, 90.0]}
    )
    table = compare(place("table-4"), tables(preference=own))
    assert table.to_numpy().tolist() == [["gpt2-baby", 20.8, 10.0, 30.0, 10.8, 10.0]]
    assert compare(place("table-4"), tables(preference=own[1:])) is None


def test_the_studys_report_is_fetched_with_its_files():
    assert data_set("published").files["report.pdf"] == "{path}"
