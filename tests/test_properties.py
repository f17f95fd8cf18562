"""Properties that hold for any input: cleaning, reading of replies, gates, splits, blocks, masks, statistics, counts,
settings. What is drawn is small and nasty: odd white space, quotation marks, marks of prompts, empty texts.
"""

import json
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from emogap.answers.sentiment import asked_and_found, change_table, read_counts, sentiment_table
from emogap.babylm import raw
from emogap.babylm.clean import Report, SeenKeys, clean, count_words
from emogap.config import Config, Gates, Process, RewriteGates, load_config
from emogap.corpus.composition import TRAIN, VALIDATION, Pool, seeded_order, split, take
from emogap.emotions import GROUPINGS, LABELS, REWRITE_EMOTIONS, group_of
from emogap.errors import InputError, UsageError
from emogap.records import row_seed
from emogap.stories.augment import parse_chunks
from emogap.stories.gates import (
    REWRITE_GATES,
    STORY_GATES,
    Candidate,
    copied_context,
    duplicates,
    failures,
    lost,
    sentences,
    too_long,
    too_short,
    trim_to_sentence,
)
from emogap.stories.gates import clean as clean_reply
from emogap.stories.gating import read_reply
from emogap.stories.rewrite import wanted_emotions
from emogap.text.near_duplicates import contained_share, normalised
from emogap.text.statistics import (
    holm,
    mean_share_interval,
    paired_interval,
    paired_p,
    share_interval,
    wilson_interval,
)  # fmt: skip
from emogap.text.templates import parse_template
from emogap.train.models import TUNED, Comparison
from emogap.train.rows import IGNORED, block_rows, cut, encode, show_mask
from emogap.train.sft import held_out
from tools.benchmarks.clean import plain_loop

EVERY = settings(
    max_examples=30, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
"""The same cases in every run, so that a failure is the change's and not the day's."""
FEW = settings(EVERY, max_examples=8)

WORD = st.text("abcdeé", min_size=1, max_size=6)
PIECE = st.one_of(
    WORD,
    st.sampled_from(
        [
            " ",
            "  ",
            "\t",
            "\u00a0",
            "\u2003",
            "\x0b",
            "\x1c",
            "\u2028",
            "\x85",
            ".",
            ",",
            "!",
            "?",
            ";",
            ":",
            "...",
            "🙂",
        ]
    ),
)
LINE = st.lists(PIECE, max_size=25).map("".join)
LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
RULES = st.builds(
    Process,
    tabs=st.sampled_from(["space", "remove"]),
    space_before_punctuation=st.sampled_from(["remove", "keep"]),
    strip=st.booleans(),
    min_words=st.integers(0, 4),
    duplicates=st.sampled_from(["exact", "near", "keep"]),
    max_line_bytes=st.sampled_from([20, 1_000_000]),
)
WORDS_OF_STORIES = [
    "the",
    "old",
    "dog",
    "ran",
    "over",
    "a",
    "hill",
    "and",
    "he",
    "saw",
    "three",
    "birds",
    "in",
    "12",
    "trees",
]
SENTENCE = st.lists(st.sampled_from(WORDS_OF_STORIES), min_size=1, max_size=9).map(
    lambda words: " ".join(words).capitalize() + "."
)
REPLY = st.lists(
    st.one_of(
        SENTENCE,
        st.sampled_from(
            [
                "Story:", "**Joy:**", "Relief and joy =>", "Title: A day\n", "# Head\n", "**Bold**\n", '"', "“", "”",
                "\n", " ", "The context line.", "[INST]", "{context}", "As an AI, I cannot.", "https://a.b", "*",
                "Rewritten answer: ",
            ]
        ),
        st.text(max_size=8),
    ),
    max_size=10,
).map(" ".join)  # fmt: skip
"""Replies of a model as they are at their worst."""


# --- cleaning --------------------------------------------------------------------------------------------------------


def cleaned(path: Path, content: str | bytes, rules: Process, **options) -> tuple[list[tuple[int, str]], Report]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    reports: list[Report] = []
    kept = [
        (int(number), text)
        for part in clean([raw.Source("s", path)], rules.model_copy(update=options), reports)
        for number, text in zip(part.numbers, part.texts.to_list(), strict=True)
    ]
    return kept, reports[0]


@EVERY
@given(lines=st.lists(st.tuples(LINE, LINE_ENDS), max_size=12), rules=RULES, block=st.integers(1, 60))
def test_cleaning_is_a_plain_loop_whatever_the_blocks(tmp_path, lines, rules, block):
    path = tmp_path / "a.train"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "BLOCK_BYTES", block)
        kept, report = cleaned(path, "".join(line + end for line, end in lines), rules, workers=2)
    assert kept == list(plain_loop(path, rules))
    assert report.lines == report.kept + sum(report.dropped.values())
    assert report.kept == len(kept)
    assert report.words == sum(len(text.split()) for _, text in kept)


