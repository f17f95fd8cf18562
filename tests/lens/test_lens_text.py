"""The lens on any models and texts: the command, what it writes, its figures, and the widget."""

from pathlib import Path

import pandas as pd
import pytest
from browser import browser, downloads, wait_for  # noqa: F401 (fixtures)
from jupyter_lab import lab_address, lab_is_ready
from tiny_models import SENTENCES, save_tiny_gpt2

from emogap.commands.cli import main
from emogap.lens import figures as lens_figures
from emogap.lens.exhibits import families, given
from emogap.lens.logit_lens import LogitLens
from emogap.lens.reader import TextReader
from emogap.lens.widget import build, lens_widget
from emogap.lm.hub import LocalModel
from emogap.paths import ROOT
from emogap.records import LENS, read_rows
from emogap.store.exhibits import exhibits

TEXT = SENTENCES[0]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two tiny models of the same shape, as folders called ``tiny`` and ``tiny-tuned``."""
    folder = tmp_path_factory.mktemp("models")
    return [str(save_tiny_gpt2(folder / name, seed)) for seed, name in enumerate(("tiny", "tiny-tuned"))]


@pytest.fixture(scope="module")
def table(pair):
    parts = [
        TextReader(LogitLens(LocalModel(Path(folder), name)), ["dog"], 2)
        .read_all({"t0": TEXT, "t1": "The $ dog\n cried."}, name, 3)
        .assign(model=name)
        for folder, name in zip(pair, ("tiny", "tiny-tuned"), strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def emogap(*words, capsys):
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_command_writes_readings_tables_and_figures(pair, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text(f"\n{TEXT}\n\n", encoding="utf-8")
    options = ["--words", "dog", "--new-tokens", 2, "--measure", "emotion:joy", "--positions", 7]
    code, out, err = emogap(
        "lens", "--home", tmp_path / "home", "--model", *pair, "--file", "texts.txt", *options,
        "--set", "lens.bootstrap=100", capsys=capsys,
    )  # fmt: skip
    assert code == 0, err
    assert "half of the final mass on the words of any emotion" in out
    assert "t0: the last 7 of" in out and "t0 tiny-tuned: next" in out
    written = read_rows(tmp_path / "lens" / "readings.parquet", LENS)
    assert set(written["model"]) == {"tiny", "tiny-tuned"} and set(written["prompt_id"]) == {"t0"}
    assert {"top_1", "top_5", "word_rank", "emotion_mass", "kl_to_final"} <= set(written["measure"])
    names = {exhibit.name for exhibit in exhibits(tmp_path / "lens")}
    assert {
        "by_layer",
        "emotion_depth",
        "emotion_map_tiny-tuned",
        "words_tiny-tuned",
        "lens_ranks_t0_tiny-tuned",
    } <= names
    assert sum(name.startswith("lens_t0_emotion-joy_tiny-tuned") for name in names) == 1
    for name in names - {"emotion_depth", "emotion_mass"}:
        for suffix in (".png", ".pdf"):
            assert (tmp_path / "lens" / "figures" / f"{name}{suffix}").stat().st_size > 1000
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--text", "a b"], 2, "--text goes with --model"),
        (["--model", "MODEL", "--measure", "warmth"], 2, "--measure 'warmth' is unknown"),
        (["--model", "MODEL", "--measure", "emotion:hunger"], 2, "'hunger' is not one of the 28"),
        (["--model", "MODEL", "other/tiny"], 2, "two models are called 'tiny'"),
        (["--model", "MODEL", "--file", "nowhere.txt"], 1, "nowhere.txt not found"),
        (["--model", "nowhere/model"], 1, "neither a folder nor in the local hub cache"),
        (["--model", "MODEL", "--text", ""], 1, "the text is empty"),
    ],
)
def test_bad_use_is_one_line(pair, words, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [pair[0] if word == "MODEL" else word for word in words]
    found, _, err = emogap("lens", "--home", tmp_path / "home", *words, capsys=capsys)
    assert found == code
    assert said in err
    assert err.strip().splitlines()[-1].startswith("emogap: ")
    assert not (tmp_path / "lens").exists()


def test_models_are_drawn_with_their_base():
    bases = {"a": "a", "a-x": "a", "a-y": "a", "b": "b", "c-x": "c"}
    assert families(list(bases), bases) == [["a", "a-x"], ["a", "a-y"], ["b"], ["c-x"]]


def test_given_stops_where_the_text_ends(table):
    inside = given(table)
    one = inside[inside["prompt_id"] == "t0"]
    tokens = table.loc[table["end"] & (table["prompt_id"] == "t0"), "position"].iloc[0] + 1
    assert sorted(one["position"].unique()) == list(range(tokens - 1))
    assert "".join(one[(one["layer"] == 0) & (one["measure"] == "top_1") & (one["model"] == "tiny")]["input"]) in TEXT


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def test_heat_maps_share_a_scale_and_show_first_choices(table):
    one = given(table[table["prompt_id"] == "t0"])
    figure = lens_figures.heat_maps(one, "rank", 2, 6)
    first, second, difference = figure.axes[:3]
    norms = [ax.images[0].norm for ax in (first, second)]
    assert norms[0] is norms[1]
    # The scale is that of the whole text, so that all its slices can be compared.
    assert norms[0].vmax == max(10, one.loc[one["measure"] == "rank", "value"].max())
    layers = one["layer"].nunique()
    for ax, model in ((first, "tiny"), (second, "tiny-tuned")):
        rows = one[(one["model"] == model) & (one["measure"] == "top_1") & one["position"].between(2, 6)]
        expected = rows.sort_values(["layer", "position"])["token"].map(lens_figures.visible).tolist()
        assert texts_of(ax) == expected and len(expected) == layers * 5
    wide = one[one["measure"] == "rank"].pivot(index=["layer", "position"], columns="model", values="value")
    ratio = (wide["tiny-tuned"] / wide["tiny"]).loc[(1, 3)]
    assert 10 ** difference.images[0].get_array()[1, 1] == pytest.approx(ratio)
    assert first.get_xticklabels()[0].get_text() == lens_figures.visible(one[(one["position"] == 2)]["input"].iloc[0])
    figure.canvas.draw()


@pytest.mark.parametrize("measure", ["top_1", "cross_entropy", "emotion:joy", "word:dog"])
def test_every_kind_of_measure_can_be_drawn(table, measure):
    figure = lens_figures.heat_maps(given(table[table["prompt_id"] == "t1"]), measure, 0, 3)
    figure.canvas.draw()
    shown = " ".join(ax.get_xlabel() for ax in figure.axes)
    assert lens_figures.measure_label(measure) in shown
    assert "tiny-tuned" in shown


def test_models_that_wrote_different_texts_are_not_subtracted(table):
    figure = lens_figures.rank_view(table[table["prompt_id"] == "t0"])
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == ["tiny", "tiny-tuned"]
    # What a model writes is its own first choice: the highest row holds nothing but ones.
    top = texts_of(figure.axes[0])[-3:]
    assert top == ["1", "1", "1"]


def test_long_texts_are_sliced():
    assert lens_figures.slices(range(17), 7) == [(0, 6), (7, 13), (14, 16)]


def test_white_space_in_tokens_is_visible_and_nothing_is_a_formula():
    assert lens_figures.visible(" a\n") == "·a↵"
    assert lens_figures.visible("$x$") == r"\$x\$"
    assert len(lens_figures.visible("x" * 40)) == 10
    assert lens_figures.visible("語") == "U+8A9E"


def parts_of(box):
    found = {}
    for widget in box.children:
        for inner in getattr(widget, "children", [widget]):
            found[getattr(inner, "description", "") or type(inner).__name__] = inner
    return found


def test_widget_reads_on_the_button_and_redraws_without_reading(table):
    asked = []

    def read(model, text):
        asked.append((model, text))
        return given(table[(table["prompt_id"] == "t0") & (table["model"] == model)])

    box = build(["tiny", "tiny-tuned"], {"dog": TEXT, "hat": SENTENCES[1]}, read, ["dog"])
    parts = parts_of(box)
    parts["sentence"].value = "hat"
    assert parts["text"].value == SENTENCES[1]
    assert parts["Image"].layout.display == "none"  # nothing is read yet
    parts["Read"].click()
    assert asked == [("tiny", SENTENCES[1]), ("tiny-tuned", SENTENCES[1])] and not parts["Image"].layout.display
    pictures = [bytes(parts["Image"].value)]
    parts["positions"].index = 1
    pictures.append(bytes(parts["Image"].value))
    parts["colour"].value = "emotion:joy"
    pictures.append(bytes(parts["Image"].value))
    assert len(set(pictures)) == 3 and all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert len(asked) == 2
    parts["beside it"].value = "(alone)"
    parts["Read"].click()
    assert len(asked) == 3 and not parts["Read"].disabled


def test_widget_shows_an_error(pair):
    reader = TextReader(LogitLens(LocalModel(Path(pair[0]), "tiny")), [], 1)
    box = build(["tiny"], {"none": ""}, lambda model, text: reader.read_all({"t": text}, model).assign(model=model))
    parts_of(box)["Read"].click()
    assert "the text is empty" in parts_of(box)["HTML"].value
    assert not parts_of(box)["Read"].disabled


CELL = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from pathlib import Path
from tiny_models import SENTENCES, save_tiny_gpt2
from emogap.lens.reader import TextReader
from emogap.lens.logit_lens import LogitLens
from emogap.lm.hub import LocalModel
from emogap.lens.widget import build

readers = {{
    name: TextReader(LogitLens(LocalModel(save_tiny_gpt2(Path(name), seed), name)), ["dog"])
    for seed, name in enumerate(["tiny", "tiny-tuned"])
}}
read = lambda name, text: readers[name].read_all({{"text": text}}, name).assign(model=name)
build(list(readers), {{"dog": SENTENCES[0], "hat": SENTENCES[1]}}, read, ["dog"])
"""


