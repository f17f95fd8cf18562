"""The grid: the same lines and seeds in every cell, nothing made twice, and measures that are what they say."""

import json

import numpy as np
import pandas as pd
import pytest
from fakes import reworded, use_fakes
from small_stories import a_story, save_lines

from emogap.commands.cli import main
from emogap.errors import InputError, MissingInput, UsageError
from emogap.lm.engines.engine import Reply
from emogap.store.exhibits import exhibits
from emogap.stories import augment as stories
from emogap.stories import gating
from emogap.text import measures as text_measures
from emogap.text.statistics import proportion
from emogap.text.word_counts import count_words
from emogap.trial import grid_exhibits
from emogap.trial import grid_scores as scoring
from emogap.trial.grid import grid_path, make_grid, parse_vary
from emogap.trial.grid_exhibits import printed_cells, printed_differences, show_grid
from emogap.trial.preview import preview

TEMPERATURES = {"temperature": [0.3, 1.2]}


@pytest.fixture
def engine(monkeypatch):
    return use_fakes(monkeypatch, a_story)


@pytest.fixture
def config(make_config):
    made = make_config("augment.lines=2", "augment.order=file", "augment.chunk_size=4", "writer.batch_size=1")
    save_lines(made, ["joy", "fear", "love"] * 4)
    return made


def rows_of(config) -> pd.DataFrame:
    return pd.read_parquet(config.home.story_grid)


def asked(engine) -> int:
    return sum(map(len, engine.calls))


def test_every_cell_has_the_same_lines_and_seeds_and_balanced_emotions(config, engine):
    summary = make_grid(config, "augment", ["m1", "m3"], TEMPERATURES, 6)
    assert summary.counts == {"cells": 4, "lines": 6, "kept": 24, "rejected": 0}
    rows = rows_of(config)
    cells = rows.groupby(["template", "setting"], sort=False)
    assert [key for key, _ in cells] == [("m1", "temperature=0.3"), ("m1", "temperature=1.2"),
                                         ("m3", "temperature=0.3"), ("m3", "temperature=1.2")]  # fmt: skip
    first = next(iter(cells))[1]
    assert first["emotion"].value_counts().to_dict() == {"joy": 2, "fear": 2, "love": 2}
    for _, cell in cells:
        assert cell["source_id"].tolist() == first["source_id"].tolist()
        assert cell["seed"].tolist() == first["seed"].tolist()


def test_killed_it_goes_on_and_a_larger_one_makes_what_is_new(config, engine):
    engine.dies_at = 2
    with pytest.raises(KeyboardInterrupt):
        make_grid(config, "augment", ["m1", "m3"], TEMPERATURES, 6)
    assert not config.home.story_grid.exists() and asked(engine) == 6, "two calls: four lines of m1, and its last two"
    engine.dies_at, engine.calls = None, []
    make_grid(config, "augment", ["m1", "m3"], TEMPERATURES, 6)
    assert asked(engine) == 24 - 6
    engine.calls = []
    assert make_grid(config, "augment", ["m1", "m3"], TEMPERATURES, 6).fresh and asked(engine) == 0
    make_grid(config, "augment", ["m1", "m2", "m3"], {"temperature": [0.3, 0.9, 1.2]}, 7)
    assert asked(engine) == 9 * 7 - 24
    assert len(list(config.home.story_grid.parent.rglob("superseded/*/replies.parquet"))) == 1


def test_a_bulk_run_and_a_preview_take_over_what_the_grid_made(config, engine):
    make_grid(config, "augment", ["m1"], {"temperature": [0.7]}, 12)
    before = asked(engine)
    preview(config, n=2, methods=["m1"])
    stories.augment(config)
    assert asked(engine) == before + 4, "two lines of each of the other methods"


