"""The studio: two templates side by side, edited, saved, run in bulk; and the widgets in a notebook in a browser."""

import json
import os
import shlex
import sys
from html import unescape
from pathlib import Path

import pytest
from browser import browser, downloads, wait_for  # noqa: F401 (fixtures)
from fakes import reworded, use_fakes
from jupyter_lab import lab_address, lab_is_ready
from small_stories import SMALL, a_story, chunk, save_lines

from emogap.commands import config_from
from emogap.commands.cli import build_parser
from emogap.lm.engines.engine import Reply
from emogap.paths import ROOT
from emogap.records import REWRITES, read_rows
from emogap.trial.bulk import as_command
from emogap.trial.preview import texts_of
from emogap.trial.studio import Studio, diff_html, placeholders_html, studio


@pytest.fixture
def engine(monkeypatch):
    return use_fakes(monkeypatch, a_story)


@pytest.fixture
def config(make_config):
    made = make_config(*SMALL, "augment.methods=['m1', 'm3']", "writer.batch_size=4")
    save_lines(made, ["joy", "fear", "joy", "pride", "love"])
    return made


@pytest.fixture
def opened(config, engine) -> Studio:
    return Studio(texts_of(config, "augment"))


def asked(engine) -> list[str]:
    return [identifier for call in engine.calls for identifier in call]


def said(studio: Studio) -> str:
    return unescape(studio.state.value)


def test_opening_it_loads_no_model_and_shows_templates_and_lines(opened, engine, config):
    assert engine.opened == 0
    a, b = opened.panes
    assert (a.chosen.value, b.chosen.value) == ("m1", "m3")
    assert a.text.value == texts_of(config, "augment").template_path("m1").read_text()
    assert "<b>{context}</b>; may use {emotion} {genre}" in a.placeholders.value
    assert "as on disk" in a.diff.value
    assert opened.lines.options[0] == (
        "joy: here is line number 0 which has more than ten words in it, you see",
        "toy:0",
    )


def test_two_templates_side_by_side_on_the_same_lines_with_the_same_seeds(opened, engine):
    opened.lines.value = ("toy:1", "toy:3")
    opened.generate.click()
    assert sorted(asked(engine)) == ["m1/toy:1", "m1/toy:3", "m3/toy:1", "m3/toy:3"]
    table = opened.replies.value
    assert table.index("<th>A: m1</th>") < table.index("<th>B: m3</th>")
    assert table.count("<b>kept</b>") == 4 and "fear 0.50" in table and "54 words" in table
    assert said(opened) == "4 replies written, 0 were there"
    assert not opened.generate.disabled
    opened.generate.click()
    assert len(asked(engine)) == 4 and said(opened) == "0 replies written, 4 were there"
    assert engine.opened == 1


def test_an_edit_shows_its_placeholders_its_difference_and_its_replies(opened, engine):
    opened.lines.value = ("toy:0",)
    a, b = opened.panes
    b.chosen.value = "m1"
    b.text.value = a.text.value.replace("one single paragraph", "two <short> paragraphs by a {character}")
    assert "<b>{character}</b>" in b.placeholders.value
    assert "+- Write two &lt;short&gt; paragraphs by a {character}" in b.diff.value and "as on disk" in a.diff.value
    opened.generate.click()
    assert asked(engine) == ["m1/toy:0", "m1/toy:0"]
    assert "<th>A: m1</th><th>B: m1 (edited)</th>" in opened.replies.value
    b.text.value = "{context} {wrong}"
    assert "unknown placeholder {wrong}" in b.placeholders.value
    opened.generate.click()
    assert "unknown placeholder {wrong}" in said(opened) and not opened.generate.disabled


def test_a_typed_line_an_emotion_and_a_sampling(opened, engine):
    opened.panes[1].chosen.value = "none"
    opened.typed["text"].value = "the kettle sings on the stove"
    opened.emotion.value = "relief"
    opened.preset.value = "published-rewrites-run"
    assert opened.sampling["repetition_penalty"].value == 1.3
    seen = []
    engine.reply = lambda c: seen.append(c.messages[-1]["content"]) or a_story(c)
    opened.generate.click()
    assert "relief: the kettle sings on the stove" in seen[0] and len(seen) == 1
    opened.typed["text"].value = ""
    opened.lines.value = ("toy:0",)
    opened.generate.click()
    assert "relief: here is line number 0" in seen[1]
    opened.sampling["temperature"].value = -1.0
    opened.generate.click()
    assert "sampling temperature = -1" in said(opened)


