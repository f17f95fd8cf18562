"""The gates: each on rows of its kind, and on the published replies where they are to be had."""

import json

import pandas as pd
import pytest
from gate_verdicts import as_markdown, precision_and_recall, verdicts

from emogap.config import Gates, RewriteGates
from emogap.paths import ROOT
from emogap.stories import gates as quality
from emogap.stories.gates import REWRITE_GATES, STORY_GATES, Candidate, clean, duplicates, failures, lost
from emogap.stories.gating import read_reply

STORY = (
    "Mira carried the lantern down to the boat. It swung in her hand and threw long shadows on the sand. "
    "She was not afraid, for her brother sang behind her all the way."
)


def reasons(text: str, context: str = "", **facts) -> list[str]:
    return failures(Candidate(text, context, **facts), Gates(), STORY_GATES)


def test_a_good_story_passes():
    assert reasons(STORY, context="we carried the lantern down to the boat last night.") == []


@pytest.mark.parametrize(
    ("reply", "text", "note"),
    [
        (f"Story: {STORY}", STORY, "label"),
        (f"**Story:** {STORY}", STORY, "label"),
        (f"Relief: {STORY}", STORY, "label"),
        (f"joy, surprise: {STORY}", STORY, "label"),
        (f"Rewritten Output: {STORY}", STORY, "label"),
        (f"Rewritten answer:\n\n{STORY}", STORY, "label"),
        (f"Title: The Lantern\n\n{STORY}", STORY, "title"),
        (f"**The Lantern**\n\n{STORY}", STORY, "title"),
        (f"# The Lantern\n{STORY}", STORY, "title"),
        (f'"{STORY}"', STORY, "quotation marks"),
        (f"a line, you see\n\n{STORY}", STORY, "the context as a first line"),
        (f'"Relief: {STORY}"', STORY, "label"),
    ],
)
def test_what_surrounds_a_story_is_taken_away_and_noted(reply, text, note):
    found, notes = clean(reply, context="A line, you see.")
    assert found == text
    assert any(taken.startswith(note) for taken in notes)


@pytest.mark.parametrize("reply", ["", "   ", "Story:", "Rewritten Output: ", "Relief: ...", "Title: Nothing"])
def test_what_is_left_empty_is_rejected(reply):
    assert reasons(clean(reply)[0]) == ["empty"]


def test_text_that_only_looks_like_a_label_stays():
    text = '"Relief," said Mira, "is a warm word." Pride: she did not know it.'
    assert clean(text) == (text, [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Too short for a story.", "too_short"),
        ("word " * 1001, "too_long"),
        (f"As an AI, I have no feelings. {STORY}", "assistant_talk"),
        (f"I'm sorry to hear that. {STORY}", "assistant_talk"),
        (f"Sure, here is a story for you. {STORY}", "assistant_talk"),
        (f"{STORY} I hope this helps! Let me know if you want another one.", "assistant_talk"),
        (f"{STORY} Can you tell me more?", "assistant_talk"),
        (f"{STORY} This story shows how brave children can be.", "assistant_talk"),
        (f"{STORY} => {STORY}", "prompt_leak"),
        (f"{STORY} [INST] joy: a line [/INST]", "prompt_leak"),
        (f"{STORY}\nInstruction: write more.", "prompt_leak"),
        (f"{STORY}\n\nDesired Emotion: joy", "prompt_leak"),
        (f"{STORY} ![a boat](https://example.org/boat.png)", "markup"),
        (f"{STORY} #boats #BraveGirls", "markup"),
        (f"{STORY} \x07", "control_characters"),
        (f"{STORY} \ufffd", "control_characters"),
        ("Das kleine Boot lag am Ufer und niemand sang mehr, " * 4, "other_language"),
        ("Маленькая лодка лежала на берегу. " * 5, "other_language"),
        (f"{STORY} She sang the song once more. She sang the song once more. She sang the song once more.",
         "repeated_sentence"),
        ("No, no. " * 30, "repeated_sentence"),
    ],
)  # fmt: skip
def test_each_fault_is_named(text, reason):
    assert reason in reasons(text)