def test_a_template_file_and_several_parameters(config, engine, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("{emotion}: {context}")
    make_grid(config, "augment", [str(mine), "m1"], {"temperature": [0.5], "top_p": [0.5, 1]}, 2)
    rows = rows_of(config)
    assert rows["template"].unique().tolist() == ["mine", "m1"]
    assert rows["setting"].unique().tolist() == ["temperature=0.5, top_p=0.5", "temperature=0.5, top_p=1"]


def test_a_file_called_as_a_method_has_cells_of_its_own(config, engine, tmp_path):
    mine, other = tmp_path / "m1.txt", tmp_path / "other" / "m1.txt"
    other.parent.mkdir()
    for file in (mine, other):
        file.write_text("{emotion}: {context}")
    make_grid(config, "augment", ["m1", str(mine)], {"temperature": [0.5]}, 2)
    assert rows_of(config)["template"].tolist() == ["m1", "m1", "m1 (own)", "m1 (own)"]
    with pytest.raises(UsageError, match="two would be called 'm1'; give a file another name"):
        make_grid(config, "augment", [str(mine), str(other)], {"temperature": [0.5]}, 2)


def test_mistakes_are_named_before_a_model_is_loaded(config, engine):
    for arguments, message in (
        ((["m1"], {"warmth": [1]}, 2), "--vary warmth: no such parameter; choose among temperature"),
        ((["m1"], {"temperature": [-1]}, 2), "sampling temperature = -1"),
        ((["m9"], TEMPERATURES, 2), "'m9' is neither"),
        ((["m1"], TEMPERATURES, 1), "--lines 1: a grid compares over lines"),
        ((["m1"], TEMPERATURES, 13), "there are only 12"),
    ):
        with pytest.raises(UsageError, match=message):
            make_grid(config, "augment", *arguments)
    assert engine.opened == 0
    with pytest.raises(MissingInput):
        show_grid(config, "augment")
    grid_path(config, "augment").parent.mkdir(parents=True, exist_ok=True)
    grid_path(config, "augment").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"cannot be read as Parquet .* run `emogap grid --stage augment` again"):
        show_grid(config, "augment")


def test_parameters_as_words():
    assert parse_vary(["temperature=0.3,0.9", "top_k=0,40"]) == {"temperature": [0.3, 0.9], "top_k": [0, 40]}
    for wrong in ("temperature", "temperature=hot", "temperature=0.3,"):
        with pytest.raises(UsageError, match="give a parameter and numbers"):
            parse_vary([wrong])


def test_the_command_prints_and_registers_tables_and_figures(config, engine, capsys):
    words = ["grid", "--stage", "augment", "--home", str(config.home.root), "--lines", "6", "--templates", "m1,m2",
             "--vary", "temperature=0.3,1.2"]  # fmt: skip
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "6 lines in every cell; 95 % intervals" in printed
    head = f"{'':4}{'temperature=0.3':24}temperature=1.2"
    assert f"kept, %\n{head}\nm1  {'100 (61 to 100)':24}100 (61 to 100)\n" in printed
    assert "m2 against m1, line by line:\n  not told apart by these lines: kept" in printed
    folder = config.home.stories
    names = {(e.name, e.kind) for e in exhibits(folder)}
    assert names == {("grid_scores", "table"), ("grid_differences", "table"), ("grid_words", "table"),
                     ("grid_one_line", "table"), ("grid_to_read", "table"), ("grid_heat_map", "figure"),
                     ("grid_intervals", "figure")}  # fmt: skip
    one_line = pd.read_csv(folder / "tables" / "grid_one_line.csv")
    assert len(one_line) == 4 and one_line["line"].nunique() == 1 and "seconds" in one_line
    to_read = pd.read_csv(folder / "tables" / "grid_to_read.csv")
    assert to_read.groupby(["template", "setting"]).size().tolist() == [5] * 4


def test_rewrites_have_the_study_s_table_3_and_what_is_left_of_the_meaning(make_config, engine, monkeypatch):
    config = make_config("writer.batch_size=4")
    monkeypatch.setattr(grid_exhibits, "_figures", lambda *_: [])
    monkeypatch.setattr(
        gating, "similarities", lambda texts, others: [0.9 - 0.8 * ("nothing else" in t) for t in texts]
    )
    engine.reply = lambda c: "It is lovely, and there is nothing else to say." if c.id.startswith("v1") else reworded(c)
    make_grid(config, "rewrite", ["v1", "v2"], TEMPERATURES, 8)
    show_grid(config, "rewrite")
    tables = config.home.alpaca / "tables"
    words = pd.read_csv(tables / "grid_words.csv")
    assert words.groupby("setting")["total_words"].nunique().tolist() == [2, 2]
    rows = pd.read_parquet(config.home.rewrite_grid)
    cell = rows[(rows["template"] == "v2") & (rows["setting"] == "temperature=0.3")]
    counted = count_words(cell["output"].tolist(), ["published-rewrites"])["published-rewrites"]
    of = words[(words["template"] == "v2") & (words["setting"] == "temperature=0.3")].iloc[0]
    assert (of["total_words"], of["unique_words"]) == (counted.total, len(counted.distinct))
    assert of["average_words"] == pytest.approx(counted.total / 8) and of["low"] < of["average_words"] < of["high"]
    scores = pd.read_csv(tables / "grid_scores.csv")
    meaning = scores[scores["measure"] == "meaning_kept"].set_index("template")["value"]
    assert meaning["v2"].tolist() == [1, 1] and meaning["v1"].tolist() == [0, 0]
    captions = json.loads((config.home.alpaca / "captions.json").read_text())
    assert captions["tables/grid_words"]["published"] == "rewrite_statistics"