def test_saving_makes_a_new_file_and_never_overwrites(opened, tmp_path):
    a = opened.panes[0]
    a.text.value = "Tell of {emotion}: {context}\n"
    a.path.value = str(tmp_path / "new" / "short.txt")
    a.save.click()
    assert (tmp_path / "new" / "short.txt").read_text() == "Tell of {emotion}: {context}\n"
    assert a.chosen.value == "short" and "as on disk" in a.diff.value
    assert "short" in opened.panes[1].chosen.options and opened.panes[1].chosen.value == "m3"
    a.text.value += "More."
    for path, message in (
        (tmp_path / "new" / "short.txt", "called 'short' already"),
        (tmp_path / "m1.txt", "called 'm1' already"),
        (tmp_path / "no.name.txt", "give a file name"),
        (tmp_path, "give a file name"),
    ):
        a.path.value = str(path)
        a.save.click()
        assert message in said(opened)
    (tmp_path / "taken.txt").write_text("mine")
    a.path.value = str(tmp_path / "taken.txt")
    a.save.click()
    assert "is there already" in said(opened) and (tmp_path / "taken.txt").read_text() == "mine"


def test_the_cost_of_a_bulk_run_comes_from_the_rate_just_measured(opened, engine):
    engine.reply = lambda c: Reply(c.id, a_story(c), 9, 54, "stop", 30.0)
    opened.lines.value = ("toy:0", "toy:1")
    opened.generate.click()
    assert (
        "5 stories at 30.0 s each: about 2:30 (measured 2 at a time; a bulk run takes 4" in opened.panes[0].cost.value
    )
    opened.count.value = 3
    opened.generate.click()
    assert "3 stories at 30.0 s each: about 1:30" in opened.panes[0].cost.value
    opened.panes[0].text.value += "Now."
    assert opened.panes[0].cost.value == ""


def test_bulk_runs_the_same_settings_and_takes_over_what_was_tried(opened, engine, config, tmp_path):
    a = opened.panes[0]
    a.text.value = "Tell of {emotion}: {context}"
    opened.sampling["temperature"].value = 1.1
    opened.panes[1].chosen.value = "none"
    opened.lines.value = ("toy:0", "toy:2")
    opened.generate.click()
    a.bulk.click()
    assert "save it first" in said(opened)
    a.path.value = str(tmp_path / "short.txt")
    a.save.click()
    a.bulk.click()
    assert "augment: made 2" in said(opened)
    every = asked(engine)
    assert len(every) == 5 and engine.opened == 1
    assert {identifier.split("/")[1] for identifier in every} == {f"toy:{i}" for i in range(5)}
    rows = chunk(config, "short")
    assert rows["line_id"].tolist() == [f"toy:{i}" for i in range(4)]
    manifest = json.loads((config.home.chunk("short", 0).parent / "chunk_00000.parquet.manifest.json").read_text())
    assert manifest["settings"]["augment.sampling.temperature"] == 1.1


def test_the_command_it_prints_has_the_same_settings(opened, config, tmp_path, capsys):
    a = opened.panes[0]
    a.path.value = str(tmp_path / "short.txt")
    a.text.value = "Tell of {emotion}: {context}"
    a.save.click()
    opened.count.value = 2
    a.bulk.click()
    printed = capsys.readouterr().out
    words = shlex.split(printed[printed.index("emogap augment") :].splitlines()[0])
    again = config_from(build_parser().parse_args([*words[1:], "--set", "controls=false"]))
    with_controls = config.model_copy(update={"controls": True, "augment": again.augment})
    assert "--set controls=false" in as_command(opened.texts, with_controls), "that one method alone"
    assert again.augment.methods == ["short"] and again.augment.lines == 2
    assert again.augment.templates["short"] == str(tmp_path / "short.txt")
    assert again.augment.sampling == config.augment.sampling and again.home == config.home


def test_rewrites_have_a_studio_too(make_config, engine):
    engine.reply = reworded
    config = make_config("rewrite.versions=['v2', 'v3']", "rewrite.count=4", "writer.batch_size=2")
    opened = Studio(texts_of(config, "rewrite"))
    opened.generate.click()
    assert opened.replies.value.count("<b>kept</b>") == 4 and "similarity 0.90" in opened.replies.value
    opened.panes[1].bulk.click()
    assert len(asked(engine)) == 2 + 4, "v3's two were there"
    assert len(read_rows(config.home.rewrite_rows("v3"), REWRITES)) == 4
    opened.typed["instruction"].value = "Name a fruit."
    opened.generate.click()
    assert "needs 'output'" in said(opened)


