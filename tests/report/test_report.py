"""The report's page: what is registered is shown in the study's order, what has not run is said, no text can run."""

import dataclasses
import json
import re

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from emogap.commands.cli import main
from emogap.config import load_config
from emogap.paths import Home
from emogap.report import comparison
from emogap.report import page as report_page
from emogap.report.entries import PART_CHARACTERS, ROWS_OF_A_CUT, ROWS_SHOWN, ROWS_UNFOLDED, reader, to_cells
from emogap.report.page import report
from emogap.report.study_order import PLACES, place_of
from emogap.store.artefacts import Artefact, Recipe
from emogap.store.exhibits import Exhibit, save_figure, save_table
from emogap.store.views import View, cells
from emogap.study.stages import STAGES
from emogap.study.state import inspect_all


@pytest.fixture
def page(config):
    def make() -> str:
        report(config)
        return config.home.report.read_text(encoding="utf-8")

    return make


def save(config, name: str, table: pd.DataFrame, caption: str = "One.", **more) -> None:
    """Register a table as ``<folder>/<name>``."""
    folder, _, file = name.rpartition("/")
    save_table(config.home.root / folder, Exhibit(file, "table", caption, 50, **more), table)


def section(html: str, anchor: str) -> str:
    return html.partition(f'<section id="{anchor}">')[2].partition("</section>")[0]


def folded(html: str, anchor: str) -> str:
    return html.partition(f'<details id="{anchor}">')[2].partition("</details>")[0]


def test_an_empty_home_is_shown_as_missing_not_as_zeros(page):
    html = page()
    assert "No model has a control here: what emotion did is not separated" in html.partition("<nav")[0]
    for place in PLACES[1:]:
        shown = section(html, place.anchor)
        assert '<span class="state missing">missing</span>' in shown and "Missing: nothing of this place" in shown
    assert section(html, "run").replace("A dashed box has not run.", "").count("has not run") == len(STAGES) - 1
    ran = section(html, "run").partition('<details id="differs">')[0]
    assert ">0<" not in ran and ran.count(">–<") >= 6
    assert "emogap questionnaire build" in section(html, "table-4")
    assert ">33,098<" in section(html, "composition"), "the published number stands there before the run has its own"


def test_data_of_ones_own_are_named(make_config):
    strategy = "strategies=[{name='one', parent='smollm2-135m', task='sft', data='my/answers.json'}]"
    config = make_config(strategy, "lens.models=['one']", "babylm.data=['my/pairs']")
    report(config)
    html = config.home.report.read_text(encoding="utf-8")
    assert "data/sample/alpaca.json, my/answers.json" in html and "data/sample/blimp, my/pairs" in html


def test_the_study_stands_in_its_order_and_what_goes_beyond_it_behind(config, page):
    table = pd.DataFrame({"a": ["x"]})
    save(config, "models/training_clm", table, "Curves.")
    save(config, "processed_data/cleaning", table, "Cleaning.")
    save(config, "quantitative_analysis/blimp_accuracy", pd.DataFrame({"phenomenon": ["x"]}), "Grammar.")
    save(config, "quantitative_analysis/exclamations", table, "Beyond.")
    html = page()
    where = [html.index(f">{caption} <") for caption in ("Cleaning.", "Curves.", "Grammar.", "Beyond.")]
    assert where == sorted(where)
    assert "Beyond." in section(html, "beyond") and "Curves." in section(html, "curves")
    links = [f'href="#{place.anchor}"' for place in PLACES]
    assert [html.count(link) for link in links] == [0] + [1] * (len(links) - 1)


def effects(kind: str = "tuned - control", **changed) -> pd.DataFrame:
    row = {"comparison": kind, "model": "tiny-baby", "against": "tiny-plain", "measure": "positive answers",
           "change": 12.34, "low": 3.21, "high": 21.4, "p": 0.01, "p_holm": 0.02}  # fmt: skip
    return pd.DataFrame([row | changed])


def test_the_page_answers_before_it_shows_anything_else(make_config):
    config = make_config("controls=true")
    save(config, "quantitative_analysis/effects", effects(), "Effects.")
    report(config)
    html = config.home.report.read_text(encoding="utf-8")
    first = html.partition("<nav")[0]
    assert "No model has a control" not in first and "Effects." in section(first, "effect")
    assert "+12.3 [3.2, 21.4] points (tiny-baby against tiny-plain)" in first
    assert '<a href="#quantitative_analysis-table-effects">' in first
    assert 'id="quantitative_analysis-table-effects"' in html
    assert "Profile embedded" in first
    assert ">original:v1<" in folded(html, "table-1"), "what controls are trained on"


