"""Statistics of texts: published counts to the unit, measures against plain computations, tables and errors."""

import json
import pickle
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emogap.commands.cli import main
from emogap.emotions import INDEX, LABELS
from emogap.errors import InputError, MissingInput, UsageError
from emogap.lm.hub import LocalModel
from emogap.published import published_methods
from emogap.records import REWRITES, STORIES, read_rows, write_rows
from emogap.store import exhibits as store
from emogap.store.exhibits import exhibits, read_table, shown_table
from emogap.text import measures as text_measures
from emogap.text import statistics
from emogap.text.word_counts import PRESETS, STOP_WORDS, count_words, sentence_splitter, word_tokenizer
from emogap.textstats import describe, figures
from emogap.textstats import stage as textstats
from emogap.textstats.scan import Capitals, Job, Scan, scan, scan_batch
from emogap.textstats.sources import REWRITE_COLUMNS, STORY_COLUMNS, read_texts

# What nltk 3.8.1 itself makes of these; the rules of later releases differ in the first, third, fifth and sixth.
TOKENS_381 = {
    "He said, 'hello there' and left.": "He|said|,|'hello|there|'|and|left|.",
    "Rock 'n' roll, 'x' marks it; the 'b' team.": "Rock|'n|'|roll|,|'|x|'|marks|it|;|the|'|b|'|team|.",
    "It's O'Brien's; can't you see?\nShe'd\nthink so.": "It|'s|O'Brien|'s|;|ca|n't|you|see|?|She'd|think|so|.",
    "I cannot, gonna go (see [p. 3] at 10:30, $5.00 & 20%)...": (
        "I|can|not|,|gon|na|go|(|see|[|p.|3|]|at|10:30|,|$|5.00|&|20|%|)|..."
    ),
    "“Stop.” He ran. «Non.» Oui.": "“|Stop.|”|He|ran|.|«|Non.|»|Oui|.",
    "the dogs' bones'\n'He' was 'S and 'm": "the|dogs|'|bones'|'He|'|was|'S|and|'m",
    'Mr. Fox met Dr. Owl. They ate 3.5 pies, "yes," didn\'t they?': (
        "Mr.|Fox|met|Dr.|Owl|.|They|ate|3.5|pies|,|``|yes|,|''|did|n't|they|?"
    ),
}


@pytest.mark.parametrize("text", TOKENS_381)
def test_tokens_are_those_of_nltk_381(text):
    assert word_tokenizer("3.8.1")(text) == TOKENS_381[text].split("|")


def test_later_rules_differ_where_they_are_said_to():
    installed = word_tokenizer("installed")
    assert installed("He said, 'hello there'.") == ["He", "said", ",", "'", "hello", "there", "'", "."]
    assert installed("She'd\nthink") == ["She", "'d", "think"]
    assert installed("here–there") == ["here", "–", "there"]
    assert word_tokenizer("3.8.1")("here–there") == ["here–there"]
    assert sentence_splitter()("He met Dr. Owl. They ate.") == ["He met Dr. Owl.", "They ate."]


def test_stop_list_has_179_words():
    assert len(STOP_WORDS) == 179
    assert {"i", "shouldn't", "ma", "ourselves"} <= STOP_WORDS
    assert not {"would", "could", "us", "i'm"} & STOP_WORDS


def test_presets_differ_as_defined():
    text = "The Dog saw the dog, and Dog ran 3 miles to O'Hara."
    counted = {name: count_words([text], [name])[name] for name in PRESETS}
    assert " ".join(PRESETS["published-stories"].words(text)) == "dog saw dog , dog ran 3 miles o'hara ."
    assert (counted["published-stories"].total, len(counted["published-stories"].distinct)) == (10, 8)
    assert " ".join(PRESETS["published-rewrites"].words(text)) == "Dog saw dog Dog ran miles"
    assert len(counted["published-rewrites"].distinct) == 5
    assert counted["words"].total == 12 and counted["content-words"].total == 8


