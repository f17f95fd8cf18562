"""What changed between two runs: over what both share, by hand; what was measured otherwise is not compared."""

from math import log
from pathlib import Path

import pandas as pd
import pytest

from emogap.paths import Home
from emogap.records import SCORES, write_rows
from emogap.report.pair import ALONE, BEYOND, SAME, WITHIN, changes, report_pair, said
from emogap.store.artefacts import Artefact, Recipe

NAMES = ("new", "old")


def rows(task: str, metric: str, values: dict[str, float], model: str = "m-baby", group: str = "g") -> list[dict]:
    shared = {"model": model, "train_seed": 0, "task": task, "sample": 0, "group": group, "metric": metric}
    return [shared | {"item": item, "value": value} for item, value in values.items()]


def pairs(values: list[float], model: str = "m-baby") -> list[dict]:
    return rows("blimp", "correct", {f"uid/{place}": value for place, value in enumerate(values)}, model)


def run_of(home: Home, scores: list[dict], files: dict[str, str] | None = None, judge: str = "j@1") -> Home:
    """A home with these scores, and manifests that say by which files and judge they were measured."""
    home.scores.parent.mkdir(parents=True)
    write_rows(home.scores, pd.DataFrame(scores), SCORES)
    for task in dict.fromkeys(row["task"] for row in scores):
        file = home.root / f"{task}.txt"
        file.write_text((files or {}).get(task, task))
        inputs = {} if task in ("sentiment", "answers") else {"items": file}
        recipe = Recipe(task, inputs, {"sentiment.grouping": "study"} if task == "sentiment" else {})
        with Artefact(home.task_scores("m-baby", task), recipe).making() as draft:
            draft.path.write_text("")
    with Artefact(home.emotions, Recipe("emotions", {}, {}, {"classifier 0": judge})).making() as draft:
        draft.path.write_text("")
    return home


@pytest.fixture
def two(tmp_path):
    def make(first: list[dict], second: list[dict], **more) -> tuple[Home, Home]:
        return run_of(Home(tmp_path / "new"), first), run_of(Home(tmp_path / "old"), second, **more)

    return make


def test_pairs_that_both_share_are_held_against_each_other(two):
    """Twelve pairs, eleven of them gained: McNemar's exact test is 2 · (1/2)^11; only one run has the pair more."""
    homes = two(pairs([1.0] * 13), pairs([0.0] * 11 + [1.0]))
    table, reasons = changes(homes, NAMES)
    (row,) = table.to_dict("records")
    assert (row["measure"], row["model"], row["n"], row["unit"]) == ("minimal pairs", "m-baby", 12, "pairs")
    assert [row["first"], row["second"], row["change"]] == pytest.approx([100, 100 / 12, 1100 / 12])
    assert row["p"] == row["p_holm"] == pytest.approx(2 * 0.5**11) and row["low"] > 0 and row["verdict"] == BEYOND
    assert "positive answers: not measured in new and old" in reasons
    assert said(table, NAMES).startswith(
        "Of 1 comparisons over what both runs share, 1 is beyond chance: minimal pairs of m-baby 92 ["
    )


def test_what_is_not_beyond_chance_and_what_is_the_same(two):
    """Three gained of four: p = 2 · (1/2)^3. Corrected for two tests a p of 2 · (1/2)^6 is 0.0625."""
    first = pairs([1, 1, 1, 1]) + pairs([1] * 6, "m-instr") + pairs([1, 0], "m")
    second = pairs([0, 0, 0, 1]) + pairs([0] * 6, "m-instr") + pairs([1, 0], "m")
    table, _ = changes(two(first, second), NAMES)
    found = table.set_index("model")
    assert found["verdict"].to_dict() == {"m-baby": WITHIN, "m-instr": ALONE, "m": SAME}
    assert found.loc["m-baby", "p"] == 0.25 and found.loc["m-instr", "p"] == pytest.approx(2 * 0.5**6)
    assert found.loc["m-instr", "p_holm"] == pytest.approx(3 * 2 * 0.5**6)
    assert "none is beyond chance; 1 is so only taken by itself; 1 is the same to the letter." in said(table, NAMES)