def test_what_answers_a_question_is_open_and_the_rest_one_click_behind(config, page):
    table = pd.DataFrame({"a": ["x"]})
    save(config, "processed_data/cleaning", table)
    save(config, "processed_data/emotions_by_source", table, "Sources. And more.")
    found = section(page(), "lines")
    assert '<figure id="processed_data-table-cleaning">' in found
    assert "<summary>Table emotions_by_source: Sources</summary>" in found
    assert 'href="../processed_data/tables/cleaning.csv"' in found, "its numbers are one click away"


def test_every_place_names_stages_and_settings_that_exist_and_no_exhibit_has_two(config):
    names = {stage.name: stage.folder for stage in STAGES}
    for place in PLACES:
        assert all(stage in names for stage in place.stages)
        assert {pattern.partition("/")[0] for pattern in place.exhibits} <= {names[stage] for stage in place.stages}
        plain = [pattern for pattern in place.exhibits if "*" not in pattern]
        assert [place_of(name) for name in plain] == [place] * len(plain)
    for difference in comparison.differences(config):
        assert difference.ours != difference.theirs


def test_generated_text_is_escaped(config, page):
    story = 'A <script>alert("x")</script> & more'
    table = pd.DataFrame({"emotion": ["joy"], "line": ["<img src=x onerror=alert(1)>"], "m1": [story]})
    save(config, "babylm_augment/story_examples", table, "Caption <b>bold</b>.")
    html = page()
    assert html.count("<script") == 1 and "<script>alert" not in html and "<img src=x" not in html
    assert "&lt;script&gt;" in section(html, "methods")
    assert "&lt;b&gt;" in html


def test_figures_are_in_the_page_with_an_alternative_text_and_nothing_is_fetched(config, page):
    figure, _ = plt.subplots()
    exhibit = Exhibit("lens_s0", "figure", "A curve.", 80, alt="a curve that rises")
    save_figure(config.home.root / "model_analysis", exhibit, figure)
    html = page()
    assert 'src="data:image/webp;base64,' in html
    assert 'alt="a curve that rises"' in html
    assert "<link" not in html and 'src="http' not in html and "url(http" not in html and "@import" not in html


def test_what_an_unfinished_stage_has_is_shown_as_incomplete(config, page):
    save(config, "babylm_pretrain_corpus/composition", composition(story=1, factual=2))
    assert '<span class="state incomplete">' in section(page(), "composition")


def test_a_new_exhibit_and_a_new_manifest_make_the_page_stale(config, page):
    page()
    assert report(config).fresh == ["index.html"]
    save(config, "model_analysis/t", pd.DataFrame({"a": [1]}))
    assert report(config).made == ["index.html"]
    artefact = Artefact(config.home.lens / "x.parquet", Recipe("lens", {}, {"lens.new_tokens": 3}))
    with artefact.making() as draft:
        draft.path.write_text("x")
    assert report(config).made == ["index.html"]
    assert report(config).fresh == ["index.html"]


def test_what_was_run_names_models_files_machine_and_time(config, page, tmp_path):
    raw = tmp_path / "text.train"
    raw.write_text("text")
    identities = {"writer.model": "embedded:smollm2-135m-instruct@sha256:0123abcd"}
    recipe = Recipe("augment", {"raw": raw}, {}, identities)
    with Artefact(config.home.chunk("m1", 0), recipe).making() as draft:
        draft.path.write_text("x")
        draft.counts["kept"] = 3
    manifest = json.loads((config.home.stories / "m1" / "chunk_00000.parquet.manifest.json").read_text())
    with Artefact(config.home.corpus("c"), Recipe("corpus", {"chunk": config.home.chunk("m1", 0)})).making() as draft:
        draft.path.write_text("y")
    config.home.chunk("m1", 0).unlink()  # old chunks may be put away; what they were made of is still told
    html = page()
    assert "sha256:0123abcd" in folded(html, "table-1")
    assert "mistralai/Mistral-7B-Instruct-v0.1" in folded(html, "table-1")
    files = folded(html, "provenance")
    assert "text.train" in files and manifest["inputs"]["raw"]["sha256"][:16] in files
    assert "chunk_00000" not in files, "what the home made itself was not read from outside"
    assert manifest["machine"] and "cores" in manifest["machine"]


# --- tables ----------------------------------------------------------------------------------------------------------


def shown(cells) -> list[list[str]]:
    return [row for part in cells.parts for row in part.rows]