def test_unsuitable_words_are_a_fault_where_that_is_asked_for():
    text, asked = f"{STORY} Damn that boat.", Gates(unsuitable=True)
    assert reasons(text) == []
    for gates in (STORY_GATES, REWRITE_GATES):
        bounds = RewriteGates(unsuitable=True) if gates is REWRITE_GATES else asked
        assert "unsuitable" in failures(Candidate(text, STORY), bounds, gates)
        assert "unsuitable" not in failures(Candidate(STORY, STORY), bounds, gates)
    assert failures(Candidate(text, "He said damn."), asked, STORY_GATES) == ["unsuitable"], "also what the line has"
    assert failures(Candidate(f"{text} I hope this helps!"), asked, STORY_GATES) == ["assistant_talk", "unsuitable"]


@pytest.mark.parametrize(
    "text",
    [
        f'"I\'m sorry to hear that," said Mira. {STORY}',
        f'{STORY} "Can you tell me more?" asked the boy.',
        f'{STORY} "Let me know if you are cold," she said.',
        f"I'm sorry, Grandpa. I broke your cup and hid it under the bed, and I have felt bad all day. {STORY}",
        f"I can't help but wonder what lies behind the dunes. {STORY}",
    ],
)
def test_the_same_words_inside_a_story_are_fine(text):
    assert reasons(text) == []


def test_a_mark_that_the_line_had_itself_is_no_leak():
    text = f"{STORY} Answer: yes."
    assert "prompt_leak" in reasons(text)
    assert reasons(text, context="Question: is it? Answer: no.") == []


def test_a_copy_of_the_context_or_of_an_example_is_rejected():
    assert "copied_context" in reasons(f"Well, {STORY}", context=STORY)
    assert "copied_example" in reasons(f"Well, {STORY}", prompt=f"Here is an example.\n{STORY}\nNow write.")


def test_a_cut_reply_is_rejected_or_trimmed():
    cut = STORY + " And when they came to the"
    assert read_reply(cut, "length", "", "reject") == (cut, [], True)
    assert read_reply(cut, "length", "", "trim") == (STORY, ["trimmed to its last full sentence"], False)
    assert read_reply("no sentence at all", "length", "", "trim")[2]
    assert read_reply(cut, None, "", "reject")[2]
    assert not read_reply(STORY, None, "", "reject")[2]
    assert not read_reply(cut, "stop", "", "reject")[2]
    assert reasons(cut, cut=True) == ["truncated"]


def test_the_emotion_score_rejects_only_when_asked_to():
    assert reasons(STORY, emotion_score=0.0) == []
    strict = Gates(min_emotion_score=0.3)
    assert failures(Candidate(STORY, emotion_score=0.2), strict, STORY_GATES) == ["emotion_missing"]
    assert failures(Candidate(STORY, emotion_score=0.3), strict, STORY_GATES) == []


ORIGINAL = "Marie Curie was born in Warsaw in 1867. She won 2 Nobel Prizes."


@pytest.mark.parametrize(
    ("rewritten", "missing"),
    [
        ("What a mind! Marie Curie, born in Warsaw in 1867, won two Nobel Prizes!", set()),
        ("What a mind! Marie Curie, born in 1867, won 2 Nobel Prizes!", {"warsaw"}),
        ("What a mind! Marie Curie, born in Warsaw in 1876, won 2 Nobel Prizes!", {"1867"}),
        ("What a mind! Marie Curie, born in WARSAW in 1867, won 20 Nobel Prizes!", {"2"}),
    ],
)
def test_numbers_and_names_must_stay(rewritten, missing):
    assert lost(ORIGINAL, rewritten) == missing
    found = failures(Candidate(rewritten, ORIGINAL), RewriteGates(), REWRITE_GATES)
    assert ("facts_lost" in found) == bool(missing)


def test_list_numbers_and_headlines_hold_no_facts():
    assert lost("1. Wash the cup.\n2. Dry the cup.", "Wash it, then dry it.") == set()
    assert lost("Make Your Vote Count Today", "Every voice matters!") == set()
    assert lost("It costs 1,000 crowns.", "Only 1000 crowns!") == set()


def test_a_share_of_lost_facts_may_be_allowed():
    half = Candidate("Warsaw in 1867, imagine that!", ORIGINAL)
    assert "facts_lost" in failures(half, RewriteGates(), REWRITE_GATES)
    assert "facts_lost" not in failures(half, RewriteGates(max_lost_share=0.7), REWRITE_GATES)