@EVERY
@given(lines=st.lists(LINE, max_size=12), rules=RULES)
def test_what_is_clean_stays_as_it_is(tmp_path, lines, rules):
    once = [text for _, text in cleaned(tmp_path / "a.train", "\n".join(lines), rules)[0]]
    again, report = cleaned(tmp_path / "b.train", "".join(f"{text}\n" for text in once), rules)
    assert [text for _, text in again] == once
    assert sum(report.dropped.values()) == 0


@EVERY
@given(content=st.binary(max_size=200), rules=RULES)
def test_any_bytes_are_read_and_every_line_is_accounted_for(tmp_path, content, rules):
    kept, report = cleaned(tmp_path / "a.train", content, rules)
    assert report.lines == report.kept + sum(report.dropped.values())
    assert [number for number, _ in kept] == sorted({number for number, _ in kept})
    assert all(1 <= number <= report.lines and "\n" not in text and "\0" not in text for number, text in kept)
    assert all(len(text.split()) > rules.min_words for _, text in kept)
    if "\ufffd" not in content.decode("utf-8", errors="ignore"):
        assert sum(text.count("\ufffd") for _, text in kept) <= report.odd["bad_bytes"]


@EVERY
@given(texts=st.lists(LINE.map(lambda line: line.replace("\x1c", " "))))  # cleaning has replaced it
def test_words_are_those_of_split(texts):
    assert count_words(pl.Series(texts, dtype=pl.String)).tolist() == [len(text.split()) for text in texts]


@EVERY
@given(batches=st.lists(st.lists(st.integers(0, 30), max_size=20), max_size=10))
def test_seen_keys_let_each_through_once(batches):
    seen, passed = SeenKeys(), Counter()
    for batch in batches:
        keys = np.array(batch, dtype=np.uint64)
        passed.update(keys[seen.add(keys)].tolist())
    assert passed == dict.fromkeys({key for batch in batches for key in batch}, 1)


# --- replies ---------------------------------------------------------------------------------------------------------


@EVERY
@given(reply=REPLY, context=st.sampled_from(["", "The context line."]))
def test_reading_takes_from_the_outside_alone_and_comes_to_an_end(reply, context):
    text, notes = clean_reply(reply, context)
    assert text in reply and text == text.strip()
    assert bool(notes) == (text != reply.strip())
    assert clean_reply(text, context) == (text, [])


@EVERY
@given(reply=REPLY, finish=st.sampled_from(["stop", "length", None]), truncated=st.sampled_from(["reject", "trim"]))
def test_a_cut_reply_is_trimmed_to_a_sentence_or_says_that_it_is_cut(reply, finish, truncated):
    whole, _ = clean_reply(reply)
    text, notes, cut_off = read_reply(reply, finish, "", truncated)
    assert whole.startswith(text)
    if text != whole:
        assert truncated == "trim" and finish != "stop" and not cut_off
        assert text == trim_to_sentence(whole) and notes[-1].startswith("trimmed")
    if finish == "length" and truncated == "reject":
        assert cut_off
    if finish == "stop":
        assert not cut_off