@pytest.mark.slow
def test_widget_in_a_browser(browser, tmp_path):  # noqa: F811
    with lab_address(tmp_path, CELL) as address:
        browser.get(address)
        lab_is_ready(browser)
        browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        use_the_widget(browser)


def use_the_widget(chrome):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    find = chrome.find_elements
    boxes = {
        box.find_element(By.CSS_SELECTOR, "label").text: box.find_element(By.CSS_SELECTOR, "select")
        for box in wait_for(lambda: find(By.CSS_SELECTOR, ".widget-dropdown"), 120, "the widgets")
    }
    assert list(boxes) == ["sentence", "base", "beside it", "colour", "positions"]
    Select(boxes["sentence"]).select_by_visible_text("hat")
    text = find(By.CSS_SELECTOR, ".widget-textarea textarea")[0]
    wait_for(lambda: text.get_attribute("value") == SENTENCES[1], 30, "the sentence in the field")
    find(By.CSS_SELECTOR, ".widget-button.mod-primary")[0].click()

    def picture():
        shown = find(By.CSS_SELECTOR, "img.widget-image")
        wide = shown and chrome.execute_script("return arguments[0].naturalWidth", shown[0]) > 300
        return shown[0].get_attribute("src") if wide else None

    first = wait_for(picture, 60, "the heat maps")
    Select(boxes["colour"]).select_by_visible_text("probability mass on words of joy")
    second = wait_for(lambda: (now := picture()) != first and now, 60, "another colour")
    slices = Select(boxes["positions"])
    assert len(slices.options) > 1
    slices.select_by_index(1)
    third = wait_for(lambda: (now := picture()) != second and now, 60, "another slice")
    Select(boxes["beside it"]).select_by_visible_text("(alone)")
    find(By.CSS_SELECTOR, ".widget-button.mod-primary")[0].click()
    wait_for(lambda: (now := picture()) != third and now, 60, "one model alone")


def test_sentences_that_begin_alike_are_all_there_and_whole(make_config, tmp_path):
    alike = ["The same beginning, which is long, stands in front of both " * 2 + end for end in ("one.", "two.")]
    (tmp_path / "alike.txt").write_text("\n".join(alike), encoding="utf-8")
    box = lens_widget(make_config(f"lens.sentences={tmp_path / 'alike.txt'}"))
    assert list(parts_of(box)["sentence"].options) == alike
