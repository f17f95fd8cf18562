"""Tables that the project writes and reads again."""

import json

import pandas as pd
import pytest

from emogap.errors import MissingInput
from emogap.report.entries import reader, to_cells
from emogap.store.exhibits import CAPTIONS, Exhibit, drawing, exhibits, read_table, read_tables, save_table, shown_table
from emogap.store.pieces import run
from emogap.store.views import View, cells

NAMES = ["1.10", "007", "1e5", "NA", "nan", "None", "null", "True", "inf", "7", "", 'a, "b"']


def test_names_come_back_as_texts_and_numbers_as_numbers(tmp_path):
    values = [0.5, None, *range(2, len(NAMES))]
    csv = save_table(tmp_path, Exhibit("t", "table", "Test.", 1), pd.DataFrame({"model": NAMES, "accuracy": values}))
    table = read_table(csv)
    assert table["model"].tolist() == NAMES
    assert table["accuracy"].fillna(-1).tolist() == [0.5, -1, *range(2, len(NAMES))]


def test_what_is_found_is_a_name_but_for_a_share_with_its_interval(tmp_path):
    share = pd.DataFrame({"method": ["m1"], "found": [100 / 7], "low": [2.57], "high": [51.31]})
    save_table(tmp_path, Exhibit("emotions", "table", "Test.", 1, view=View({"": 1})), share)
    assert shown_table(tmp_path, "emotions")["found"].tolist() == ["14 [3, 51]"]
    confusion = pd.DataFrame({"asked": ["joy"], "found": ["1.10"], "texts": [3]})
    csv = save_table(tmp_path, Exhibit("confusion", "table", "Test.", 1), confusion)
    assert read_table(csv)["found"].tolist() == ["1.10"]


def test_names_that_all_look_like_numbers_stay_names(tmp_path):
    folder = tmp_path / "models"
    frame = pd.DataFrame({"model": ["1.10", "1.1"], "base": ["7", "007"], "line": ["120", "1e3"], "n": [1000, 7]})
    csv = save_table(folder, Exhibit("t", "table", "Test.", 1), frame)
    pd.testing.assert_frame_equal(read_table(csv), frame, check_dtype=False)
    assert to_cells(read_table(csv)).parts[0].rows == [["1.10", "7", "120", "1,000"], ["1.1", "007", "1e3", "7"]]


def test_the_report_compares_by_names(make_config):
    home = make_config().home
    frame = pd.DataFrame({"group": ["1.10"], "preset": ["words"], "measure": ["texts"], "value": [3]})
    save_table(home.story_stats, Exhibit("statistics", "table", "Test.", 1), frame)
    table = reader(home)("prompt_analysis_babylm/statistics")
    assert table.to_dict("records") == [{"group": "1.10", "preset": "words", "measure": "texts", "value": 3}]


def test_a_table_that_was_deleted_is_drawn_again(tmp_path):
    content = pd.DataFrame({"model": ["a"], "n": [1]})

    def shown():
        yield Exhibit("t", "table", "Test.", 1), content

    (tmp_path / "read").write_text("x")
    piece = drawing(tmp_path, "one", "tables/t", {"read": tmp_path / "read"}, shown)
    run("evaluate", [piece])
    assert piece.freshness().state == "fresh"
    (tmp_path / "tables" / "t.csv").unlink()
    assert piece.freshness().state == "missing" and run("evaluate", [piece]).drawn
    assert read_tables(tmp_path)["t"].equals(content)


# --- numbers in the file, texts where they are read ------------------------------------------------------------------


def test_a_number_is_written_once_and_shown_with_its_interval(tmp_path):
    numbers = pd.DataFrame(
        {"model": ["a", "b"], "share": [100 / 3, 1234.5], "low": [25.04, None], "high": [42.96, None], "n": [1200, 7],
         "p": [0.012345, 1.0]}
    )  # fmt: skip
    view = View({"share": 2, "low": ".0f", "high": ".1f", "p": ".3g"})
    csv = save_table(tmp_path, Exhibit("t", "table", "Test.", 1, view=view), numbers)
    assert read_table(csv)["share"].tolist() == [100 / 3, 1234.5]
    shown = shown_table(tmp_path, "t")
    assert shown.to_dict("list") == {
        "model": ["a", "b"], "share": ["33.3 [25.0, 43.0]", "1,234.5"], "n": ["1,200", "7"], "p": ["0.0123", "1"],
    }  # fmt: skip
    assert "33.3 [25.0, 43.0] & 1,200 & 0.0123" in csv.with_suffix(".tex").read_text(encoding="utf-8")
    assert exhibits(tmp_path)[0].view == view, "it comes back as it was"