def test_numbers_gaps_and_intervals():
    table = pd.DataFrame(
        {
            "method": ["m1", "m2"],
            "share": [0.123456, None],
            "words": [1234567, 5],
            "positive": [28.5714, 3.0],
            "positive_low": [7.14159, None],
            "positive_high": [50.0, None],
            "change": [-1.5, 2.0],
            "low": [-3.25, 1.0],
            "high": [0.5, 3.0],
        }
    )
    cells = to_cells(table)
    assert cells.parts[0].columns == ["method", "share", "words", "positive", "change"]
    assert cells.parts[0].kinds == ["s", "n", "n", "i", "i"]
    assert shown(cells) == [
        ["m1", "0.1235", "1,234,567", "29 [7, 50]", "-1.5 [-3.2, 0.5]"],
        ["m2", "–", "5", "3", "2.0 [1.0, 3.0]"],
    ]


def test_a_very_long_table_is_cut(config, page):
    many = to_cells(pd.DataFrame({"n": range(ROWS_UNFOLDED + 1)}))
    assert many.is_long and many.left_out == 0
    more = to_cells(pd.DataFrame({"n": range(ROWS_SHOWN + 1)}))
    assert (len(shown(more)), more.left_out) == (ROWS_OF_A_CUT, ROWS_SHOWN + 1 - ROWS_OF_A_CUT)
    save(config, "prompt_analysis/many", pd.DataFrame({"n": range(ROWS_SHOWN + 1)}))
    assert f"{ROWS_SHOWN + 1 - ROWS_OF_A_CUT} more rows in the file" in page()


def test_emotions_stand_in_one_order_in_each_block_and_sums_behind_them():
    rows = [("a", "all"), ("a", "joy"), ("a", "anger"), ("b", "neutral"), ("b", "admiration"), ("b", "joy")]
    shown_rows = shown(to_cells(pd.DataFrame(rows, columns=["model", "row"])))
    assert shown_rows == [
        ["a", "anger"],
        ["a", "joy"],
        ["a", "all"],
        ["b", "admiration"],
        ["b", "joy"],
        ["b", "neutral"],
    ]
    as_it_came = [["joy of life"], ["a"]]
    assert shown(to_cells(pd.DataFrame(as_it_came, columns=["word"]))) == as_it_came


def test_no_column_of_a_wide_table_is_left_over_in_a_part_of_its_own():
    for count in range(5, 14):
        table = pd.DataFrame({"model": ["a"]} | {f"m{i:02}": ["100.0 [57.1, 100.0]"] for i in range(count)})
        sizes = [len(part.columns) - 1 for part in to_cells(table).parts]
        assert len(sizes) == 1 or min(sizes) > 1, sizes


def test_a_wide_table_goes_on_in_parts_that_fit_and_keep_the_names_of_rows():
    table = pd.DataFrame(
        {"model": ["smollm2-135m-baby-instr"]} | {f"measure {i}": [f"{i}.0 [1, 2]"] for i in range(20)}
    )
    cells = to_cells(table)
    assert len(cells.parts) > 1 and cells.characters <= PART_CHARACTERS
    assert all(part.columns[0] == "model" and part.rows[0][0] == table["model"][0] for part in cells.parts)
    assert [name for part in cells.parts for name in part.columns[1:]] == list(table.columns[1:])
    many = pd.DataFrame([{"model": "a", "by": f"measure {i}", "x": i, "y": i, "z": i} for i in range(20)])
    together = to_cells(many, View(rows=("model",), columns="by", values=("x", "y", "z")))
    assert [name for part in together.parts for name in part.columns[1:4]][:3] == [f"measure 0: {v}" for v in "xyz"]
    assert len(together.parts) > 1 and all(len(part.columns) % 3 == 1 for part in together.parts)


# --- beside the published numbers ------------------------------------------------------------------------------------


def composition(**words: int) -> pd.DataFrame:
    total = sum(words.values())
    rows = [
        {"dimension": "kind", "value": kind, "documents": 1, "words": n, "share": n / total}
        for kind, n in words.items()
    ]
    return pd.DataFrame(rows)


def compared(config, anchor: str) -> pd.DataFrame:
    place = next(place for place in PLACES if place.anchor == anchor)
    return comparison.compare(place, reader(config.home))


def shown_beside(config, anchor: str) -> pd.DataFrame:
    place = next(place for place in PLACES if place.anchor == anchor)
    return cells(compared(config, anchor), comparison.view(place))


def test_composition_beside_the_published_one(config):
    save(config, "babylm_pretrain_corpus/composition", composition(story=3, factual=1))
    table = compared(config, "composition").set_index("")
    assert table.loc["share of story words (%)", ["this run", "published"]].tolist() == [75.0, 72.67]
    assert table.loc["share of story words (%)", "difference"] == pytest.approx(2.33)
    assert table["difference"].isna().sum() == 4, "a small run's words minus the published corpus's say nothing"
    assert table.loc["words", "published"] == 8929873


