"""What notebooks show around a stage: settings, cost, what comes next, and tables for reading."""

import json

import pandas as pd
import pytest
from browser import browser, downloads  # noqa: F401 (fixtures)

from emogap.store.artefacts import Recipe
from emogap.store.pieces import Piece, run
from emogap.study.notebook import after, before, beside_published, settings, texts, whole


def test_what_differs_from_the_published_set_up_stands_out(config):
    shown = settings(config, "augment.chunk_size", "augment.sampling.top_p", "augment.lines")
    assert shown.data["setting"].tolist() == ["augment.lines", "augment.chunk_size", "augment.sampling.top_p"]
    rows = shown.to_html().split("<tr>")
    assert ("871" in shown.data["published"][1]) and shown.data["value"][1] != "871"
    styles = shown.to_html().split("</style>")[0]
    bold = [part for part in styles.split("}") if "font-weight: bold" in part]
    assert "row1" in bold[0] and "row0" not in bold[0] and "row2" not in bold[0]
    assert len(rows) == 1 + 1 + 3


@pytest.mark.parametrize("stage", ["process", "augment", "rewrite", "clm", "sft", "evaluate"])
def test_what_was_never_done_here_has_no_price(make_config, capsys, stage):
    before(make_config("process.device=cpu", "writer.device=cpu", "respond.device=cpu"), stage)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("on ") and said[1:]
    assert all(line.endswith("not measured here") for line in said[1:])


def test_a_stage_without_a_price_says_what_it_took_here(config, capsys):
    before(config, "lens")
    assert capsys.readouterr().out == "lens: not measured here\n"
    for name, seconds in (("a", 60.4), ("b", 5.0)):
        piece = Piece(config.home.lens / name, Recipe("lens"), make=lambda draft: draft.path.write_text("x"))
        run("lens", [piece])
        manifest = json.loads(piece.manifest_path.read_text())
        piece.manifest_path.write_text(json.dumps(manifest | {"seconds": seconds}))
    before(config, "lens")
    assert capsys.readouterr().out == "lens: took 1:05 here when it was made\n"


def test_what_comes_next_is_the_first_stage_that_is_not_made(config, capsys):
    after(config, "process")
    assert capsys.readouterr().out == "next: pretrain_data_augment.ipynb (Write stories from the emotional lines)\n"


def test_texts_are_shown_whole_and_cannot_be_markup():
    text = "One line.\nAnother, <b>with</b> marks." * 20
    page = texts(pd.DataFrame({"reply": [text], "score": [0.12345]})).to_html()
    assert "pre-wrap" in page and "0.12" in page and "0.123" not in page
    assert page.count("Another,") == 20 and "&lt;b&gt;with" in page and "<b>" not in page


def test_counts_have_no_decimals_intervals_stay_on_their_line_and_an_empty_table_says_so():
    page = texts(pd.DataFrame({"n": [24.0, None], "share": [0.5, 1], "ends": ["100.0 [56.6, 100.0]", "–"]})).to_html()
    assert ">24<" in page and ">0.50<" in page and ">1.00<" in page and ">–<" in page
    styles = texts(pd.DataFrame({"ends": ["1 [0, 2]"], "said": ["it is 1 [0, 2]"]}))._compute().ctx
    assert ("white-space", "nowrap") in styles[0, 0] and ("white-space", "nowrap") not in styles[0, 1]
    assert "no rows" in texts(pd.DataFrame(columns=["model", "words"])).to_html()
    assert "no rows" not in page


def test_rows_of_several_tables_that_have_the_same_index_are_shown_one_below_the_other():
    one = pd.DataFrame({"model": ["a"], "step": [1]})
    assert texts(pd.concat([one, one])).to_html().count(">a<") == 2


def test_a_list_is_read_with_commas_and_a_text_is_wrapped_and_no_markup():
    table = pd.DataFrame({"emotions": [["joy", "love"], []], "words": [3, 4]})
    page = texts(table).to_html()
    assert ">joy, love<" in page and "['joy'" not in page
    shown = whole("One <b>line</b>.\nAnother.").data
    assert "One &lt;b&gt;line&lt;/b&gt;.\nAnother." in shown and "pre-wrap" in shown


def test_the_first_column_of_a_wide_table_stays_where_it_is(browser, tmp_path):  # noqa: F811
    table = pd.DataFrame({"model": ["base"], **{f"column {n}": ["some words of a text " * 9] for n in range(20)}})
    page = tmp_path / "wide.html"
    page.write_text(f'<div id="box" style="overflow: auto; width: 900px">{texts(table).to_html()}</div>')
    browser.get(page.as_uri())
    box, scroll = browser.find_element("id", "box"), "arguments[0].scrollLeft = 2000; return arguments[0].scrollLeft"
    first, second = box.find_elements("css selector", "td")[:2]
    before = second.rect["x"]
    scrolled = browser.execute_script(scroll, box)
    assert scrolled > 500 and (first.rect["x"], second.rect["x"]) == (box.rect["x"], before - scrolled)
    seen = "return getComputedStyle(arguments[0]).backgroundColor"
    assert browser.execute_script(seen, first) == "rgb(255, 255, 255)", "nothing shows through"


def test_bold_is_what_differs_from_a_published_value():
    table = pd.DataFrame({"argument": ["a", "b", "c"], "value": ["1", "2", "3"], "published": ["1", "5", ""]})
    cells = beside_published(table)._compute().ctx
    bold = {place for place, styles in cells.items() if ("font-weight", "bold") in styles}
    assert bold == {(1, 0), (1, 1), (1, 2)}


def test_a_published_whole_number_is_written_as_its_setting_is(config):
    shown = config.show("clm.batch_size", "clm.epochs")
    assert shown["published"].tolist() == ["4", "10.0"] and shown["value"][1] == "10.0"
