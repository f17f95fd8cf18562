"""Tables that the project writes and reads again."""

import pandas as pd

from emogap.show.report import reader
from emogap.show.report_tables import read_cells
from emogap.store.exhibits import Exhibit, read_table, save_table

NAMES = ["1.10", "007", "1e5", "NA", "nan", "None", "null", "True", "inf", "7", "", 'a, "b"']


def test_names_come_back_as_texts_and_numbers_as_numbers(tmp_path):
    values = [0.5, None, *range(2, len(NAMES))]
    csv = save_table(tmp_path, Exhibit("t", "table", "Test.", 1), pd.DataFrame({"model": NAMES, "accuracy": values}))
    table = read_table(csv)
    assert table["model"].tolist() == NAMES
    assert table["accuracy"].fillna(-1).tolist() == [0.5, -1, *range(2, len(NAMES))]


def test_names_that_all_look_like_numbers_stay_names(tmp_path):
    folder = tmp_path / "models"
    frame = pd.DataFrame({"model": ["1.10", "1.1"], "base": ["7", "007"], "line": ["120", "1e3"], "n": [1000, 7]})
    csv = save_table(folder, Exhibit("t", "table", "Test.", 1), frame)
    pd.testing.assert_frame_equal(read_table(csv), frame, check_dtype=False)
    assert read_cells(csv).parts[0].rows == [["1.10", "7", "120", "1,000"], ["1.1", "007", "1e3", "7"]]


def test_the_report_compares_by_names(make_config):
    home = make_config().home
    frame = pd.DataFrame({"group": ["1.10"], "preset": ["words"], "measure": ["texts"], "value": [3]})
    save_table(home.story_stats, Exhibit("statistics", "table", "Test.", 1), frame)
    table = reader(home)("prompt_analysis_babylm/statistics")
    assert table.to_dict("records") == [{"group": "1.10", "preset": "words", "measure": "texts", "value": 3}]