# ---------------------------------------------------------------------------------------------- measures


def cell(template: str, setting: str, texts: list[str], **columns) -> pd.DataFrame:
    defaults = {
        "status": "kept", "reason": None, "finish": "stop", "found": ["joy"], "emotion": "joy", "emotion_score": 0.5,
        "new_tokens": 10, "seconds": 1.0,
    }  # fmt: skip
    n = len(texts)
    values = {name: columns.get(name, [value] * n) for name, value in defaults.items()}
    return pd.DataFrame({"template": template, "setting": setting, "source_id": [str(i) for i in range(n)],
                         "story": texts, "words": [len(text.split()) for text in texts], **values})  # fmt: skip


def some_texts(seed: int, n: int = 20, vocabulary: int = 40) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in random.integers(vocabulary, size=random.integers(4, 30))) for _ in range(n)]


def value_of(table: pd.DataFrame, measure: str, **where) -> pd.Series:
    rows = table[table["measure"] == measure]
    for name, value in where.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_shares_have_wilson_s_interval_and_means_that_of_student():
    from scipy.stats import t

    rows = cell("m1", "s", some_texts(0), status=["kept"] * 15 + ["rejected"] * 5, reason=[None] * 15 + ["empty"] * 5,
                found=[["joy"]] * 8 + [["fear"]] * 12, finish=["length"] * 3 + ["stop"] * 17)  # fmt: skip
    table = scoring.grid_scores(rows, "augment")[0]
    for measure, count in (("kept", 15), ("rejected: empty", 5), ("emotion_hit", 8), ("cut", 3)):
        expected = proportion(count, 20)
        found = value_of(table, measure)
        assert (found["value"], found["low"], found["high"]) == pytest.approx(
            (expected.value, expected.low, expected.high)
        )
    words = value_of(table, "words")
    low, high = t.interval(0.95, 19, rows["words"].mean(), rows["words"].sem())
    assert (words["low"], words["value"], words["high"]) == pytest.approx((low, rows["words"].mean(), high))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_distinct_n_and_its_pseudo_values_are_those_of_leaving_each_line_out(length):
    texts = some_texts(1)

    def distinct(of: list[str]) -> float:
        grams = [tuple(text.split()[i : i + length]) for text in of for i in range(len(text.split()) - length + 1)]
        return len(set(grams)) / len(grams)

    encoded = text_measures.encode(texts)
    found = scoring._distinct(encoded, np.arange(len(texts)), length)
    assert found.value == pytest.approx(distinct(texts))
    n = len(texts)
    without = [distinct(texts[:i] + texts[i + 1 :]) for i in range(n)]
    assert found.parts == pytest.approx([n * distinct(texts) - (n - 1) * one for one in without])


def test_distinct_n_looks_at_the_same_number_of_words_of_long_and_short_replies():
    encoded = text_measures.encode([" ".join(f"w{i}" for i in range(400)), " ".join(f"v{i % 50}" for i in range(400))])
    assert scoring._distinct(encoded, np.arange(2), 1).value == 1


def test_self_similarity_is_the_mean_of_all_pairs_and_so_is_what_leaves_a_line_out():
    texts = some_texts(2, n=6)
    encoded = text_measures.encode(texts)
    weights = text_measures.inverse_document_frequencies(encoded)
    vectors = text_measures.unit_vectors(encoded, np.arange(6), weights).toarray()

    def pairs(keep: list[int]) -> float:
        return float(np.mean([vectors[i] @ vectors[j] for i in keep for j in keep if i < j]))

    found = scoring._self_similarity(encoded, np.arange(6), weights)
    everything = pairs(list(range(6)))
    assert found.value == pytest.approx(everything)
    left_out = [pairs([j for j in range(6) if j != i]) for i in range(6)]
    assert found.parts == pytest.approx([6 * everything - 5 * one for one in left_out])


def test_a_rate_is_all_tokens_over_all_seconds():
    rows = cell("m1", "s", some_texts(0, 4), new_tokens=[10, 20, 30, 40], seconds=[1.0, 1.0, 1.0, 2.0])
    found = value_of(scoring.grid_scores(rows, "augment")[0], "tokens_per_second")
    assert found["value"] == pytest.approx(20) and found["low"] < 20 < found["high"]