@EVERY
@given(text=REPLY)
def test_sentences_lose_no_word(text):
    assert all(sentence == sentence.strip() != "" for sentence in sentences(text))
    assert [c for s in sentences(text) for c in s if c.isalnum()] == [c for c in text if c.isalnum()]
    ending = trim_to_sentence(text)
    assert text.startswith(ending) and trim_to_sentence(ending) == ending


@EVERY
@given(
    text=REPLY, context=REPLY, prompt=REPLY, cut_off=st.booleans(),
    score=st.none() | st.floats(0, 1), similarity=st.none() | st.floats(0, 1),
)  # fmt: skip
def test_gates_read_any_reply_and_name_each_reason_once(text, context, prompt, cut_off, score, similarity):
    candidate = Candidate(text, context, prompt, cut_off, score, similarity)
    for bounds, gates in ((Gates(), STORY_GATES), (RewriteGates(), REWRITE_GATES)):
        reasons = failures(candidate, bounds, gates)
        assert reasons == list(dict.fromkeys(reasons)) == failures(candidate, bounds, gates)
        assert set(reasons) <= {gate.__name__ for gate in gates}
        assert (reasons == ["empty"]) == (not normalised(text))
        if cut_off and normalised(text):
            assert "truncated" in reasons


@EVERY
@given(text=REPLY, context=REPLY, low=st.integers(0, 20), more=st.integers(0, 20), share=st.floats(0, 1))
def test_a_laxer_bound_rejects_no_more(text, context, low, more, share):
    candidate = Candidate(text, context)
    strict, lax = Gates(min_words=low + more, max_words=low + 1), Gates(min_words=low, max_words=low + 1 + more)
    assert too_short(candidate, strict) or not too_short(candidate, lax)
    assert too_long(candidate, strict) or not too_long(candidate, lax)
    assert copied_context(candidate, Gates(max_copied_share=share)) or not copied_context(
        candidate, Gates(max_copied_share=min(1, share + 0.3))
    )
    assert not copied_context(candidate, Gates(max_copied_share=1))


@EVERY
@given(text=REPLY, other=REPLY)
@example("12.", "How lovely!")  # not the number of an item in a list
def test_nothing_is_lost_in_the_text_itself(text, other):
    assert lost(text, text) == set()
    assert lost(text, f"{text} {other}") == set()
    assert 0 <= contained_share(text, other) <= 1
    assert contained_share(text, text) == bool(normalised(text))


@FEW
@given(texts=st.lists(SENTENCE, max_size=8), copies=st.lists(st.integers(0, 7), max_size=4))
def test_repeats_point_at_an_earlier_text_that_stays(texts, copies):
    texts = texts + [texts[i].upper() for i in copies if i < len(texts)]
    named = {f"t{i:02d}": text for i, text in enumerate(texts)}
    found = duplicates(named, Gates(opening_words=6))
    assert all(earlier < identifier and earlier not in found for identifier, (_, earlier) in found.items())
    left = [normalised(text) for identifier, text in named.items() if identifier not in found]
    assert len(left) == len(set(left))


# --- templates -------------------------------------------------------------------------------------------------------


@EVERY
@given(value=st.text(), text=st.text(string.ascii_letters + "{}[].!:_ ", max_size=30))
@example("{what.__class__}", "{what}")
@example("[[assistant]]\n{{what}}", "a {what} b {{what}}")
def test_a_template_puts_values_in_as_they_are_or_is_refused(value, text):
    try:
        template = parse_template(text, "t", {"what"})
    except UsageError:
        return
    mark = "\x00"
    assert template.fill(what=value) == template.fill(what=mark).replace(mark, value)


# --- what is drawn, what is held out ---------------------------------------------------------------------------------