def test_what_is_kept_is_seen_and_the_raw_reply_where_it_differs(opened, engine):
    engine.reply = lambda c: f"Story:\n{a_story(c)}" if c.id.startswith("m1") else a_story(c)
    opened.lines.value = ("toy:0",)
    opened.generate.click()
    a, b = opened.replies.value.split("<td")[2:]
    kept = b[b.index(">") + 1 : b.index("<br>")]
    assert a[a.index(">") + 1 :].startswith(f"{kept}<details"), "one seed, one story"
    assert f"<summary>the raw reply</summary>Story:<br>{kept}</details>" in a and "<summary>" not in b
    assert "table-layout:fixed" in opened.replies.value, "columns of equal width"


def test_an_empty_choice_and_markup_in_texts(opened, engine):
    opened.lines.value = ()
    opened.generate.click()
    assert "no line is chosen" in said(opened)
    engine.reply = lambda c: "<script>alert(1)</script>"
    opened.lines.value = ("toy:0",)
    opened.generate.click()
    assert "<script>" not in opened.replies.value and "&lt;script&gt;" in opened.replies.value
    assert "too_short" in opened.replies.value


def test_with_a_server_no_model_is_loaded(make_config, monkeypatch):
    config = make_config("writer.engine=server")
    save_lines(config, ["joy"])
    before = set(sys.modules)
    studio(config)
    assert not {"torch", "transformers"} & (set(sys.modules) - before)


def test_diff_and_placeholders(config):
    assert diff_html("a\n", "a\n") == "<small>as on disk</small>"
    assert "-a" in diff_html("a\nb\n", "c\nb\n") and "+c" in diff_html("a\nb\n", "c\nb\n")
    assert "a lone brace" not in placeholders_html(texts_of(config, "augment"), "{emotion} {context}")
    assert "double a literal brace" in placeholders_html(texts_of(config, "augment"), "{emotion} {context} {")


CELL = """
import sys
sys.path.insert(0, {tests!r})
from pytest import MonkeyPatch
from fakes import use_fakes
from small_stories import a_story, save_lines
from emogap.config import load_config
from emogap.trial.bulk import as_command
from emogap.trial.studio import studio

use_fakes(MonkeyPatch(), a_story)
config = load_config("embedded", {home!r}, ["augment.lines=0", "augment.order=file"])
save_lines(config, ["joy", "fear"])
studio(config)
"""


@pytest.fixture
def notebook(tmp_path):
    source = CELL.format(tests=str(ROOT / "tests"), home=str(tmp_path / "home"))
    with lab_address(tmp_path, source) as address:
        yield address


@pytest.mark.slow
def test_type_generate_see_and_save_in_a_browser(browser, notebook, tmp_path):  # noqa: F811
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.set_window_size(1500, 2200)
    browser.get(notebook)
    lab_is_ready(browser)
    browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def one(selector):
        return browser.find_element(By.CSS_SELECTOR, selector)

    def button(name):
        return next(b for b in browser.find_elements(By.CSS_SELECTOR, ".widget-button") if b.text == name)

    template = wait_for(lambda: one(".emogap-template-a textarea"), 120, "the studio")
    assert "creative writer" in template.get_attribute("value")
    template.clear()
    template.send_keys("Write of {emotion}, gladly: {context}")
    line = browser.find_elements(By.CSS_SELECTOR, ".widget-text input[type=text]")[0]
    line.send_keys("the kettle sings <loudly> today", Keys.TAB)
    wait_for(lambda: "+Write of {emotion}, gladly" in one(".emogap-diff").text, 20, "the difference to the file")
    button("Generate").click()
    replies = wait_for(lambda: one(".emogap-replies"), 60, "the replies")
    wait_for(lambda: "the kettle sings <loudly> today" in replies.text, 20, "the typed line")
    assert replies.text.count("kept") == 2 and "big" in replies.text
    wait_for(lambda: "2 stories at 0.0 s each" in one(".jp-OutputArea").text, 20, "the cost")
    path = next(f for f in browser.find_elements(By.CSS_SELECTOR, ".widget-text input[type=text]")
                if f.get_attribute("value") == "prompts/stories/mine.txt")  # fmt: skip
    path.clear()
    path.send_keys(str(tmp_path / "glad.txt"), Keys.TAB)
    button("Save A as").click()
    wait_for(lambda: (tmp_path / "glad.txt").exists(), 20, "the saved template")
    assert (tmp_path / "glad.txt").read_text() == "Write of {emotion}, gladly: {context}"
    wait_for(lambda: "it is called 'glad' here" in one(".jp-OutputArea").text, 20, "what it says")
    if "EMOGAP_SCREENSHOTS" in os.environ:
        browser.save_screenshot(str(Path(os.environ["EMOGAP_SCREENSHOTS"]) / "studio.png"))
