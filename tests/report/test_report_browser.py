"""The report's pages in a real browser, on the screen and on paper: nothing is cut or overlaps, no script runs."""

import base64
import re

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from browser import browser, downloads, wait_for  # noqa: F401  (fixtures)
from test_texts import answers

from emogap.paths import Home
from emogap.report.page import report
from emogap.report.pair import report_pair
from emogap.store.artefacts import Artefact, Recipe
from emogap.store.exhibits import Exhibit, save_figure, save_table

pytestmark = pytest.mark.slow

DESKTOP, NARROW = 1200, 420
PAPER = 688
"""CSS pixels between the margins of an A4 page: 182 mm."""
MODELS = [f"gpt2-medium{suffix}" for suffix in ("", "-baby", "-instr", "-baby-instr")] + ["gpt2", "gpt2-baby-instr"]
STICKING_OUT = """
    const right = document.querySelector('main').getBoundingClientRect().right + 1;
    return [...document.querySelectorAll('main table, main img, main svg, main p, main figcaption, main h2')]
        .filter(e => e.getBoundingClientRect().right > right || e.scrollWidth > e.clientWidth + 1 && e.tagName == 'P')
        .map(e => e.tagName + ': ' + e.textContent.slice(0, 60));"""
OVERLAPPING = """
    const found = [];
    for (const parent of document.querySelectorAll('main, section, figure, .published')) {
        const boxes = [...parent.children].map(e => [e, e.getBoundingClientRect()]).filter(([e, b]) => b.height > 0);
        for (let i = 1; i < boxes.length; i++)
            if (boxes[i][1].top < boxes[i - 1][1].bottom - 1 && boxes[i][1].left < boxes[i - 1][1].right - 1)
                found.push(boxes[i - 1][0].outerHTML.slice(0, 80) + ' / ' + boxes[i][0].outerHTML.slice(0, 80));
    }
    for (const row of document.querySelectorAll('tr')) {
        const cells = [...row.children];
        for (const cell of cells)
            if (cell.scrollWidth > cell.clientWidth + 1) found.push('cell: ' + cell.textContent.slice(0, 60));
    }
    return found;"""
LABELS_OUTSIDE = """
    return [...document.querySelectorAll('svg g')].flatMap(group => {
        const box = group.querySelector('rect').getBoundingClientRect();
        const texts = [...group.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]);
        const outside = texts.filter(([t, b]) => b.left < box.left || b.right > box.right || b.bottom > box.bottom);
        const on_each_other = texts.slice(1).filter(([t, b], i) => b.top < texts[i][1].top + 8);
        return [...outside, ...on_each_other].map(([text, b]) => text);
    });"""

OPEN_ALL = "document.querySelectorAll('details').forEach(details => details.open = true)"


@pytest.fixture
def home(config) -> Home:
    """A home with what is hard to show: wide and long tables, long words, markup in a story, a figure."""
    root = config.home.root
    story = '<script>document.title = "hacked"</script><b>bold</b> ' + "word " * 200 + "x" * 150
    beside = {"emotion": ["joy"] * 2, "line": ["A line."] * 2, "m1": [story] * 2, "m2": [story] * 2, "m3": [story] * 2}
    add(root / "babylm_augment", "story_examples", pd.DataFrame(beside))
    phenomena = [f"determiner_noun_agreement_{i}" for i in range(12)]
    accuracy = {"phenomenon": phenomena, "pairs": [4821] * 12} | {m: ["100.0 [57.1, 100.0]"] * 12 for m in MODELS}
    add(root / "quantitative_analysis", "blimp_accuracy", pd.DataFrame(accuracy), published="blimp")
    wide = {"model": ["smollm2-135m-baby-instr"]} | {f"a measure {i}": [f"{i}.123"] for i in range(18)}
    add(root / "quantitative_analysis", "language", pd.DataFrame(wide | {"the last measure": ["99.875"]}))
    emotions = {"model": ["smollm2-135m-baby-instr"] * 112, "row": [f"emotion {i}" for i in range(112)]}
    numbers = {f"{x}{end}": [41.05] * 112 for x in ("positive", "neutral") for end in ("", "_low", "_high")}
    add(root / "quantitative_analysis", "sentiment_emotions", pd.DataFrame(emotions | numbers))
    figure, axes = plt.subplots(figsize=(7, 3))
    axes.plot([1, 2], [1, 2])
    exhibit = Exhibit("lens_s0", "figure", "A curve.", 80, alt="a curve that rises")
    save_figure(root / "model_analysis", exhibit, figure)
    answers(config, {"smollm2-135m": story, "smollm2-135m-baby": "Yes."}, ("admiration", "anger", "joy"))
    report(config)
    return config.home


def add(folder, name, table, **more) -> None:
    save_table(folder, Exhibit(name, "table", f"What {name} says.", 50, **more), table)