CATALOGUE = st.lists(
    st.tuples(st.sampled_from(["story", "factual"]), st.sampled_from("ab"), st.integers(0, 6), st.integers(1, 9)),
    min_size=1, max_size=25,
).map(
    lambda rows: pd.DataFrame(
        {"id": [f"d{i}" for i in range(len(rows))], "kind": [r[0] for r in rows], "source": [r[1] for r in rows],
         "method": "m1", "emotion": "joy", "group": [r[2] + 10 * (r[0] == "story") for r in rows],
         "words": [r[3] for r in rows]}
    )
)  # fmt: skip


@EVERY
@given(catalogue=CATALOGUE, share=st.floats(0, 0.99), seed=st.integers(0, 9))
def test_a_source_line_is_on_one_side(catalogue, share, seed):
    sides = split(catalogue, share, seed)
    assert set(sides) <= {TRAIN, VALIDATION}
    assert catalogue.assign(side=sides).groupby("group")["side"].nunique().max() == 1
    groups = catalogue["group"].nunique()
    held = catalogue.loc[sides == VALIDATION, "group"].nunique()
    assert abs(held - share * groups) <= 0.5 + 1e-9
    assert (split(catalogue.assign(words=1), share, seed) == sides).all()


@EVERY
@given(catalogue=CATALOGUE, budget=st.integers(1, 120), share=st.floats(0, 1), seed=st.integers(0, 9))
def test_a_budget_is_never_passed_and_nothing_left_out_would_fit(catalogue, budget, share, seed):
    pool = Pool("source", "a", share, catalogue["source"].eq("a").to_numpy())
    order = seeded_order(catalogue, seed)
    assert sorted(order) == list(range(len(catalogue)))
    taken = take(catalogue, order, budget, [pool])
    words = catalogue["words"].to_numpy()
    assert len(set(taken)) == len(taken)
    assert words[taken].sum() <= budget
    of_pool = words[taken][pool.members[taken]].sum()
    assert of_pool <= share * budget + 1e-5
    for position in set(range(len(catalogue))) - set(taken.tolist()):
        full = words[taken].sum() + words[position] > budget
        assert full or (pool.members[position] and of_pool + words[position] > share * budget)


@EVERY
@given(
    ids=st.lists(st.integers(0, 40), min_size=1), share=st.floats(0, 1), more=st.floats(0, 1), seed=st.integers(0, 9)
)
def test_held_out_instructions_are_drawn_one_by_one(ids, share, more, seed):
    ids = pd.Series([f"r{i}" for i in ids])
    held = held_out(ids, share, seed)
    assert held and held <= set(ids)
    assert held == held_out(ids.iloc[::-1], share, seed) <= held_out(ids, max(share, more), seed)
    rest = {row for row in ids if row_seed(seed, row, "sft validation") / 2**63 < share}
    assert held == rest or (not rest and len(held) == 1)