def column(*rows: tuple[float, float, float], view: View | None = None) -> list[str]:
    return cells(pd.DataFrame(rows, columns=["x", "low", "high"]), view)["x"].tolist()


def test_an_interval_says_how_many_digits_its_value_has():
    assert column((28.5714, 7.14159, 50.0)) == ["29 [7, 50]"], "half its width is 21"
    assert column((28.5714, 26.1, 31.2)) == ["28.6 [26.1, 31.2]"], "2.6"
    assert column((0.123456, 0.11, 0.14)) == ["0.123 [0.110, 0.140]"], "0.015"
    assert column((123456.0, 120000.0, 127000.0)) == ["123,456 [120,000, 127,000]"]
    assert column((0.123456, 0.11, 0.14), view=View({"x": 2})) == ["0.12 [0.11, 0.14]"], "no more than is asked for"
    assert column((5.0, 5.0, 5.0)) == ["5 [5, 5]"], "without a width it says nothing"
    assert column((28.0, 0.115, 50.876)) == ["28.0 [0.1, 50.9]"], "what leaves out zero does not end there"
    assert column((1e-7, 5e-8, 2e-7)) == ["1e-07 [5e-08, 2e-07]"]


def test_a_column_of_one_size_has_one_number_of_decimals_and_one_of_many_things_its_own():
    assert column((50.0, 41.0, 59.0), (50.0, 35.0, 65.0)) == ["50.0 [41.0, 59.0]", "50.0 [35.0, 65.0]"]
    assert column((98.8, 90.0, 107.6), (0.512, 0.49, 0.53)) == ["98.8 [90.0, 107.6]", "0.512 [0.490, 0.530]"]


def test_a_long_table_is_shown_wide_and_what_a_model_lacks_as_a_dash():
    long = pd.DataFrame(
        [("a", "x", 10, 50.0, 40.25, 60.0, "above", 3), ("b", "x", 10, 25.0, None, None, "as", 4),
         ("b", "y", 20, 5.0, 4.0, 6.0, "below", 5)],
        columns=["model", "row", "n", "value", "low", "high", "verdict", "ties"],
    )  # fmt: skip
    view = View(
        {"value": ".1f"}, ("row", "n"), "model", ("value",), "verdict", {"above": "+", "as": ""}, below=("ties", "x")
    )
    assert cells(long, view).to_dict("list") == {
        "row": ["x", "y", "ties"],
        "n": ["10", "20", "10"],
        "a": ["50.0 [40.2, 60.0] +", "–", "3"],
        "b": ["25.0", "5.0 [4.0, 6.0] below", "4"],
    }
    assert list(cells(long[:0], view)) == ["row", "n"]


def test_all_tables_of_a_folder_are_read_by_name(tmp_path):
    assert read_tables(tmp_path) == {}
    table = pd.DataFrame({"model": ["007"], "value": [0.5]})
    for name in ("one", "other"):
        save_table(tmp_path, Exhibit(name, "table", "A table.", 1), table)
    found = read_tables(tmp_path)
    assert set(found) == {"one", "other"}
    pd.testing.assert_frame_equal(found["other"], table)


def test_a_list_of_words_is_a_row_a_word_in_the_file():
    words = pd.DataFrame(
        [("joy", "sun", 0.5), ("joy", "day", 0.25), ("fear", "dark", 1.0)], columns=["e", "w", "share"]
    )
    view = View({"share": ".1%"}, ("e",), values=("w",), behind="share", joined="; ")
    assert cells(words, view).to_numpy().tolist() == [["joy", "sun 50.0%; day 25.0%"], ["fear", "dark 100.0%"]]


def test_a_table_registered_without_a_view_is_shown_as_it_is(tmp_path):
    csv = save_table(tmp_path, Exhibit("t", "table", "Old.", 1), pd.DataFrame({"a": ["84.0 [82, 86]"], "n": [-0.0]}))
    captions = json.loads((tmp_path / CAPTIONS).read_text(encoding="utf-8"))
    del captions["tables/t"]["view"]  # as homes of before have it
    (tmp_path / CAPTIONS).write_text(json.dumps(captions), encoding="utf-8")
    assert exhibits(tmp_path) == [Exhibit("t", "table", "Old.", 1)]
    assert shown_table(tmp_path, "t").to_numpy().tolist() == [["84.0 [82, 86]", "0"]]
    assert to_cells(read_table(csv)).parts[0].rows == [["84.0 [82, 86]", "0"]]
    with pytest.raises(MissingInput, match="has no table u; run the stage that makes it"):
        shown_table(tmp_path, "u")