def test_unchanged_and_lost_meaning():
    assert "unchanged" in failures(Candidate(ORIGINAL.upper(), ORIGINAL), RewriteGates(), REWRITE_GATES)
    far = Candidate(
        "Love, joy and warmth are the colours that matter.", "They are red, yellow and blue.", similarity=0.3
    )
    assert failures(far, RewriteGates(), REWRITE_GATES) == ["meaning_lost"]


def test_similarity_tells_a_rewording_from_another_answer():
    from emogap.stories.gating import similarities

    original = "A loaf of bread usually bakes for about forty minutes."
    same, other = similarities(
        ["Only forty minutes, and the bread comes out of the oven, golden!", "The moon pulls at the sea every day."],
        [original, original],
    )
    assert same > 0.6 > 0.3 > other


def test_duplicates_name_what_they_repeat():
    longer = STORY + " At last they pushed off, and the water carried them out under the stars without a sound."
    texts = {
        "a": longer,
        "b": longer.upper().replace(".", " !"),
        "c": STORY + " But then the rain came, and everybody ran back to the house laughing and shouting loudly.",
        "d": "An altogether different tale about a baker who lost a spoon in the flour and found a ring there.",
    }
    assert duplicates(texts, Gates()) == {"b": ("duplicate", "a"), "c": ("duplicate_opening", "a")}


# --- real replies ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def m1(real_data) -> pd.DataFrame:
    return pd.read_parquet(real_data / "mistral_babylm" / "prompt1.parquet")


def test_no_published_story_that_apologises_passes(m1):
    """Replies that begin by asking for more context are assistant talk, all but the few that tell a story anyway."""
    asking = m1[
        m1["augmented_text"].str.match(r"I'm sorry")
        & m1["augmented_text"].str.contains(r"provide|more context|clarify|rephrase")
    ]
    caught = [quality.assistant_talk(Candidate(clean(text)[0]), Gates()) for text in asking["augmented_text"]]
    assert len(caught) > 30
    assert sum(caught) / len(caught) > 0.98


def test_apologies_in_dialogue_pass(m1):
    spoken = m1[
        m1["augmented_text"].str.contains(r"\"I'm sorry", regex=True) & ~m1["augmented_text"].str.match("I'm sorry")
    ]
    caught = [quality.assistant_talk(Candidate(clean(text)[0]), Gates()) for text in spoken["augmented_text"]]
    assert len(caught) > 100
    assert sum(caught) / len(caught) < 0.02


def test_an_arrow_is_always_a_leak(real_data):
    for method in (1, 2):
        rows = pd.read_parquet(real_data / "mistral_babylm" / f"prompt{method}.parquet")
        arrows = rows[rows["augmented_text"].str.contains("=>")]
        assert len(arrows)
        for text, context in zip(arrows["augmented_text"], arrows["text"], strict=True):
            kept, notes = clean(text, context)
            assert quality.prompt_leak(Candidate(kept, context), Gates()) or any("=>" in note for note in notes)


def test_labels_of_published_rewrites_are_taken_away(real_data):
    rewrites = json.loads((real_data / "paper_artifacts" / "emotion_alpaca_v2.json").read_text())
    labelled = [row["rewritten_output"] for row in rewrites if row["rewritten_output"].startswith("Rewritten Output:")]
    assert len(labelled) > 300
    for text in labelled:
        kept, notes = clean(text)
        assert notes and not kept.startswith("Rewritten Output:")


def test_shares_of_the_published_stories(real_data):
    """Method 2's replies end at the token limit in about one of nine cases."""
    rows = pd.read_parquet(real_data / "mistral_babylm" / "prompt2.parquet")
    cut = [read_reply(text, None, "", "reject")[2] for text in rows["augmented_text"]]
    assert 0.10 < sum(cut) / len(cut) < 0.13


def test_precision_and_recall_are_those_of_the_documentation(real_data):
    assert len(verdicts()) == 200
    table = precision_and_recall(real_data)
    assert as_markdown(table) in (ROOT / "docs" / "stories.md").read_text()
    common = table[table["judged faulty"] >= 10].set_index("gate").drop(index="meaning_lost")
    assert (common["right"] / common["found"]).min() >= 0.85
    assert (common["right"] / common["judged faulty"]).min() >= 0.8