def test_the_average_of_a_published_count_has_an_interval():
    from scipy.stats import t

    lengths = [3, 5, 10, 4]
    counts = count_words([" ".join(["word"] * n) for n in lengths], ["words"])
    rows = list(
        describe.word_counts(Scan({"m1": counts, "m2": count_words(["one text"], ["words"])}, pd.DataFrame(), {}))
    )
    measures = {row["measure"]: row["value"] for row in rows if row["group"] == "m1"}
    low, high = t.interval(0.95, 3, np.mean(lengths), np.std(lengths, ddof=1) / 2)
    assert (measures["average_words_low"], measures["average_words_high"]) == pytest.approx((low, high))
    assert len([row for row in rows if row["group"] == "m2"]) == 4


@pytest.mark.parametrize(("file", "total", "unique"), [("3e-1", 5734, 2820), ("12e-1", 5386, 2867)])
def test_published_counts_of_rewrites(real_data, file, total, unique):
    texts = read_texts([real_data / f"paper_artifacts/emotion_alpaca_temp{file}.json"], REWRITE_COLUMNS)
    count = count_words(texts["text"], ["published-rewrites"])["published-rewrites"]
    assert (count.texts, count.total, len(count.distinct)) == (100, total, unique)
    assert count.total / count.texts == pytest.approx(total / 100)


def test_counts_of_stories_are_those_of_nltk_381(real_data):
    # The numbers come from nltk 3.8.1 itself on these 200 stories.
    texts = read_texts([real_data / "mistral_babylm/prompt2.parquet"], STORY_COLUMNS)
    count = count_words(texts["text"][:200], ["published-stories"])["published-stories"]
    assert (count.total, len(count.distinct)) == (37319, 3975)
    assert texts["source"].unique() == ["bnc_spoken"] and texts["emotion"].isin(INDEX).all()


TEXTS = [
    "Once upon a time Anna was full of joy. The red fox and Anna ran home.",
    "Once upon a time, there was fear. Then Anna met a red fox, and the fox met Anna.",
    "One day the sun came out. We saw Bob, and Bob saw a hare.",
    "",
]


def test_encoded_words_are_those_of_the_preset():
    encoded = text_measures.encode(TEXTS)
    for position, text in enumerate(TEXTS):
        words = [encoded.vocabulary[i] for i in encoded.of(np.array([position]))]
        assert words == PRESETS["words"].words(text)
    assert encoded.lengths().tolist() == [len(PRESETS["words"].words(text)) for text in TEXTS]


def test_distinct_ngrams_by_hand():
    encoded = text_measures.encode(["a b a b a c", "a b", "x y z"])
    # One block of 8 words (the first two texts): 3 distinct of 6 pairs, none across the border of the texts.
    assert text_measures.distinct_ngrams(encoded, np.array([0, 1, 2]), 2, 8).tolist() == [3 / 6]
    assert text_measures.distinct_ngrams(encoded, np.array([0, 1, 2]), 1, 8).tolist() == [3 / 8]
    assert text_measures.distinct_ngrams(encoded, np.array([0, 1, 2]), 1, 4).tolist() == [2 / 4, 3 / 4]
    assert text_measures.distinct_ngrams(encoded, np.array([0, 1, 2]), 1, 100).size == 0


def test_vocabulary_growth_counts_first_occurrences():
    growth = text_measures.vocabulary_growth(text_measures.encode(["a b a c", "c d"]), np.array([1, 0]), points=6)
    assert growth.iloc[-1].tolist() == [6, 4]
    long = text_measures.encode([" ".join(str(n % 150) for n in range(1000))])
    growth = text_measures.vocabulary_growth(long, np.array([0]))
    assert growth["words"].iloc[0] == 100 and (growth["distinct"] == growth["words"].clip(upper=150)).all()


def test_self_similarity_is_the_mean_cosine_of_all_pairs():
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer=PRESETS["words"].words).fit_transform(TEXTS[:3]).toarray()
    wanted = np.mean([vectors[i] @ vectors[j] for i, j in combinations(range(3), 2)])
    encoded = text_measures.encode(TEXTS[:3])
    weights = text_measures.inverse_document_frequencies(encoded)
    assert text_measures.self_similarity(encoded, np.arange(3), weights).mean() == pytest.approx(wanted, rel=1e-12)


def test_openings_and_stated_emotions():
    encoded = text_measures.encode(TEXTS)
    assert text_measures.openings(encoded, [0, 1, 2], 3) == Counter({"once upon a": 2, "one day the": 1})
    assert text_measures.states_emotion(encoded, ["joy", "joy", "pride", "joy"]).tolist() == [True, False, False, False]


