"""The report's page: what is registered is shown, what has not run is said, nothing in a text can run."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from emogap.exhibits import Exhibit, save_figure, save_table
from emogap.show.report import ROWS_UNFOLDED, report
from emogap.stages import STAGES


@pytest.fixture
def page(config):
    def make() -> str:
        report(config)
        return config.home.report.read_text(encoding="utf-8")

    return make


def test_an_empty_home_is_shown_as_missing_not_as_zeros(page):
    html = page()
    for stage in STAGES[:-1]:
        assert f'id="{stage.name}"' in html
        assert f"<li>{stage.name}: has not run</li>" in html
    assert html.count('class="state missing"') >= len(STAGES) - 1


def test_generated_text_is_escaped(config, page):
    story = 'A <script>alert("x")</script> & more'
    table = pd.DataFrame({"story": [story], "words": [3]})
    save_table(config.home.root / "babylm_augment", Exhibit("stories", "table", "Caption <b>bold</b>.", 20), table)
    html = page()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt;" in html


def test_numbers_gaps_long_tables_and_published_numbers(config, page):
    folder = config.home.root / "prompt_analysis_babylm"
    table = pd.DataFrame({"method": ["m1", "m2"], "share": [0.123456, None], "words": [1234567, 5]})
    save_table(folder, Exhibit("table_2", "table", "Two rows.", 90, published="story_statistics"), table)
    save_table(folder, Exhibit("many", "table", "Many rows.", 91), pd.DataFrame({"n": range(ROWS_UNFOLDED + 1)}))
    html = page()
    assert ">0.1235<" in html
    assert ">–<" in html
    assert ">1,234,567<" in html
    assert f"<summary>{ROWS_UNFOLDED + 1} rows</summary>" in html
    assert "Published: Table 2" in html
    assert "words without stop words, nltk tokens" in html
    assert ">2,300,055<" in html


def test_figures_are_in_the_page_with_an_alternative_text(config, page):
    figure, _ = plt.subplots()
    exhibit = Exhibit("curve", "figure", "A curve.", 80, alt="a curve that rises")
    save_figure(config.home.root / "model_analysis", exhibit, figure)
    html = page()
    assert 'src="data:image/png;base64,' in html
    assert 'alt="a curve that rises"' in html
    assert "<link" not in html
    assert 'src="http' not in html


def test_a_new_exhibit_makes_the_page_stale(config, page):
    page()
    assert report(config).fresh == ["index.html"]
    save_table(config.home.root / "model_analysis", Exhibit("t", "table", "One.", 80), pd.DataFrame({"a": [1]}))
    assert report(config).made == ["index.html"]
