"""Words: the same letters count the same, however they are written down; the published counts take them as they are."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

from emogap.answers.fluency import distinct_share, word_ngrams
from emogap.babylm.clean import _keys
from emogap.config import Gates, Process, RewriteGates
from emogap.records import RESPONSES, REWRITES, write_rows
from emogap.store.artefacts import RULE
from emogap.stories.gates import REWRITE_GATES, STORY_GATES, Candidate, failures, lost, names
from emogap.text import measures as text_measures
from emogap.text.near_duplicates import near_duplicates, normalised, shingles
from emogap.text.word_counts import PRESETS
from emogap.text.words import SPELLING, first_words, plain, plain_words, spelling_rule
from emogap.textstats.scan import Capitals, _numbers

STRAIGHT = "Don't say it's Zoë's café: a well-known fiancée felt joy there, didn't she?"
WORDS = ["don't", "say", "it's", "zoë's", "café", "a", "well-known", "fiancée", "felt", "joy", "there", "didn't", "she"]
CONTENT = ["say", "zoë's", "café", "well-known", "fiancée", "felt", "joy"]
"""Without don't, it's, a, there, didn't and she, which are stop words."""

SPELLINGS = {
    "curly": STRAIGHT.replace("'", "’"),
    "curly the wrong way round": STRAIGHT.replace("'", "‘"),
    "the letter apostrophe": STRAIGHT.replace("'", "ʼ"),
    "a full-width apostrophe": STRAIGHT.replace("'", "＇"),
    "an acute accent": STRAIGHT.replace("'", "´"),
    "decomposed": unicodedata.normalize("NFD", STRAIGHT),
    "decomposed and curly": unicodedata.normalize("NFD", STRAIGHT.replace("'", "’")),
    "soft hyphens": STRAIGHT.replace("fiancée", "fian\u00adcée").replace("felt", "f\u00adelt"),
    "no width": STRAIGHT.replace("joy", "j\u200bo\u2060y\ufeff"),
    "a hyphen that does not break": STRAIGHT.replace("-", "\u2011"),
    "spaces that do not break": STRAIGHT.replace(" ", "\u00a0"),
    "full width": STRAIGHT.replace("joy", "ｊｏｙ"),
    "mathematical letters": STRAIGHT.replace("joy", "𝐣𝐨𝐲"),
    "a ligature": STRAIGHT.replace("fi", "ﬁ"),
}
EVERY = pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)


@EVERY
def test_the_projects_own_counts_do_not_see_the_spelling(text):
    assert plain(text) == STRAIGHT
    assert PRESETS["words"].words(text) == PRESETS["words"].words(STRAIGHT) == WORDS
    assert PRESETS["content-words"].words(text) == PRESETS["content-words"].words(STRAIGHT) == CONTENT
    encoded = text_measures.encode([STRAIGHT, text])
    assert encoded.vocabulary == WORDS and encoded.lengths().tolist() == [13, 13]
    assert text_measures.states_emotion(encoded, ["joy", "joy"]).tolist() == [True, True]
    assert len(text_measures.openings(encoded, [0, 1], 8)) == 1
    assert text_measures.distinct_ngrams(encoded, np.array([0, 1]), 2, 26).tolist() == [0.5]


@EVERY
def test_repetition_likeness_and_readability_do_not_see_the_spelling(text):
    assert word_ngrams(text, 1)[:5] == [("don't",), ("say",), ("it's",), ("zoë's",), ("café",)]
    assert distinct_share([STRAIGHT, text], 2) == 0.5
    assert normalised(text) == "don t say it s zoë s café a well known fiancée felt joy there didn t she"
    assert shingles(text) == shingles(STRAIGHT)
    assert list(near_duplicates([("a", STRAIGHT), ("b", text)], 1)) == [("b", "a")]
    import polars as pl

    assert len(set(_keys(pl.Series([STRAIGHT, text]), Process(duplicates="near")).tolist())) == 1


def test_sentences_readability_and_names_do_not_see_the_spelling(monkeypatch):
    class NoTokens:
        def encode_batch(self, texts):
            return [type("Encoding", (), {"ids": []})] * len(texts)

    monkeypatch.setattr("emogap.textstats.scan._tokenizer", lambda folder: NoTokens())
    numbers = _numbers(pd.Series([STRAIGHT, *SPELLINGS.values()]), None)
    assert len(numbers.drop_duplicates()) == 1
    capitals = Capitals()
    for text in ("we met Anna's son", "we met Anna’s son", "we met\u00a0An\u00adna’s son"):
        capitals.add(text)
    assert capitals.names() == [("Anna", 3)]