def test_names_are_capitals_within_sentences():
    capitals = Capitals()
    for text in TEXTS:
        capitals.add(text)
    assert capitals.names() == [("Anna", 2), ("Bob", 1)]  # One, Once, The and Then only begin sentences


def test_intervals():
    assert statistics.proportion(0, 10).high == pytest.approx(0.2775, abs=1e-4)
    half = statistics.proportion(50, 100)
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.4038, 0.5962), abs=1e-4)
    estimate = statistics.mean(np.array([1.0, 2.0, 3.0, 4.0]))
    assert (estimate.value, estimate.high) == pytest.approx((2.5, 2.5 + 3.1824 * np.sqrt(5 / 3) / 2), abs=1e-4)
    assert np.isnan(statistics.mean(np.array([1.0])).low)


def test_a_difference_that_comes_from_the_sources_is_none():
    """m2 writes as long as m1 from each source, but only m1 has the short source."""
    noise = np.random.default_rng(0).normal(0, 1, 600)
    rows = pd.DataFrame(
        {"group": ["m1"] * 400 + ["m2"] * 200, "source": ["short"] * 200 + ["long"] * 400, "line": "", "words": noise}
    )
    rows.loc[rows["source"] == "long", "words"] += 100
    naive = rows.groupby("group")["words"].mean()
    assert naive["m2"] - naive["m1"] > 45
    found = text_measures.compare(rows, "words", "m1", "m2")
    assert found["basis"] == "weighted by source: long" and found["low"] < 0 < found["high"]
    rows["line"] = [f"L{n}" for n in range(400)] + [f"L{n}" for n in range(200, 400)]
    found = text_measures.compare(rows, "words", "m1", "m2")
    assert (found["basis"], found["n"]) == ("same lines", 200) and found["low"] < 0 < found["high"]
    rows.loc[rows["group"] == "m2", ["source", "line"]] = ["another", ""]
    assert text_measures.compare(rows, "words", "m1", "m2") is None


def test_differences_of_shares_have_an_interval_where_all_texts_agree():
    lines = [f"L{n}" for n in range(20)]
    rows = pd.DataFrame({"group": ["m1"] * 20 + ["m2"] * 20, "source": "one", "line": lines * 2, "stated": 1.0})
    found = text_measures.compare(rows, "stated", "m1", "m2", is_share=True)
    assert (found["basis"], found["difference"]) == ("same lines", 0) and -found["low"] == found["high"] > 0.1
    # Within sources, by hand: both ends of 20 of 20 by Wilson, 0.8389 to 1, added in squares.
    found = text_measures.compare(rows.assign(line=""), "stated", "m1", "m2", is_share=True)
    assert found["basis"] == "weighted by source: one"
    assert (found["low"], found["high"]) == pytest.approx((-0.1611, 0.1611), abs=5e-5)
    # Of numbers: each group's own interval, added in squares.
    words = rows.assign(line="", words=[*range(20), *range(5, 25)])
    found = text_measures.compare(words, "words", "m1", "m2")
    half = 2.093 * np.std(range(20), ddof=1) / np.sqrt(20)
    assert (found["difference"], found["low"]) == pytest.approx((5, 5 - np.sqrt(2) * half), abs=1e-2)


def test_log_odds_against_the_formula_written_out():
    counts = np.array([[8, 1, 0, 20], [1, 9, 0, 20]])
    z = text_measures.log_odds(counts, prior_words=40)
    pooled = counts.sum(axis=0)
    prior = 40 * pooled / pooled.sum()
    ours, theirs, word = counts[0] + prior, counts[1] + prior, 0
    delta = np.log(ours[word] / (ours.sum() - ours[word])) - np.log(theirs[word] / (theirs.sum() - theirs[word]))
    assert z[0, word] == pytest.approx(delta / np.sqrt(1 / ours[word] + 1 / theirs[word]))
    assert z[0].argmax() == 0 and z[1].argmax() == 1 and (z[:, 2] == 0).all()
    assert z[0] == pytest.approx(-z[1])