def show(chrome, page, width: int, paper: bool = False) -> None:
    chrome.get(f"file://{page}")
    metrics = {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print" if paper else "screen"})


@pytest.mark.parametrize(("width", "paper"), [(DESKTOP, False), (PAPER, True)])
def test_nothing_is_cut_and_nothing_overlaps(home, browser, width, paper):  # noqa: F811
    show(browser, home.report, width, paper)
    browser.execute_script(OPEN_ALL)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.execute_script(STICKING_OUT) == []
    assert browser.execute_script(OVERLAPPING) == []
    assert browser.execute_script(LABELS_OUTSIDE) == []


def test_a_narrow_window_scrolls_its_tables_and_not_the_page(home, browser):  # noqa: F811
    show(browser, home.report, NARROW)
    browser.execute_script(OPEN_ALL)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_a_dark_theme_has_light_letters_on_dark(home, browser):  # noqa: F811
    show(browser, home.report, DESKTOP)
    scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": scheme})
    colours = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in browser.execute_script(colours))
    assert ink > 600 > 150 > paper


def test_a_link_opens_what_it_leads_to_and_print_all_opens_everything(home, browser):  # noqa: F811
    show(browser, home.report, DESKTOP)
    table = browser.find_element("id", "quantitative_analysis-table-language")
    assert not table.get_property("open")
    browser.execute_script("location.hash = '#quantitative_analysis-table-language'")
    wait_for(lambda: table.get_property("open"))
    browser.get(f"file://{home.report}?print=all")
    assert browser.execute_script("return [...document.querySelectorAll('details')].every(folded => folded.open)")


def test_cards_are_filtered_with_the_keyboard(home, browser):  # noqa: F811
    show(browser, home.report, DESKTOP)
    deck = browser.find_element("css selector", "#table-5 .deck")
    shown = "return [...document.querySelectorAll('#table-5 .card')].filter(card => !card.hidden).length"
    count = deck.find_element("css selector", "output")
    assert browser.execute_script(shown) == 3 and count.text == "3 of 3 cards"
    emotion = deck.find_element("css selector", "select[aria-label='Show which emotion']")
    emotion.send_keys("joy")
    assert browser.execute_script(shown) == 1 and count.text == "1 of 3 cards"
    assert "Be joy" in deck.text, "also a card that was folded away"


def test_nothing_in_a_text_runs_and_every_picture_is_described(home, browser):  # noqa: F811
    show(browser, home.report, DESKTOP)
    browser.execute_script(OPEN_ALL)
    assert browser.title == "Emogap: embedded"
    assert browser.execute_script("return document.scripts.length") == 1, "the page's own, which alone may run"
    assert '<script>document.title = "hacked"</script><b>bold</b>' in browser.find_element("id", "methods").text
    another = "Object.assign(document.createElement('script'), {text: 'document.title = 1'})"
    browser.execute_script(f"document.body.append({another})")
    assert browser.title == "Emogap: embedded", "another script is refused"
    pictures = browser.execute_script(
        "return [...document.querySelectorAll('img, svg')].map(e => e.alt ?? e.textContent)"
    )
    assert len(pictures) == 2 and all(pictures)
    assert browser.execute_script("return [...document.images].every(image => image.naturalWidth > 0)")


def test_every_link_of_the_contents_leads_somewhere(home, browser):  # noqa: F811
    show(browser, home.report, DESKTOP)
    dead = (
        "return [...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash)).map(a => a.hash)"
    )
    assert browser.execute_script(dead) == []
    assert browser.execute_script("return document.querySelectorAll('nav a').length") == 15


def test_the_page_asks_no_other_file_and_no_network(home, browser):  # noqa: F811
    show(browser, home.report, DESKTOP)
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


def test_printed_pages_hold_every_column_and_every_row(home, browser):  # noqa: F811
    pdfium = pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed")
    browser.get(f"file://{home.report}?print=all")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    document = pdfium.PdfDocument(base64.b64decode(printed["data"]))
    texts = []
    for page in document:
        width, height = page.get_size()
        assert (round(width), round(height)) == (595, 842), "A4"
        text = page.get_textpage()
        texts.append(text.get_text_range())
        boxes = [text.get_rect(i) for i in range(text.count_rects())]
        assert all(left > 30 and right < width - 30 for left, _, right, _ in boxes), "text runs into the margin"
    whole = " ".join(" ".join(texts).split())
    assert "99.88" in whole, "the last column of a wide table"
    assert all(model in whole for model in MODELS)
    assert "emotion 111" in whole, "the last row of a table that is folded away on the screen"


def test_two_runs_stand_side_by_side_on_screen_and_paper(home, browser, tmp_path):  # noqa: F811
    other = Home(tmp_path / "other")
    figure, axes = plt.subplots(figsize=(7, 3))
    axes.plot([1, 2], [2, 1])
    save_figure(other.lens, Exhibit("lens_s0", "figure", "Another curve.", 80, alt="a curve that falls"), figure)
    for run, tokens in ((home, 4), (other, 5)):
        with Artefact(run.lens / "x.parquet", Recipe("lens", {}, {"lens.new_tokens": tokens})).making() as draft:
            draft.path.write_text("x")
    page = report_pair(home, other)
    for width, paper in ((DESKTOP, False), (PAPER, True)):
        show(browser, page, width, paper)
        assert browser.execute_script(STICKING_OUT) == []
        first, second = browser.find_elements("css selector", "#figures-3-4 figure")
        assert first.rect["x"] + first.rect["width"] <= second.rect["x"]
    assert "lens.new_tokens\n4\n5" in browser.find_element("id", "settings").text.replace(" ", "\n")