@EVERY
@given(count=st.integers(0, 60), seed=st.integers(0, 99))
def test_wanted_emotions_are_even_and_those_of_a_smaller_selection_stay(count, seed):
    wanted = wanted_emotions(count, REWRITE_EMOTIONS, seed)
    counts = Counter(wanted)
    assert len(wanted) == count
    assert max(counts.values(), default=0) - min((counts[e] for e in REWRITE_EMOTIONS), default=0) <= 1
    assert wanted[: count // 2] == wanted_emotions(count // 2, REWRITE_EMOTIONS, seed)


@EVERY
@given(seed=st.integers(0, 2**40), row=st.text(), purpose=st.text())
def test_a_rows_seed_fits_and_is_its_own(seed, row, purpose):
    assert 0 <= row_seed(seed, row, purpose) < 2**63
    assert row_seed(seed, row, purpose) not in (row_seed(seed + 1, row, purpose), row_seed(seed, row + "x", purpose))


@EVERY
@given(numbers=st.sets(st.integers(0, 30), min_size=1))
def test_chunk_numbers_are_those_that_were_said(numbers):
    assert parse_chunks(",".join(map(str, numbers)), 31) == sorted(numbers)
    assert parse_chunks(f"{min(numbers)}-{max(numbers)}", 31) == list(range(min(numbers), max(numbers) + 1))


# --- blocks and masks ------------------------------------------------------------------------------------------------


@EVERY
@given(documents=st.lists(st.lists(st.integers(0, 99), max_size=12), max_size=10), length=st.integers(2, 9))
def test_no_token_is_lost_but_the_last_remainder_and_positions_begin_anew(documents, length):
    tokens = [token for document in documents for token in document]
    if len(tokens) < 2:
        with pytest.raises(InputError, match="no text"):
            cut(documents, length, "it")
        return
    blocks = cut(documents, length, "it")
    assert blocks.ids.shape == blocks.positions.shape
    assert blocks.ids.shape[1] == min(length, len(tokens)) > blocks.dropped
    assert blocks.ids.ravel().tolist() == tokens[: blocks.ids.size] and blocks.ids.size + blocks.dropped == len(tokens)
    starts = {0, *np.cumsum([len(document) for document in documents]).tolist()}
    starts |= set(range(0, blocks.ids.size, blocks.ids.shape[1]))
    places = blocks.positions.ravel()
    assert {int(place) for place in np.flatnonzero(places == 0)} == {s for s in starts if s < blocks.ids.size}
    assert all(places[i] in (0, places[i - 1] + 1) for i in range(1, len(places)))
    labels = np.stack([row["labels"] for row in block_rows(blocks, closed=True)])
    unlearnt = labels == IGNORED
    assert (unlearnt == (blocks.positions == 0)).all()
    assert (labels[~unlearnt] == blocks.ids[~unlearnt]).all()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from tiny_models import save_tiny_gpt2
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(save_tiny_gpt2(tmp_path_factory.mktemp("tiny") / "tiny"))


@EVERY
@given(
    rows=st.lists(st.tuples(REPLY, st.sampled_from(["", "softly"]), REPLY), min_size=1, max_size=3),
    max_length=st.integers(8, 400), loss_on=st.sampled_from(["response", "all"]),
)  # fmt: skip
def test_masks_cover_the_question_and_nothing_of_the_answer(tokenizer, rows, max_length, loss_on):
    from emogap.lm.answer_form import load_answer_form

    form = load_answer_form("prompts/answer/sft.txt")
    table = pd.DataFrame(rows, columns=["instruction", "input", "output"]).assign(id="r")
    for row, (instruction, more, output) in zip(encode(table, form, tokenizer, max_length, loss_on), rows, strict=True):
        question, ids = form.question_ids(tokenizer, instruction, more), row["input_ids"]
        assert len(ids) == len(row["labels"]) <= max_length
        assert all(label in (-100, token) for label, token in zip(row["labels"], ids, strict=True))
        hidden = min(len(question), len(ids)) if loss_on == "response" else 1  # nothing precedes the first token
        assert row["labels"] == [-100] * hidden + ids[hidden:]
        assert ids[: len(question)] == question[: len(ids)]
        if row["truncated"]:
            assert len(ids) == max_length
        else:
            assert ids[-1] == tokenizer.eos_token_id
            answer = tokenizer.decode(ids[len(question) : -1], clean_up_tokenization_spaces=False)
            assert answer == f" {output.strip()}"
        assert show_mask(row, tokenizer).count("⟦") - tokenizer.decode(ids).count("⟦") == (hidden < len(ids))


# --- statistics ------------------------------------------------------------------------------------------------------

P = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@EVERY
@given(p=P, seed=st.integers(0, 9))
def test_corrected_p_values_grow_keep_their_order_and_follow_their_places(p, seed):
    corrected = holm(p)
    assert (corrected >= np.asarray(p) - 1e-12).all() and (
        corrected <= np.minimum(1, len(p) * np.asarray(p)) + 1e-12
    ).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()
    order = np.random.default_rng(seed).permutation(len(p))
    assert holm(np.asarray(p)[order]) == pytest.approx(corrected[order])


@EVERY
@given(trials=st.integers(1, 500), share=st.floats(0, 1))
def test_a_share_lies_in_its_interval_and_the_interval_mirrors(trials, share):
    successes = round(share * trials)
    low, high = wilson_interval(successes, trials)
    assert -1e-12 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1 + 1e-12
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low))
    wider = wilson_interval(successes, trials)
    narrower = wilson_interval(4 * successes, 4 * trials)
    assert narrower[1] - narrower[0] < wider[1] - wider[0]