@pytest.fixture
def tiny_tokenizer(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "model"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


class FirstWordClassifier:
    """Finds the emotion that is named first in a text, else neutral."""

    def scores(self, texts, progress):
        scores = np.zeros((len(texts), len(LABELS)), np.float32)
        for row, text in zip(scores, texts, strict=True):
            row[INDEX[next((word for word in text.split() if word in INDEX), "neutral")]] = 1
        progress(len(texts))
        return scores


@pytest.fixture
def models(monkeypatch, tiny_tokenizer):
    monkeypatch.setattr(describe, "resolve", lambda model: LocalModel(tiny_tokenizer, "tiny@1"))
    monkeypatch.setattr(textstats, "identify", lambda model: "tiny@1")
    monkeypatch.setattr(textstats, "identify_classifier", lambda name, revision: "first@1")
    monkeypatch.setattr("emogap.emotion.classifier.load_classifier", lambda name, **_: FirstWordClassifier())


def story_rows(method: str, lines: range) -> pd.DataFrame:
    emotions = ["joy", "fear", "anger"]
    rows = [
        {
            "id": f"{method}/{line}", "line_id": f"L{line}", "source": ("speech", "books")[line % 2],
            "text": f"line {line}", "emotions": [emotions[line % 3]], "method": method, "prompt_sha": "p",
            "model": "w@1", "seed": line, "reply": "", "status": "kept", "reason": "",
            "story": f"Once upon a time Lily felt {emotions[line % 3]}. " + f"The fox {line} ran. " * (1 + line % 5),
        }
        for line in lines
    ]  # fmt: skip
    return pd.DataFrame(rows)


def write_stories(config) -> None:
    for method, lines in (("m1", range(12)), ("m2", range(6, 18))):
        path = config.home.chunk(method, 0)
        path.parent.mkdir(parents=True)
        rows = story_rows(method, lines)
        rejected = rows.tail(1).assign(id="r", story=None, status="rejected", reason="empty")
        write_rows(path, pd.concat([rows, rejected]), STORIES)


def test_story_stage_writes_the_table_and_its_exhibits(config, models, monkeypatch):
    drawn = []  # composed, but not rendered: that takes longer than all other tests here
    monkeypatch.setattr(store, "save_figure", lambda folder, exhibit, figure: drawn.append(exhibit.name))
    write_stories(config)
    summary = textstats.story_stats(config)
    assert summary.counts["texts"] == 24
    folder = config.home.story_stats
    table = pd.read_csv(folder / "text_statistics.csv")
    assert list(table.columns) == ["group", "preset", "measure", "value"]
    values = table.set_index(["group", "preset", "measure"])["value"]
    assert values.index.is_unique and not values.isna().any()
    assert values["m1", "words", "texts"] == 12
    for preset in ("words", "content-words"):
        counted = count_words(story_rows("m1", range(12))["story"], [preset])[preset]
        assert values["m1", preset, "total_words"] == counted.total
        assert values["m1", preset, "unique_words"] == len(counted.distinct)
    assert values["m1", "words", "emotion_stated_share"] == 1
    assert values["m2", "words", "emotion_found_share"] == pytest.approx(0)  # "joy." with its stop is no label
    assert values["m1", "words", "average_sentences"] == pytest.approx(1 + np.mean([1 + n % 5 for n in range(12)]))
    assert values["m1", "words", "opening_3_share"] == 1
    names = pd.read_csv(folder / "tables" / "names.csv")
    assert names.loc[names["group"] == "m1", "name"].tolist() == ["Lily"]
    comparisons = pd.read_csv(folder / "tables" / "comparisons.csv")
    assert set(comparisons["basis"]) == {"same lines"} and set(comparisons["n"]) == {6}
    assert set(comparisons["difference"]) == {0}
    measured = read_table(folder / "tables" / "measures.csv").set_index(["measure", "group"])
    ends = [values["m1", "words", f"average_words{end}"] for end in ("", "_low", "_high")]
    assert measured.loc[("average_words", "m1")].tolist() == ends, "numbers in columns of their own, not rounded"
    assert measured.loc[("total_words", "m1"), ["low", "high"]].isna().all()
    shown = shown_table(folder, "measures").set_index("measure")
    assert shown.loc["average_words", "m1"] == "{:.1f} [{:.1f}, {:.1f}]".format(*ends)
    assert shown.loc["texts"].tolist() == ["12", "12"]
    found = read_table(folder / "tables" / "names_and_openings.csv")
    assert found[found["measure"] == "names"].iloc[0][["group", "found", "share"]].tolist() == ["m1", "Lily", 1.0]
    assert shown_table(folder, "names_and_openings")["names"][0] == "Lily 100.0%"
    lengths = pd.read_csv(folder / "tables" / "lengths.csv")
    assert lengths.groupby(["group", "unit"])["texts"].sum().eq(12).all()
    shown = exhibits(folder)
    assert drawn == ["profile", "lengths", "growth", "counts", "confusion", "suitability"]
    fit = shown_table(folder, "suitability").set_index(["measure", "of"])
    assert fit.loc[("flesch_reading_ease", "stories"), "m1"] == "{:.3g} [{:.3g}, {:.3g}]".format(
        *(values["m1", "words", f"flesch_reading_ease{end}"] for end in ("", "_low", "_high"))
    )
    assert fit.loc[("unsuitable_share", "lines"), "m2"].startswith("0 [0, ")
    assert next(e for e in shown if e.name == "word_counts").published == "story_statistics"
    assert textstats.story_stats(config).fresh == ["text_statistics.csv", "suitability.csv"]


@pytest.mark.parametrize("kept", [12, 1, 0])
def test_a_method_without_an_accepted_story_is_a_group_of_none(config, models, monkeypatch, capsys, kept):
    captions = {}
    monkeypatch.setattr(
        store, "save_figure", lambda _, exhibit, figure: captions.update({exhibit.name: exhibit.caption})
    )
    write_stories(config)
    for method, count in (("m1", kept), ("m2", 0)):
        path = config.home.chunk(method, 0)
        rows = read_rows(path, STORIES)
        accepted = pd.Series(range(len(rows))) < count
        rows = rows.assign(story=rows["story"].where(accepted), status=accepted.map({True: "kept", False: "rejected"}))
        write_rows(path, rows, STORIES)
    assert textstats.story_stats(config).counts["texts"] == kept
    assert "babylm-stats: method m2 has no text: none of its stories was kept" in capsys.readouterr().out
    folder = config.home.story_stats
    table = pd.read_csv(folder / "text_statistics.csv")
    assert table["value"].notna().all()
    none = table[table["group"] == "m2"]
    assert set(none["measure"]) == {"texts", "total_words", "unique_words"} and none["value"].eq(0).all()
    counts = pd.read_csv(folder / "tables" / "word_counts.csv").set_index(["group", "preset"])
    assert counts.loc[("m2", "words"), "texts"] == 0 and counts.loc["m2", "average_words"].isna().all()
    assert counts.loc[("m1", "words"), "texts"] == kept
    assert counts.loc["m1", "average_words"].notna().all() == bool(kept)
    assert list(captions) == ["profile", "lengths", "growth", "counts", "confusion", "suitability"]
    for name in ("growth", "suitability"):
        assert (captions[name] == "There are no stories: none was kept.") == (not kept)
    assert not {"comparisons"} & {exhibit.name for exhibit in exhibits(folder)}, "there is nothing to compare"
    for name in ("comparisons", "emotion_words", "counts"):
        pd.read_csv(folder / "tables" / f"{name}.csv")  # a header at least, which notebooks read


def test_sources_of_one_name_in_two_folders_are_two(config, models, tmp_path):
    write_stories(config)
    assert "rule sources" not in textstats.story_stats_pieces(config)[0].recipe.identities
    path = config.home.chunk("m1", 0)
    names = ["10M/cbt", "100M/cbt", "data/babylm_100M/cbt.train"]
    rows = read_rows(path, STORIES).head(3).assign(source=names, status="kept")
    write_rows(path, rows, STORIES)
    assert read_texts([path], STORY_COLUMNS[::-1])["source"].tolist() == ["10M/cbt", "100M/cbt", "cbt"]
    rule = textstats.story_stats_pieces(config)[0].recipe.identities["rule sources"]
    assert rule == "2 (10M/cbt and 100M/cbt are two)"


def test_rewrite_stage_needs_its_rows_and_reads_kept_ones(make_config, models, monkeypatch):
    monkeypatch.setattr(textstats, "_exhibits", lambda *_: [])  # drawn in the test above
    config = make_config("rewrite.versions=['v2', 'v3']")
    with pytest.raises(MissingInput, match=r"emotion_alpaca_v2.rows.parquet not found"):
        textstats.rewrite_stats_pieces(config)
    for version in ("v2", "v3"):
        path = config.home.rewrite_rows(version)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            {
                "id": str(n), "instruction": f"Do thing {n}", "input": "", "original_output": "It is done.",
                "emotion": "joy", "version": version, "reply": "", "output": f"With joy I did thing {n} {version}!",
                "status": "kept" if n else "rejected", "reason": "",
            }
            for n in range(5)
        ]  # fmt: skip
        write_rows(path, pd.DataFrame(rows), REWRITES)
    textstats.rewrite_stats(config)
    table = pd.read_csv(config.home.rewrite_stats / "text_statistics.csv").set_index(["group", "preset", "measure"])
    assert table.loc[("v3", "published-rewrites", "texts"), "value"] == 4
    assert table.loc[("v3", "words", "emotion_found_share"), "value"] == 1