@EVERY
def test_facts_do_not_see_the_spelling(text):
    original = "We saw Zoë's friend Renée O'Hara in 1867."
    respelt = {"'": "’", "ë": "e\u0308", "é": "e\u0301", "1867": "１８６７"}
    rewritten = "How lovely that we saw Zoë's dear friend Renée O'Hara in 1867!"
    for old, new in respelt.items():
        assert names(original.replace(old, new)) == names(original) == {"zoë", "renée", "o'hara"}
        assert lost(original.replace(old, new), rewritten) == set()
        assert lost(original, rewritten.replace(old, new)) == set()
    assert "unchanged" in failures(Candidate(text, STRAIGHT), RewriteGates(min_words=1), REWRITE_GATES)


@pytest.mark.parametrize("said", ["I’m sorry to hear that.", "I can’t write that story.", "Sure, here’s a story."])
def test_an_assistant_with_curly_apostrophes_is_an_assistant(said):
    told = "Mira carried the lantern down to the boat. It swung in her hand and threw long shadows on the sand."
    assert failures(Candidate(f"{said} {told}"), Gates(), STORY_GATES) == ["assistant_talk"]
    assert failures(Candidate(f"“{said}” {told}"), Gates(), STORY_GATES) == []


def test_accents_that_no_letter_has_stay_with_their_letter():
    assert PRESETS["words"].words("o\u0302m n\u0304ame İstanbul") == ["ôm", "n\u0304ame", "i\u0307stanbul"]
    assert normalised("n\u0304ame \u0301 !\u0301") == "n\u0304ame"


def test_published_presets_take_a_text_as_it_is():
    assert PRESETS["published-stories"].words("She didn’t go.") == ["’", "go", "."]
    assert PRESETS["published-stories"].words("She didn't go.") == ["n't", "go", "."]
    assert PRESETS["published-rewrites"].words("cafe\u0301 café") == ["café"]


def test_a_recipe_names_the_rule_where_a_kept_text_needs_it(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGAP_CACHE", str(tmp_path / "cache"))

    def table(name: str, *rows: tuple[str, str]):
        empty = dict.fromkeys(REWRITES.columns, "")
        frame = pd.DataFrame([{**empty, "output": output, "status": status} for output, status in rows])
        write_rows(tmp_path / name, frame, REWRITES)
        return tmp_path / name

    kept = {"filters": [("status", "==", "kept")]}
    straight = table("a.parquet", ("It's “here” in the café.", "kept"), ("It’s not.", "rejected"))
    curly = table("b.parquet", ("It's here.", "kept"), ("It’s there.", "kept"))
    assert SPELLING.startswith(RULE)
    assert spelling_rule([straight, tmp_path / "none.parquet"], "output", **kept) == {}
    assert list(spelling_rule([straight, curly], "output", **kept)) == [SPELLING]
    monkeypatch.setattr("emogap.text.words.column_texts", None)
    assert list(spelling_rule([straight, curly], "output", **kept)) == [SPELLING], "no table is read twice"


def test_statistics_of_kept_texts_name_the_rule_where_they_need_it(make_config, monkeypatch):
    from emogap.answers.emotions_found import answer_scores_pieces
    from emogap.textstats import stage as textstats

    monkeypatch.setattr(textstats, "identify", lambda model: "a model")
    monkeypatch.setattr(textstats, "identify_classifier", lambda name, revision: "a classifier")
    config = make_config("rewrite.versions=['v3']")
    path = config.home.rewrite_rows("v3")
    path.parent.mkdir(parents=True)
    for output, named in (("It's here.", False), ("It’s here.", True)):
        row = dict.fromkeys(REWRITES.columns, "") | {"output": output, "status": "kept"}
        write_rows(path, pd.DataFrame([row]), REWRITES)
        assert (SPELLING in textstats.rewrite_stats_pieces(config)[0].recipe.identities) == named
    assert not any(SPELLING in artefact.recipe.identities for artefact in answer_scores_pieces(config))
    scored = answer_scores_pieces(config)[1]
    answers = scored.recipe.inputs["responses"]
    answers.parent.mkdir(parents=True, exist_ok=True)
    row = dict.fromkeys(RESPONSES.columns, "") | {"response": "It’s joy.", "train_seed": 0, "sample": 0}
    write_rows(answers, pd.DataFrame([row | {"finished": True}]), RESPONSES)
    named = [a.path for a in answer_scores_pieces(config) if SPELLING in a.recipe.identities]
    assert named == [scored.path]


@pytest.mark.parametrize(
    ("count", "start"),
    [
        (0, ""),
        (1, "“Don't"),
        (2, "“Don't go"),
        (3, "“Don't go,” well-meant!"),
        (9, "“Don't go,” well-meant!"),
    ],
)
def test_a_text_is_cut_behind_a_word(count, start):
    text = "“Don’t go,” well\u2010meant!"
    assert first_words(text, count) == start
    assert len(plain_words(start)) == min(count, 3)