MODEL = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=15)


@FEW
@given(rows=MODEL, seeds=st.integers(1, 3))
def test_the_interval_of_a_share_holds_it_lies_between_0_and_1_and_mirrors(rows, seeds):
    values = np.array(rows, float)[:, :seeds, None] / 4
    low, high = share_interval(values)
    if len(rows) < 2:
        assert np.isnan([low, high]).all()
        return
    assert 0 <= low <= values.mean() + 1e-9 and values.mean() - 1e-9 <= high <= 1
    assert high - low > 0.05
    assert share_interval(1 - values) == pytest.approx((1 - high, 1 - low))
    both = mean_share_interval([values, values])
    assert 0 <= both[0] <= values.mean() + 1e-9 and values.mean() - 1e-9 <= both[1] <= 1


@FEW
@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=15), yes_no=st.booleans())
def test_a_paired_test_and_its_interval_are_the_same_from_either_side(pairs, yes_no):
    before, after = np.array(pairs, dtype=float).T[:, :, None, None] / 4
    if yes_no:
        before, after = (before > 0.5).astype(float), (after > 0.5).astype(float)
    p = paired_p(after, before)
    assert 0 < p <= 1
    assert paired_p(before, before) == 1
    assert paired_p(before, after) == pytest.approx(p)
    low, high = paired_interval(after, before)
    assert paired_interval(before, after) == pytest.approx((-high, -low), nan_ok=True)
    if len(pairs) > 1:
        change = (after - before).mean()
        assert -1 <= low <= change <= high <= 1 and high - low > 0.05


# --- counts to tables ------------------------------------------------------------------------------------------------

COUNTS = st.dictionaries(
    st.tuples(st.sampled_from(["base", "tuned"]), st.sampled_from(LABELS[:6]), st.sampled_from(LABELS[3:9])),
    st.integers(0, 6), min_size=1, max_size=12,
).filter(lambda counts: sum(counts.values()))  # fmt: skip


def save_counts(folder: Path, counts: dict) -> Path:
    rows = [(*key, count) for key, count in counts.items()]
    path = folder / "counts.csv"
    pd.DataFrame(rows, columns=["model", "instruction_emotion", "response_emotion", "count"]).to_csv(path, index=False)
    return path


@FEW
@given(counts=COUNTS, grouping=st.sampled_from(sorted(GROUPINGS)))
def test_tables_of_counts_add_up_to_them(tmp_path, counts, grouping):
    answers = read_counts(save_counts(tmp_path, counts), grouping)
    found = answers.groupby(["model", "instruction_emotion", "response_emotion"]).size().to_dict()
    assert found == {key: count for key, count in counts.items() if count}
    groups = list(GROUPINGS[grouping])
    for by in ("group", "emotion", "all"):
        table = sentiment_table(answers, by, grouping)
        for model, part in table.groupby("model"):
            assert part["n"].sum() == sum(count for key, count in counts.items() if key[0] == model)
        assert (table[[f"{group}_count" for group in groups]].sum(axis=1) == table["n"]).all()
        assert table[groups].sum(axis=1).to_numpy() == pytest.approx(100, abs=0.03)
        for group in groups:
            wanted = Counter(
                {m: sum(c for key, c in counts.items() if key[0] == m and group_of(key[2], grouping) == group)
                 for m in table["model"].unique()}
            )  # fmt: skip
            assert +Counter(table.groupby("model")[f"{group}_count"].sum().to_dict()) == +wanted
            bounds = table[[f"{group}_low", group, f"{group}_high"]].dropna()
            assert (
                (bounds.iloc[:, 0] <= bounds.iloc[:, 1] + 0.01) & (bounds.iloc[:, 1] <= bounds.iloc[:, 2] + 0.01)
            ).all()
    pairs = asked_and_found(answers).set_index(["model", "asked", "found"])["count"]
    assert {key: count for key, count in pairs.items() if count} == found