def test_files_are_described_from_the_command_line(tmp_path, capsys):
    first, second = tmp_path / "one.jsonl", tmp_path / "two.json"
    records = [{"augmented_text": text, "method": f"m{n % 2 + 1}"} for n, text in enumerate(TEXTS)]
    first.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    second.write_text(json.dumps(records), encoding="utf-8")
    words = ["babylm-stats", "--preset", "published-stories", "--out", str(tmp_path / "out"), "--stories"]
    assert main([*words, str(first), str(second)]) == 0
    table = pd.read_csv(tmp_path / "out" / "text_statistics.csv")
    assert list(table.columns) == ["group", "preset", "measure", "value"] and set(table["group"]) == {"m1", "m2"}
    interval = {"average_words_low", "average_words_high"}
    assert set(table["measure"]) == {"texts", "total_words", "unique_words", "average_words"} | interval
    assert table.set_index(["group", "measure"])["value"]["m1", "texts"] == 4
    assert main([*words, str(first), str(second), "--group", "file"]) == 0
    table = pd.read_csv(tmp_path / "out" / "text_statistics.csv").set_index(["group", "measure"])["value"]
    assert table["one", "texts"] == table["two", "texts"] == 4
    assert main([*words, str(first), "--column", "tale"]) == 1
    assert "no column 'tale'; it has augmented_text, method" in capsys.readouterr().err
    assert main(["babylm-stats", "--stories", str(first)]) == 2
    assert main(["babylm-stats", "--preset", "words"]) == 2
    assert main(["babylm-stats", "--stories", str(first), "--out", "x", "--preset", "mine"]) == 2
    assert "unknown preset 'mine'" in capsys.readouterr().err


