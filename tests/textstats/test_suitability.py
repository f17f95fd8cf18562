"""How far texts are for children: by sentences whose words were counted by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emogap.commands.cli import main
from emogap.errors import MissingInput
from emogap.text import words
from emogap.text.measures import encode, rare_shares
from emogap.textstats.describe import suitability
from emogap.textstats.figures import suitability as drawn
from emogap.textstats.figures import suitability_shown
from emogap.textstats.sources import REWRITE_COLUMNS, STORY_COLUMNS, read_texts

STETHOSCOPE = "The dog ran home. The stethoscope broke."  # seven words, one of them rare
DAMN = "Damn! The cat sat."  # four words, none of them rare
ERMINE = "The ermine slept."  # three words, one of them rare
STATED = pd.DataFrame(
    [("m1", "words", f"flesch_reading_ease{end}", value) for end, value in (("", 80), ("_low", 70), ("_high", 90))]
    + [("m1", "content-words", "flesch_reading_ease", 1), ("m2", "words", "flesch_reading_ease", 60)],
    columns=["group", "preset", "measure", "value"],
)


def texts(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["group", "text", "made_from"])


def test_rare_shares_are_over_words_without_digits():
    shares = rare_shares(encode([STETHOSCOPE, DAMN, "In 1999 blorp.", "", "12 13", "The fox's ice-cream-ermine"]))
    assert shares[[0, 1, 2, 5]].tolist() == [1 / 7, 0, 1 / 2, 1 / 3]
    assert np.isnan(shares[[3, 4]]).all()


def test_texts_stand_beside_the_lines_that_they_were_made_from():
    given = texts(("m1", STETHOSCOPE, ERMINE), ("m1", DAMN, ERMINE), ("m2", ERMINE, ""))
    table = suitability(given, STATED, "stories").set_index(["measure", "of", "group"])
    values = table.loc["rare_word_share"]
    assert values.loc[("stories", "m1"), ["texts", "value"]].tolist() == [2, pytest.approx(1 / 14)]
    assert values.loc[("stories", "m1"), ["low", "high"]].tolist() == [
        0,
        pytest.approx(1 / 14 + 12.7062 / 14, rel=1e-4),
    ]
    assert values.loc[("lines", "m1"), ["texts", "value"]].tolist() == [1, pytest.approx(1 / 3)], "the line is one"
    assert values.loc[("lines", "m1"), ["low", "high"]].isna().all()
    assert ("lines", "m2") not in values.index, "its line is not known"
    values = table.loc["unsuitable_share"]
    assert values.loc[("stories", "m1")].tolist() == pytest.approx([2, 0.5, 0.0945, 0.9055], abs=1e-4)
    assert values.loc[("stories", "m2"), "value"] == 0
    values = table.loc["flesch_reading_ease"]
    assert values.loc[("stories", "m1")].tolist() == [2, 80, 70, 90], "as the statistics have it"
    words, sentences, syllables = 3, 1, 4
    ease = 206.835 - 1.015 * words / sentences - 84.6 * syllables / words
    assert values.loc[("lines", "m1"), "value"] == pytest.approx(ease, abs=0.01)


def test_a_figure_has_a_panel_a_measure_and_hollow_marks_for_the_lines():
    axes = drawn(suitability(texts(("m1", STETHOSCOPE, ERMINE)), STATED, "stories")).axes
    assert [axis.get_xlabel().split()[0] for axis in axes] == ["Flesch", "share", "share"]
    faces = [[mark.lines[0].get_markerfacecolor() for mark in axis.containers] for axis in axes]
    assert faces == [["black", "white"]] * 3


def test_nothing_is_an_empty_table_that_says_so(tmp_path):
    nothing = suitability(texts(), STATED.iloc[:0], "rewrites")
    assert nothing.empty
    nothing.to_csv(tmp_path / "suitability.csv", index=False)
    (table, _), (figure, _) = suitability_shown(tmp_path / "suitability.csv", "rewrites")
    assert table.caption == figure.caption == "There are no rewrites: none was kept."


def test_what_a_text_was_made_from_is_read_beside_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    for given, candidates, found in (
        ({"augmented_text": "A story.", "text": "A line."}, STORY_COLUMNS, "A line."),
        ({"story": "A story.", "text": "A line.", "line_id": "L1"}, STORY_COLUMNS, "A line."),
        ({"output": "New.", "original_output": "Old.", "version": "v1"}, REWRITE_COLUMNS, "Old."),
        ({"output": "New.", "instruction": "Do it."}, REWRITE_COLUMNS, ""),
    ):
        path.write_text(json.dumps(given))
        assert read_texts([path], candidates)["made_from"].tolist() == [found]


def test_a_list_that_is_not_installed_is_named(monkeypatch):
    def missing(package: str) -> str:
        raise words.PackageNotFoundError(package)

    monkeypatch.setattr(words, "version", missing)
    with pytest.raises(MissingInput, match="the package wordfreq is not installed; pip install -r requirements.txt"):
        words.common_release()


@pytest.mark.slow
def test_any_files_get_the_table_and_the_figure(tmp_path):
    file, out = tmp_path / "stories.jsonl", tmp_path / "out"
    file.write_text("".join(json.dumps({"story": STETHOSCOPE, "text": ERMINE, "method": "m1"}) + "\n" for _ in "ab"))
    assert main(["babylm-stats", "--stories", str(file), "--out", str(out)]) == 0
    table = pd.read_csv(out / "suitability.csv").set_index(["measure", "of"])["value"]
    assert table["rare_word_share", "stories"] == pytest.approx(1 / 7)
    assert table["rare_word_share", "lines"] == pytest.approx(1 / 3)
    assert Path(out / "figures" / "suitability.png").exists()