@FEW
@given(counts=COUNTS, data=st.data())
def test_a_count_that_is_none_is_refused(tmp_path, counts, data):
    path = save_counts(tmp_path, counts)
    lines = path.read_text().splitlines()
    place = data.draw(st.integers(1, len(lines) - 1))
    wrong = data.draw(st.sampled_from(["-1", "1.5", "many", "", "nan", "inf"]))
    lines[place] = f"{lines[place].rsplit(',', 1)[0]},{wrong}"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=f"line {place + 1}"):
        read_counts(path)


@FEW
@given(answers=st.lists(st.tuples(st.sampled_from(LABELS[:4]), st.sampled_from(LABELS)), min_size=1, max_size=12))
def test_a_model_against_itself_has_not_changed(answers):
    asked, found = zip(*answers, strict=True)
    rows = pd.DataFrame({"instruction_emotion": asked, "response_emotion": found, "prompt_id": range(len(answers))})
    both = pd.concat([rows.assign(model="base"), rows.assign(model="tuned")])
    table = change_table(both, [Comparison("tuned", "base", TUNED)], "group")
    assert len(table) and (table["change"] == 0).all() and (table[["p", "p_holm"]] == 1).all(axis=None)


# --- settings --------------------------------------------------------------------------------------------------------


def plain_settings(model, prefix: str = "") -> list[tuple[str, type]]:
    """Dotted key and type of every setting that is one number, one truth or one text."""
    from pydantic import BaseModel

    found = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += plain_settings(field.annotation, f"{key}.")
        elif field.annotation in (int, float, bool, str) and key != "profile":
            found.append((key, field.annotation))
    return found


VALUES = {
    int: st.integers(-3, 300),
    float: st.one_of(st.integers(-3, 300), st.floats(allow_nan=True, allow_infinity=True)),
    bool: st.booleans(),
    str: st.text(max_size=12),
}
SETTING = st.sampled_from(plain_settings(Config)).flatmap(lambda found: st.tuples(st.just(found[0]), VALUES[found[1]]))


def reached(config: Config, key: str):
    value = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


@EVERY
@given(chosen=st.lists(SETTING, min_size=1, max_size=4, unique_by=lambda pair: pair[0]))
def test_settings_are_taken_as_given_or_refused_by_name(tmp_path, chosen):
    try:
        config = load_config("embedded", tmp_path, dict(chosen))
    except UsageError as error:
        assert "\n" not in str(error) and any(key.partition(".")[0] in str(error) for key, _ in chosen)
        return
    for key, value in chosen:
        assert reached(config, key) == value
    assert Config.model_validate(json.loads(config.model_dump_json())).model_dump() == config.model_dump()


@EVERY
@given(key=st.text(max_size=20), value=st.text(max_size=20))
@example("", "1")
@example("seed", "0\nprofile = 'x'")
@example("..", "")
@example("augment", "{}")
@example("augment.gates.min_words.more", "1")
def test_any_text_behind_set_is_a_setting_or_one_line(tmp_path, key, value):
    try:
        load_config("embedded", tmp_path, [f"{key}={value}"])
    except UsageError as error:
        assert "\n" not in str(error)


@EVERY
@given(number=st.integers(0, 10**6), text=st.text(string.ascii_letters + " ='\"\\", max_size=10))
def test_values_behind_set_are_toml_or_plain_text(tmp_path, number, text):
    config = load_config("embedded", tmp_path, [f"seed={number}", f"respond.prompts={json.dumps(text)}"])
    assert (config.seed, config.respond.prompts) == (number, text)
    assume(text.strip() == text and text[:1].isalpha() and text not in ("true", "false", "inf", "nan"))
    assert load_config("embedded", tmp_path, [f"respond.prompts={text}"]).respond.prompts == text