def test_words_of_stories_beside_table_2_with_their_interval(config):
    counts = {"texts": 2, "unique_words": 9, "average_words": 98.8, "total_words": 198}
    save(
        config,
        "prompt_analysis_babylm/word_counts",
        pd.DataFrame([{"group": "m1", "preset": "published-stories"} | counts]),
    )
    rows = [("average_words", 98.8), ("average_words_low", 90.0), ("average_words_high", 107.6)]
    tidy = [{"group": "m1", "preset": "published-stories", "measure": m, "value": v} for m, v in rows]
    save(config, "prompt_analysis_babylm/statistics", pd.DataFrame(tidy))
    table = compared(config, "table-2").set_index("")
    assert table.loc["m1: average words"].tolist() == pytest.approx([98.8, 90.0, 107.6, 97.8, 1.0])
    assert shown_beside(config, "table-2").iloc[0].tolist() == [
        "m1: average words", "98.8 [90.0, 107.6]", "97.8", "1"
    ]  # fmt: skip
    assert list(table.index) == [f"m1: {name}" for name in ("average words", "stories", "unique words", "total words")]
    assert table["difference"].isna().tolist() == [False, True, True, True]


def test_a_grid_over_temperatures_is_held_against_table_3(config):
    cell = {"texts": 60, "total_words": 1, "unique_words": 1, "average_words": 60.0, "low": 50.0, "high": 70.0}
    settings = ["temperature=0.3", "top_p=0.9, temperature=1.2", "temperature=0.7"]
    grid = pd.DataFrame([{"template": "v3", "setting": setting} | cell for setting in settings])
    save(config, "alpaca-instruction/grid_words", grid)
    found = compared(config, "table-3").set_index("")
    assert found.loc["v3, temperature=0.3: average words"].tolist() == pytest.approx([60.0, 50.0, 70.0, 57.34, 2.66])
    assert list(found["published"]) == [57.34, 53.86], "0.7 was not published"


def changes(model: str, base: str) -> pd.DataFrame:
    row = {"model": model, "base": base, "phenomenon": "binding", "difference": -1.0, "low": -2.0, "high": 0.5}
    return pd.DataFrame([row])


def test_of_published_models_the_stage_itself_says_how_they_stand_beside(config, page):
    save(config, "quantitative_analysis/blimp_differences", changes("gpt2-baby", "gpt2"))
    save(config, "quantitative_analysis/blimp_beside_published", pd.DataFrame({"model": ["gpt2"]}), "Beside.")
    assert compared(config, "table-6") is None
    assert "Beside." in section(page(), "table-6")


def test_grammar_of_another_base_is_held_against_what_the_training_changed(config):
    save(config, "quantitative_analysis/blimp_differences", changes("tiny-baby", "tiny"))
    found = compared(config, "table-6")
    assert found.iloc[0, :5].tolist() == ["binding", "baby", -1.0, -2.0, 0.5]
    assert found.iloc[0, 5:].tolist() == pytest.approx([76.86 - 78.94, 1.08])
    assert shown_beside(config, "table-6").to_dict("records") == [
        {"phenomenon": "binding", "baby: this run": "-1.0 [-2.0, 0.5]", "baby: published": "-2.08",
         "baby: difference": "1.1"}
    ]  # fmt: skip


def test_no_comparison_is_made_of_what_is_not_there(config):
    assert all(comparison.compare(place, reader(config.home)) is None for place in PLACES)


def test_differences_to_the_published_set_up_have_a_kind(config, tmp_path):
    found = {d.key: d for d in comparison.differences(config)}
    assert found["writer.model.name"].kind == "method"
    assert found["process.raw_dirs"].kind == "data"
    assert found["clm.max_steps"].kind == "size" and found["clm.max_steps"].theirs == "-1"
    assert comparison.differences(load_config("paper", tmp_path / "paper")) == []


def test_sizes_leave_what_was_not_counted_empty(config):
    states = inspect_all(config)
    assert comparison.sizes(states)["this run"].isna().all()
    manifests = {
        "evaluate": [{"counts": {"answers": n}, "settings": {}} for n in (28, 30, 28)],
        "augment": [{"counts": {"kept": 5}, "settings": {"augment.method": m}} for m in ("m1", "m2", "m0")],
        "corpus": [{"counts": {"words": 99}, "settings": {"corpus.words": words}} for words in (0, "as:emotional")],
    }
    states = [dataclasses.replace(s, manifests=manifests.get(s.stage.name, ())) for s in states]
    table = comparison.sizes(states).set_index("")
    assert table.loc["answers a model", "this run"] == 30
    assert table.loc[["stories", "words of the corpus"], "this run"].tolist() == [10, 99], "without those of controls"
    assert pd.isna(table.loc["minimal pairs a model", "this run"])