def test_bad_files_are_one_clear_line(tmp_path):
    good, other = tmp_path / "good.parquet", tmp_path / "other.parquet"
    pd.DataFrame({"augmented_text": ["a b"], "method": ["m1"]}).to_parquet(good)
    pd.DataFrame({"story": ["a b"], "status": ["rejected"], "method": ["m2"]}).to_parquet(other)
    empty, broken, single = tmp_path / "empty.parquet", tmp_path / "broken.json", tmp_path / "single.json"
    pd.DataFrame({"augmented_text": [], "method": []}).to_parquet(empty)
    broken.write_text("[{", encoding="utf-8")
    single.write_text('{"augmented_text": "x"}', encoding="utf-8")
    hole = tmp_path / "hole.jsonl"
    hole.write_text('{"augmented_text": "x"}\n{"augmented_text": null}\n', encoding="utf-8")
    for paths, error, message in (
        ([tmp_path / "none.parquet"], MissingInput, "none.parquet not found"),
        ([good, other], InputError, r"mixed schemas: .*other.parquet has no column 'augmented_text'"),
        ([other], InputError, "group 'm2' has no text"),
        ([good, empty], InputError, r"empty.parquet has no rows"),
        ([broken], InputError, r"broken.json, line 1: not JSON"),
        ([single], InputError, r"single.json holds one JSON object, not a list of records"),
        ([hole], InputError, r"hole.jsonl, line 2: no text in column 'augmented_text'"),
        ([good, good], InputError, r"two of the files are called"),
    ):
        with pytest.raises(error, match=message):
            read_texts(paths, STORY_COLUMNS)
    with pytest.raises(InputError, match=r"hole.jsonl: no column 'method'"):
        read_texts([hole], STORY_COLUMNS, group="method")