def test_cells_are_compared_line_by_line():
    texts = some_texts(3, n=30)
    noise = np.random.default_rng(0).normal(0, 0.2, 30)
    rows = pd.concat(
        cell(template, setting, texts, emotion_score=list(noise + shift))
        for template, setting, shift in (("m1", "a", 0.0), ("m1", "b", 0.02), ("m2", "a", 0.1), ("m2", "b", 0.12))
    )
    # Between lines the scores spread by 0.2: only within lines is a shift of 0.02 to be seen.
    jitter = np.random.default_rng(1).normal(0, 0.005, len(rows))
    _, table = scoring.grid_scores(rows.assign(emotion_score=rows["emotion_score"] + jitter), "augment")
    by_template = value_of(table, "emotion_score", factor="template")
    assert by_template["difference"] == pytest.approx(0.1, abs=0.005) and by_template["p_holm"] < 1e-6
    by_setting = value_of(table, "emotion_score", factor="setting")
    assert 0 < by_setting["low"] < 0.02 < by_setting["high"] and by_setting["p_holm"] < 0.05
    assert (by_setting["level"], by_setting["minus"], by_setting["lines"]) == ("b", "a", 30)
    assert value_of(table, "words", factor="setting")["p_holm"] == 1
    lines = list(printed_differences(table))
    assert "m2 against m1, line by line:" in lines and any(
        line.startswith("  score of the emotion: +0.1") for line in lines
    )
    assert sum("not told apart by these lines: kept, words" in line for line in lines) == 2


def test_cells_without_any_difference_have_none_that_is_clear():
    random = np.random.default_rng(5)
    clear = 0
    for seed in range(20):
        rows = pd.concat(
            cell("m1", setting, some_texts(100 * seed + i, n=25), emotion_score=list(random.random(25)),
                 found=[[one] for one in random.choice(["joy", "fear"], 25)])
            for i, setting in enumerate(("a", "b", "c"))
        )  # fmt: skip
        clear += bool((scoring.grid_scores(rows, "augment")[1]["p_holm"] < 0.05).any())
    assert clear <= 3, "5 % of such grids may show something"


def test_the_interval_of_distinct_2_covers_what_many_lines_would_give():
    """The lines are a sample: for equally many other lines the measure falls into the interval nearly always."""
    covered = 0
    expected = np.mean(
        [scoring._distinct(text_measures.encode(some_texts(s)), np.arange(20), 2).value for s in range(500, 560)]
    )
    for seed in range(60):
        found = scoring._distinct(text_measures.encode(some_texts(seed)), np.arange(20), 2)
        ends = scoring._estimate(found)
        covered += ends.low <= expected <= ends.high
    assert covered >= 50


@pytest.mark.parametrize(
    ("text", "traditional"),
    [
        ("Once upon a time, a fox", True),
        ('"Once upon a midnight', True),
        ("Once there was a fox", True),
        ("There once was a fox", True),
        ("There was once a fox", True),
        ("Long, long ago a fox", True),
        ("A long time ago a fox", True),
        ("There was a fox", False),
        ("Once she saw the fox", False),
        ("The fox said: Once upon a time", False),
        ("", False),
    ],
)
def test_traditional_openings(text, traditional):
    assert scoring.opens_traditionally(text) == traditional


def test_published_stories_open_as_counted(real_data):
    """The study's third method: 17,833 of 23,517 open with "Once upon a time", in spite of its rule."""
    stories = pd.read_parquet(real_data / "mistral_babylm" / "prompt3.parquet")["augmented_text"]
    assert 0.75 < stories.map(scoring.opens_traditionally).mean() < 0.80


def test_the_most_different_replies_are_not_the_near_repeats():
    texts = ["a b c d", "a b c d e", "a b c d f", "p q r s", "t u v w", ""]
    chosen = scoring.most_different(cell("m1", "s", texts), "augment", count=3)["story"].tolist()
    assert len(chosen) == 3 and {"p q r s", "t u v w"} < set(chosen)


def test_replies_that_failed_count_as_rejected_and_do_not_stop_the_measures(config, engine):
    engine.reply = lambda c: Reply(c.id, "", None, 0, "error", 0.0, "no") if c.id.endswith("0") else a_story(c)
    make_grid(config, "augment", ["m1"], TEMPERATURES, 12)
    table = scoring.grid_scores(rows_of(config), "augment")[0]
    assert value_of(table, "rejected: engine_error", setting="temperature=0.3")["value"] > 0
    assert np.isfinite(table[table["measure"] == "words"]["value"]).all()
    assert any("rejected: engine error" in line for line in printed_cells(table))


def test_tokens_a_second_are_those_of_the_lines_whose_tokens_are_known():
    found = scoring._ratio(np.array([3.0, np.nan, 5.0]), np.array([1.0, 10.0, 1.0]))
    assert found.value == 4  # 8 tokens in 2 seconds
    np.testing.assert_allclose(found.parts, [2 * 4 - 5, np.nan, 2 * 4 - 3])
    unknown = scoring._ratio(np.array([np.nan, np.nan]), np.array([1.0, 1.0]))
    assert np.isnan(unknown.value) and np.isnan(unknown.parts).all()