def test_the_workflow_draws_every_stage_once_and_no_box_on_another(config):
    boxes, arrows = report_page.workflow([s for s in inspect_all(config) if s.stage.name != "report"])
    assert [box["name"] for box in boxes] == [stage.name for stage in STAGES[:-1]]
    assert len({(box["x"], box["y"]) for box in boxes}) == len(boxes)
    assert all(
        box["x"] + report_page.BOX_WIDTH <= report_page.WIDTH
        and box["y"] + report_page.BOX_HEIGHT <= report_page.HEIGHT
        for box in boxes
    )
    assert all(arrow["y1"] < arrow["y2"] for arrow in arrows), "a stage stands below those that it reads from"


# --- two runs --------------------------------------------------------------------------------------------------------


def run_of(home: Home, temperature: float, prompt: str) -> Home:
    """A home with one artefact, a table and a file from outside."""
    recipe = Recipe("augment", {}, {"augment.sampling.temperature": temperature}, {"prompt m1": prompt}, seed=1)
    with Artefact(home.chunk("m1", 0), recipe).making() as draft:
        draft.path.write_text(prompt)
        draft.counts["kept"] = int(10 * temperature)
    table = pd.DataFrame({"method": ["m1"], "outcome": ["kept"], "rows": [int(10 * temperature)]})
    save_table(home.stories, Exhibit("story_outcomes", "table", f"Kept at {temperature}.", 20), table)
    return home


def test_two_runs_stand_beside_each_other_with_what_differs_on_top(tmp_path, capsys):
    first, second = run_of(Home(tmp_path / "a" / "run"), 0.3, "p1"), run_of(Home(tmp_path / "b" / "run"), 1.2, "p2")
    save_table(first.stories, Exhibit("story_examples", "table", "One.", 22), pd.DataFrame({"m1": ["<script>"]}))
    assert main(["report", "--home", str(first.root), "--home", str(second.root)]) == 0
    page = first.root / "report" / "beside-run.html"
    assert capsys.readouterr().out.strip() == str(page)
    html = page.read_text(encoding="utf-8")
    settings = section(html, "settings")
    assert re.search(r"augment.sampling.temperature</td>\s*<td[^>]*>0.3</td>\s*<td[^>]*>1.2<", settings)
    assert re.search(r"prompt m1</td>\s*<td[^>]*>p1</td>\s*<td[^>]*>p2<", settings)
    assert "seed" not in settings, "it is the same"
    assert re.search(r"augment: kept</td>\s*<td[^>]*>3</td>\s*<td[^>]*>12<", section(html, "work"))
    assert html.index("Settings that differ") < html.index("Kept at 0.3.") < html.index("Kept at 1.2.")
    assert "Missing: this run has no babylm_augment/tables/story_examples" in section(html, "methods")
    assert "a/run" in html and "b/run" in html and "<script" not in html


def test_two_equal_runs_differ_in_nothing_and_an_empty_one_is_refused(tmp_path, capsys):
    first, second = (run_of(Home(tmp_path / name), 0.3, "p1") for name in ("one", "two"))
    assert main(["report", "--home", str(first.root), "--home", str(second.root)]) == 0
    html = (first.root / "report" / "beside-two.html").read_text(encoding="utf-8")
    assert "None: the same settings" in html
    assert html.count("Kept at 0.3.") == 1 and ">one and two</p>" in html
    assert main(["report", "--home", str(first.root), "--home", str(tmp_path / "none")]) == 1
    assert "nothing has been run in" in capsys.readouterr().err
    assert main(["report", *["--home", "x"] * 3]) == 2
    assert "one run, or two side by side" in capsys.readouterr().err


def test_a_variant_is_shown_beside_its_parent(tmp_path, capsys):
    parent, variant = run_of(Home(tmp_path / "parent"), 0.3, "p1"), run_of(Home(tmp_path / "variant"), 1.2, "p1")
    assert main(["report", "--home", str(variant.root), "--on", str(parent.root)]) == 0
    beside = variant.root / "report" / "beside-parent.html"
    assert f"beside its parent: {beside}\n" in capsys.readouterr().out
    found = section(beside.read_text(encoding="utf-8"), "settings")
    assert re.search(r"augment.sampling.temperature</td>\s*<td[^>]*>1.2</td>\s*<td[^>]*>0.3<", found)
    assert "prompt m1" not in found