def test_emotions_are_labels_and_never_letters(tmp_path):
    path = tmp_path / "a.jsonl"
    for given, found in (
        ({"emotions": ["joy", "love"]}, "joy"), ({"emotions": "joy"}, "joy"), ({"emotions": "love, joy"}, "love"),
        ({"emotion": "fear, joy"}, "fear"), ({"emotions": None, "emotion": "joy"}, "joy"), ({"emotions": []}, ""),
        ({"emotion": ""}, ""), ({"emotion": None}, ""), ({}, ""),
    ):  # fmt: skip
        path.write_text(json.dumps({"story": "x", **given}))
        assert read_texts([path], STORY_COLUMNS)["emotion"].tolist() == [found], given
    for given, message in (
        ({"emotions": "happy"}, "line 1, 'emotions': item 1 is 'happy', not one of the 28 emotions"),
        ({"emotions": ["joy", "glad"]}, "'emotions': item 2 is 'glad', not one of the 28"),
        ({"emotion": "joy; love"}, "not one of the 28"),
        ({"emotions": 5}, "'emotions': it is 5, not a list"),
        ({"emotions": [["joy"]]}, "'emotions': item 1 is .*, not a text"),
        ({"emotion": {"joy": 1}}, "'emotion': it is .*, not a list"),
        ({"source": 3.5}, "'source' is 3.5, not a text"),
        ({"line_id": ["a"]}, "'line_id' is .*, not a text"),
        ({"method": None}, "'method' is empty; name its method, or give --group file"),
        ({"method": " "}, "'method' is empty"),
        ({"method": True}, "'method' is true, not a text"),
        ({"story": 5}, "no text in column 'story'"),
    ):
        path.write_text(json.dumps({"story": "x", **given}))
        with pytest.raises(InputError, match=message):
            read_texts([path], STORY_COLUMNS)
    # A rejected row may be anything but nameless.
    path.write_text('{"story": "x", "status": "kept"}\n{"story": null, "emotions": "?", "status": "rejected"}\n')
    assert read_texts([path], STORY_COLUMNS)["text"].tolist() == ["x"]


@pytest.mark.slow
def test_processes_find_what_one_finds(tiny_tokenizer):
    texts = pd.DataFrame({"group": ["a"] * 1500 + ["b"] * 700, "text": (TEXTS * 550)})
    job = Job(("words",), tiny_tokenizer)
    found = scan(texts, job, workers=2)
    counts, numbers, capitals = scan_batch(texts["text"][:1500], job)
    assert found.counts["a"]["words"] == counts["words"]
    pd.testing.assert_frame_equal(found.numbers[:1500], numbers)
    assert found.capitals["a"] == capitals
    assert found.counts["b"]["words"].texts == 700


def test_unknown_tokenizer_is_named(make_config):
    with pytest.raises(UsageError, match=r"stats.tokenizer.*smollm2-135m"):
        describe.tokenizer_name(make_config("stats.tokenizer='gpt9'"))


def test_old_chunks_are_grouped_by_the_method_that_the_study_wrote_them_with(tmp_path):
    paths = []
    for number, (chunk, text) in enumerate({"0": "One.", "30": "Two two.", "0_new": "Three.", "89": "Four."}.items()):
        path = tmp_path / f"babylm_augment_{chunk}.pkl"
        record = {"text": f"line {number}", "emotion": "joy", "augmented_text": text}
        path.write_bytes(pickle.dumps([record]))
        paths.append(path)
    texts = read_texts(paths, STORY_COLUMNS)
    assert dict(zip(texts["text"], texts["group"], strict=True)) == {
        "One.": "m1", "Two two.": "m2", "Three.": "m3", "Four.": "m3"
    }  # fmt: skip
    paths[0].write_bytes(pickle.dumps(Path("x")))
    with pytest.raises(InputError, match="is refused: it asks for pathlib"):
        read_texts(paths, STORY_COLUMNS)


def test_the_published_chunks_are_as_many_as_the_published_stories():
    methods = list(published_methods().values())
    assert {m: 871 * methods.count(m) for m in ("m1", "m2", "m3")} == {"m1": 23517, "m2": 2613, "m3": 23517}


