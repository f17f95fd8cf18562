"""A run for a paper: figures at column width, tables, named numbers; what changed is replaced, nothing foreign."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from emogap.commands.cli import main
from emogap.errors import InputError
from emogap.report.export import COLUMN, PAGE, command_name, export, named, scaled_pdf
from emogap.share.outgoing import RECORD
from emogap.store.exhibits import Exhibit, save_figure, save_table

TABLE = "quantitative_analysis/tables/effects"
CHANGES = pd.DataFrame(
    {"comparison": ["tuned - base"] * 2, "model": ["gpt2-baby", "gpt2-instr"], "measure": ["minimal pairs"] * 2,
     "change": [-1.25, 1234.5], "low": [-3.0, None], "high": [0.5, None], "pairs": [60, 58]}
)  # fmt: skip


def figure(width: float):
    drawn, axes = plt.subplots(figsize=(width, 2))
    axes.plot([1, 2], [2, 1])
    return drawn


@pytest.fixture
def home(config):
    folder = config.home.evaluation
    save_table(folder, Exhibit("effects", "table", "What 50 % did.", 10), CHANGES)
    save_figure(folder, Exhibit("effects", "figure", "What it did.", 11), figure(4))
    save_figure(config.home.lens, Exhibit("lens_s0", "figure", "A lens.", 80), figure(10))
    return config.home


def test_figures_have_one_of_two_widths_and_captions_say_n_and_interval(home, tmp_path):
    from PIL import Image

    out = tmp_path / "paper"
    export(home, out)
    for name, width in (("quantitative_analysis/figures/effects", COLUMN), ("model_analysis/figures/lens_s0", PAGE)):
        with Image.open(out / f"{name}.png") as image:
            assert image.width / image.info["dpi"][0] == pytest.approx(width, rel=1e-3)
        box = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ", (out / f"{name}.pdf").read_bytes())[-1]
        assert float(box) == pytest.approx(72 * width)
        assert f"{{{name}.pdf}}" in (out / f"{name}.tex").read_text()
    assert r"\begin{figure}" in (out / "quantitative_analysis/figures/effects.tex").read_text()
    assert r"\begin{figure*}" in (out / "model_analysis/figures/lens_s0.tex").read_text()
    caption = r"What it did. Pairs: 58 to 60. Bars and bands: 95 \% intervals."
    assert caption in (out / "quantitative_analysis/figures/effects.tex").read_text()
    table = (out / f"{TABLE}.tex").read_text()
    assert r"\caption{What 50 \% did. Pairs: 58 to 60. In brackets: 95 \% intervals.}\label{tab:" + TABLE in table
    assert (out / f"{TABLE}.csv").read_bytes() == (home.root / f"{TABLE}.csv").read_bytes()
    inputs = re.findall(r"\\input\{(.*?)\}", (out / "all.tex").read_text())
    assert all((out / name).exists() for name in inputs) and len(inputs) == 4


def test_a_scaled_page_shows_the_same_picture(home):
    pdfium = pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed")
    file = home.evaluation / "figures" / "effects.pdf"

    def pixels(pdf: bytes) -> np.ndarray:
        page = pdfium.PdfDocument(pdf)[0]
        return page.render(scale=600 / page.get_width()).to_numpy().astype(float)

    before, after = pixels(file.read_bytes()), pixels(scaled_pdf(file, 6.9))
    rows = min(len(before), len(after))
    assert abs(len(before) - len(after)) <= 1 and np.abs(before[:rows] - after[:rows]).mean() < 3
    assert before.std() > 10, "there is something on it"
    file.write_bytes(b"%PDF-1.4\n")
    with pytest.raises(InputError, match="no figure that was drawn here"):
        scaled_pdf(file, 3.3)


def test_every_number_has_a_name_that_latex_takes(home, tmp_path):
    export(home, tmp_path / "paper")
    numbers = json.loads((tmp_path / "paper" / "numbers.json").read_text())
    name = "EvaluateEffectsTunedBaseGptTwoBabyMinimalPairsChange"
    assert numbers[name] == {
        "value": -1.25, "low": -3.0, "high": 0.5, "shown": "-1.2 [-3.0, 0.5]", "table": f"{TABLE}.csv",
        "column": "change",
        "row": {"comparison": "tuned - base", "model": "gpt2-baby", "measure": "minimal pairs"},
    }  # fmt: skip
    commands = dict(
        re.findall(r"\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}\n", (tmp_path / "paper/numbers.tex").read_text())
    )
    assert commands[name] == "$-$1.2" and commands[f"{name}Interval"] == "[$-$3.0, 0.5]"
    other = "EvaluateEffectsTunedBaseGptTwoInstrMinimalPairs"
    assert commands[f"{other}Change"] == "1,234.5" and f"{other}ChangeInterval" not in commands
    assert commands[f"{other}Pairs"] == "58" and len(commands) == 5


def test_numbers_whose_names_would_be_the_same_are_told_apart():
    rows = [
        {"table": f"{TABLE}.csv", "row": {"model": model}, "column": "n", "value": 1} for model in ("a-b", "a b", "c")
    ]
    found = named(rows)
    assert [number["row"]["model"] for number in found.values()] == ["a-b", "a b", "c"]
    first, second, third = found
    assert re.fullmatch(r"EvaluateEffectsABN[A-Z]{6}", first) and first[:-6] == second[:-6] and first != second
    assert third == "EvaluateEffectsCN" == command_name(rows[2])
    assert list(named(rows[:1])) == ["EvaluateEffectsABN"]


def test_a_second_run_replaces_only_what_changed(home, tmp_path):
    out = tmp_path / "paper"
    first = export(home, out)
    assert first.same == 0 and not first.gone
    again = export(home, out)
    assert again.written == () and again.same == len(first.written)
    save_table(home.evaluation, Exhibit("effects", "table", "What 50 % did.", 10), CHANGES.assign(change=0.0))
    changed = export(home, out)
    assert set(changed.written) == {f"{TABLE}.csv", f"{TABLE}.tex", "numbers.json", "numbers.tex"}
    (home.lens / "captions.json").unlink()
    gone = export(home, out)
    assert {name.rpartition(".")[2] for name in gone.gone} == {"pdf", "png", "tex"}
    assert not (out / "model_analysis/figures/lens_s0.pdf").exists()


def test_nothing_foreign_and_nothing_edited_is_written_over(home, tmp_path, capsys):
    out = tmp_path / "paper"
    out.mkdir()
    (out / "numbers.tex").write_text("mine")
    words = ["report", "--home", str(home.root), "--export", str(out)]
    assert main(words) == 1
    assert re.search(r"numbers\.tex is not as this command wrote it.* name another folder", capsys.readouterr().err)
    assert [file.name for file in out.iterdir()] == ["numbers.tex"], "nothing was written"
    (out / "numbers.tex").unlink()
    assert main(words) == 0
    assert "12 files written, 0 as they were" in capsys.readouterr().out
    (out / f"{TABLE}.tex").write_text("edited")
    assert main(words) == 1 and (out / f"{TABLE}.tex").read_text() == "edited"
    (out / RECORD).write_text("[")
    assert main(words) == 1 and "is damaged" in capsys.readouterr().err


def test_an_empty_home_two_homes_and_a_file_are_refused(config, home, tmp_path, capsys):
    assert main(["report", "--home", str(tmp_path / "none"), "--export", str(tmp_path / "out")]) == 1
    assert "no table or figure is registered in" in capsys.readouterr().err
    assert main(["report", "--home", "a", "--home", "b", "--export", "c"]) == 2
    assert "--export takes one run" in capsys.readouterr().err
    file = tmp_path / "file"
    file.write_text("")
    assert main(["report", "--home", str(home.root), "--export", str(file)]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