def test_answers_are_compared_where_both_say_something_to_the_same_prompt(two):
    def answers(positive: dict[str, float], empty: str) -> list[dict]:
        said_nothing = {item: float(item == empty) for item in positive}
        return rows("sentiment", "positive", positive) + rows("answers", "empty", said_nothing)

    first = answers({"joy/0": 1, "joy/1": 1, "joy/2": 1, "joy/3": 0}, empty="joy/3")
    second = answers({"joy/0": 0, "joy/1": 1, "joy/2": 0, "joy/3": 1}, empty="")
    homes = two(first, second)
    for home, other in zip(homes, ("same", "another"), strict=True):
        prompts = [("joy/0", "same", ""), ("joy/1", "same", ""), ("joy/2", other, ""), ("joy/3", "same", "")]
        home.responses("m-baby").parent.mkdir()
        pd.DataFrame(prompts, columns=["prompt_id", "instruction", "input"]).to_parquet(home.responses("m-baby"))
    table, _ = changes(homes, NAMES)
    (row,) = table[table["measure"] == "positive answers"].to_dict("records")
    assert (row["n"], row["first"], row["second"], row["change"]) == (2, 100, 50, 50)


def passages(*bits: float) -> list[dict]:
    """Plain text of a hundred characters each."""
    nats = {str(place): value * log(2) for place, value in enumerate(bits)}
    return rows("plain_text", "nats", nats) + rows("plain_text", "characters", dict.fromkeys(nats, 100.0))


def test_bits_a_character_have_the_interval_of_their_passages(two):
    """200 and 600 bits against 200 and 200, a hundred characters each: 4 against 2 a character; the passages' changes
    are 0 and 4 around it, Student's t with one degree of freedom 12.706."""
    table, _ = changes(two(passages(200, 600), passages(200, 200)), NAMES)
    (row,) = table.to_dict("records")
    assert [row[name] for name in ("first", "second", "change")] == pytest.approx([4, 2, 2])
    assert [row["low"], row["high"]] == pytest.approx([2 - 2 * 12.7062, 2 + 2 * 12.7062], rel=1e-4)


def test_bits_a_character_of_several_seeds_vary_with_the_seed(two):
    """3 bits with one seed and 5 with the other, in each passage: the variance of their mean is 2 / 2."""
    seeds = [row | {"train_seed": seed} for seed in (0, 1) for row in passages(*[300.0 + 200 * seed] * 2)]
    table, _ = changes(two(seeds, passages(200, 200)), NAMES)
    (row,) = table.to_dict("records")
    assert [row["change"], row["low"], row["high"]] == pytest.approx([2, 2 - 12.7062, 2 + 12.7062], rel=1e-4)


def test_what_was_measured_otherwise_is_not_compared_and_why_is_said(two):
    first = pairs([1, 1]) + rows("sentiment", "positive", {"joy/0": 1}) + rows("answers", "empty", {"joy/0": 0})
    homes = two(first, first, files={"blimp": "other pairs"}, judge="j@2")
    table, reasons = changes(homes, NAMES)
    assert table.empty
    assert any(line.startswith("minimal pairs: the file items is ") for line in reasons)
    assert "positive answers: the judge is j@1 in new and j@2 in old" in reasons
    page = Path(report_pair(*homes)).read_text(encoding="utf-8")
    assert "<h2>Not comparable</h2>" in page and "they share nothing that was measured alike" in page


def test_models_that_one_run_lacks_are_named_and_a_run_without_scores(two, tmp_path):
    _, reasons = changes(two(pairs([1, 0]), pairs([1, 0], "m-instr")), NAMES)
    assert {"m-baby: only new has it", "m-instr: only old has it"} <= set(reasons)
    assert "minimal pairs: no model was measured on the same pairs in both" in reasons
    table, reasons = changes((Home(tmp_path / "new"), Home(tmp_path / "empty")), NAMES)
    assert table.empty and reasons == ["old has no scores; run emogap evaluate there"]


def test_the_first_screen_says_what_changed(two):
    homes = two(pairs([1.0] * 12) + pairs([1, 0], "m"), pairs([0.0] * 11 + [1.0]) + pairs([1, 0], "m"))
    page = report_pair(*homes)
    html = Path(page).read_text(encoding="utf-8")
    head = html.partition('<section id="work">')[0]
    assert "1 is beyond chance: minimal pairs of m-baby" in head and "What changed: new minus old" in head
    assert "minimal pairs (2 to 12 pairs)" in head and "●" in head and 'href="beside-old.csv"' in head
    csv = pd.read_csv(page.replace(".html", ".csv"))
    assert csv["verdict"].tolist() == [BEYOND, SAME] and csv["n"].tolist() == [12, 2]