def title_of(figure) -> str:
    return figure.get_suptitle() or figure.axes[0].get_title(loc="left")


def profile_table(alike: dict[str, tuple[int, int, int]]) -> pd.DataFrame:
    """Group → texts, how many of them have the commonest first words, different first words."""
    rows = []
    for group, (texts, commonest, different) in alike.items():
        share = statistics.proportion(commonest, texts)
        values = {"texts": texts, "average_words": 50, "opening_3_different": different}
        values |= {"opening_3_share": share.value, "opening_3_share_low": share.low, "opening_3_share_high": share.high}
        rows += [{"group": group, "preset": "words", "measure": name, "value": v} for name, v in values.items()]
    return pd.DataFrame(rows)


def test_titles_of_figures_name_the_first_only_where_the_intervals_do():
    clear = figures.profile(profile_table({"m1": (100, 60, 41), "m2": (100, 10, 91)}))
    assert title_of(clear) == "m1 opens with the same three words most often: in 60% of its 100 texts"
    for alike in (
        {"m1": (16, 1, 16), "m3": (13, 1, 13)},  # one of thirteen, all different
        {"m1": (1000, 1, 1000), "m3": (1, 1, 1)},
        {"m1": (100, 60, 41)},
    ):
        assert title_of(figures.profile(profile_table(alike))) == "What the texts of each group are like"
    lengths = pd.DataFrame(
        [("m1", "words", 0, 10, 9), ("m1", "words", 10, 20, 9), ("m2", "words", 0, 10, 8), ("m2", "words", 10, 20, 9)],
        columns=["group", "unit", "low", "high", "texts"],
    )
    lengths = pd.concat([lengths, lengths.assign(unit="tokens")])
    assert title_of(figures.lengths(lengths)) == "Lengths of the texts"
    longer = lengths.assign(high=lengths["high"] + 100 * lengths["group"].eq("m2"))
    assert title_of(figures.lengths(longer)) == "Lengths: the texts of m2 have the most words on average"
    tie = pd.DataFrame({"group": "m1", "source": "", "emotion": LABELS[:13], "texts": 3})
    assert title_of(figures.counts(tie)) == "Texts by emotion: 39"
    most = tie.assign(texts=[30, *[1] * 12])
    assert title_of(figures.counts(most)) == f"Texts by emotion: 42; most of {LABELS[0]}: 30"


def test_the_meaning_that_rewrites_keep_by_hand():
    rewrites = pd.DataFrame(
        [("v1", "kept", 0.8, ""), ("v1", "rejected", 0.4, "12, rome"), ("v2", "kept", np.nan, "")],
        columns=["version", "status", "similarity", "lost"],
    )
    table = describe.meaning(rewrites).set_index("version")
    assert table[["rewrites", "kept", "all_facts"]].to_numpy().tolist() == [[2, 1, 0.5], [1, 1, 1.0]]
    half = 12.7062 * 0.2  # Student's t of one degree of freedom, times the standard error of 0.8 and 0.4
    ends = table.loc["v1", ["similarity", "similarity_low", "similarity_high"]]
    assert ends.tolist() == pytest.approx([0.6, 0.6 - half, 0.6 + half], abs=1e-4)
    assert np.isnan(table.loc["v2", "similarity"])
    assert describe.meaning(rewrites.iloc[:0]).empty
    drawn = figures.similarities(rewrites).axes[0]
    assert [label.get_text() for label in drawn.get_yticklabels()] == ["v1 (n = 2)"]
    hollow = [not len(dots.get_facecolors()) for dots in drawn.collections]
    assert hollow == [True, False, False]  # the rejected one; the kept one; the stroke at the mean


def test_figures_of_nothing_say_so():
    table = pd.DataFrame(columns=["measure", "group", "minus", "n", "difference", "low", "high"])
    assert figures.differences(table).texts[0].get_text() == "No two groups have texts from the same lines or sources."
    shown = figures.differences(pd.DataFrame([("words", "m2", "m1", 5, 2.0, -1.0, 5.0)], columns=table.columns))
    assert [label.get_text() for label in shown.axes[0].get_yticklabels()] == ["m2 − m1 (n = 5)"]
