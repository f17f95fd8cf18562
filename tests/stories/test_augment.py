"""Stories: chunks, what is drawn for a row, resuming, retries, staleness. With a fake engine."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from fakes import use_fakes
from small_stories import SMALL, a_story, chunk, line, save_lines

from emogap.emotions import LABELS
from emogap.errors import InputError, MissingInput, UsageError
from emogap.lm.engines.engine import Reply
from emogap.store.exhibits import exhibits
from emogap.stories import augment as stories
from emogap.stories.outcomes import emotion_said, for_reading, outcome_shares, story_outcomes


@pytest.fixture
def engine(monkeypatch):
    return use_fakes(monkeypatch, a_story)


def test_chunks_hold_every_line_once_and_the_last_is_shorter(make_config, engine):
    config = make_config(*SMALL)
    save_lines(config, ["joy"] * 10)
    stories.augment(config)
    for method in ("m1", "m2", "m3"):
        sizes = [len(chunk(config, method, number)) for number in range(3)]
        assert sizes == [4, 4, 2]
        lines = [line for number in range(3) for line in chunk(config, method, number)["line_id"]]
        assert lines == [f"toy:{i}" for i in range(10)]
    assert engine.opened == 1
    assert engine.closed


def test_a_fresh_run_opens_no_engine_and_writes_nothing(make_config, engine):
    config = make_config(*SMALL)
    save_lines(config, ["joy"] * 3)
    stories.augment(config)
    before = {p: p.stat().st_mtime_ns for p in config.home.root.rglob("*") if p.is_file()}
    summary = stories.augment(config)
    assert engine.opened == 1
    assert not summary.made and len(summary.fresh) == 3
    assert {p: p.stat().st_mtime_ns for p in config.home.root.rglob("*") if p.is_file()} == before


def test_several_processes_may_share_the_chunks_and_end_with_the_same_rows(make_config, tmp_path, engine):
    whole = make_config(*SMALL)
    save_lines(whole, ["joy", "fear"] * 5)
    stories.augment(whole)
    together = {n: chunk(whole, "m2", n) for n in range(3)}
    for number in range(3):
        whole.home.chunk("m2", number).unlink()
    stories.augment(make_config(*SMALL, "augment.chunks='2'", "augment.methods=['m2']"))
    stories.augment(make_config(*SMALL, "augment.chunks='0-1'", "augment.methods=['m2']"))
    for number in range(3):
        pd.testing.assert_frame_equal(chunk(whole, "m2", number), together[number])


@pytest.mark.parametrize(("text", "numbers"), [("all", [0, 1, 2, 3]), ("0-2", [0, 1, 2]), ("3,0-1,1", [0, 1, 3])])
def test_chunk_numbers(text, numbers):
    assert stories.parse_chunks(text, 4) == numbers


@pytest.mark.parametrize("text", ["", "a", "2-1", "4", "0-4", "-1", "1;2", "0-9999999999"])
def test_bad_chunk_numbers_are_named(text):
    with pytest.raises(UsageError, match="augment.chunks = '"):
        stories.parse_chunks(text, 4)


def test_killed_between_calls_it_goes_on_from_the_journal(make_config, engine):
    settings = ("augment.lines=0", "augment.order=file", "augment.chunk_size=20", "augment.methods=['m1']",
                "writer.batch_size=1")  # fmt: skip
    config = make_config(*settings)
    save_lines(config, ["joy"] * 10)
    engine.dies_at = 2
    with pytest.raises(KeyboardInterrupt):
        stories.augment(config)
    assert not config.home.chunk("m1", 0).exists()
    journal = config.home.chunk("m1", 0).with_name("chunk_00000.partial.jsonl")
    assert len(journal.read_text().splitlines()) == 1 + 8
    engine.dies_at, engine.calls = None, []
    stories.augment(config)
    assert [len(call) for call in engine.calls] == [2]
    assert not journal.exists()
    rows = chunk(config)
    assert rows["line_id"].tolist() == [f"toy:{i}" for i in range(10)]
    assert rows["reply"].tolist() == [a_story(_Seeded(seed)) for seed in rows["seed"]]


class _Seeded:
    def __init__(self, seed: int):
        self.seed = seed


def test_a_torn_journal_makes_its_call_again_and_nothing_twice(make_config, engine):
    config = make_config(*SMALL, "augment.methods=['m1']", "augment.chunk_size=8")
    save_lines(config, ["joy"] * 8)
    engine.dies_at = 1
    with pytest.raises(KeyboardInterrupt):
        stories.augment(config)
    journal = config.home.chunk("m1", 0).with_name("chunk_00000.partial.jsonl")
    journal.write_bytes(journal.read_bytes()[:-25])
    engine.dies_at, engine.calls = None, []
    stories.augment(config)
    assert [len(call) for call in engine.calls] == [4, 4]
    assert chunk(config)["id"].is_unique and len(chunk(config)) == 8


def test_the_journal_of_a_finished_chunk_is_cleared_up_and_that_of_other_replies_stays(make_config, engine):
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 8)
    stories.augment(config)
    ours, others = (config.home.chunk("m1", n).with_name(f"chunk_0000{n}.partial.jsonl") for n in range(2))
    ours.write_text(json.dumps({"recipe": stories.story_chunks(config)[0].parts_recipe.sha256()}) + "\n")
    others.write_text('{"recipe": "other"}\n')
    stories.augment(config)
    assert not ours.exists() and others.exists()


def test_one_bad_row_does_not_stop_a_chunk(make_config, engine):
    def reply(conversation):
        if conversation.id.endswith("toy:1"):
            return Reply(conversation.id, "", 3, 0, "error", 0.0, "the prompt has 9000 tokens, the model reads 2048")
        return a_story(conversation)

    engine.reply = reply
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 4)
    stories.augment(config)
    rows = chunk(config).set_index("line_id")
    assert rows["status"].tolist() == ["kept", "rejected", "kept", "kept"]
    assert rows.loc["toy:1", "reason"] == "engine_error"
    assert "9000 tokens" in rows.loc["toy:1", "error"]


def test_a_rejected_reply_is_asked_for_again_with_a_fresh_seed(make_config, engine):
    engine.reply = lambda c: a_story(c) if c.id.endswith("~2") else "As an AI, I cannot write this."
    config = make_config(*SMALL, "augment.methods=['m1']", "augment.gates.retries=3")
    save_lines(config, ["joy"] * 2)
    stories.augment(config)
    rows = chunk(config)
    assert rows["attempt"].tolist() == [0, 1, 2, 0, 1, 2]
    assert rows["status"].tolist() == ["rejected", "rejected", "kept"] * 2
    assert rows["id"].is_unique and rows["seed"].is_unique


def test_changed_gates_check_the_same_replies_anew(make_config, engine, capsys):
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 4)
    stories.augment(config)
    assert set(chunk(config)["status"]) == {"kept"}
    old = chunk(config)["reply"].tolist()
    stricter = make_config(*SMALL, "augment.methods=['m1']", "augment.gates.min_words=500")
    capsys.readouterr()
    stories.augment(stricter)
    said = capsys.readouterr().out
    assert "augment.gates.min_words" in said and "its replies go through the gates again (the old one is kept" in said
    assert engine.opened == 1
    assert chunk(config)["reply"].tolist() == old
    assert set(chunk(config)["reason"]) == {"too_short"}


def test_a_gate_of_ones_own_is_gone_through_by_what_was_written_before_it(make_config, engine, monkeypatch):
    def shouted(candidate, bounds):
        return candidate.text.isupper()

    engine.reply = lambda conversation: a_story(conversation).upper()
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 2)
    stories.augment(config)
    assert set(chunk(config)["status"]) == {"kept"}
    monkeypatch.setattr(stories.Stories, "gates", (*stories.Stories.gates, shouted))
    assert stories.story_chunks(config)[0].freshness().reasons == ('rule gate shouted "1" → "there"',)
    stories.augment(config)
    assert set(chunk(config)["reason"]) == {"shouted"} and engine.opened == 1


def test_unsuitable_words_check_the_same_replies_anew_and_stand_in_the_notes(make_config, monkeypatch, capsys):
    engine = use_fakes(monkeypatch, lambda request: f"{a_story(request)} Damn it, what crap. Damn!")
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 2)
    stories.augment(config)
    recipe = stories.story_chunks(config)[0].recipe
    assert set(chunk(config)["status"]) == {"kept"}
    assert not [key for key in (*recipe.settings, *recipe.identities) if "unsuitable" in key], "as it always was"
    fit = make_config(*SMALL, "augment.methods=['m1']", "augment.gates.unsuitable=true")
    capsys.readouterr()
    stories.augment(fit)
    assert "augment.gates.unsuitable" in capsys.readouterr().out
    assert engine.opened == 1, "nothing is generated for it"
    assert {(row.reason, *row.notes) for row in chunk(fit).itertuples()} == {("unsuitable", "unsuitable: damn, crap")}
    piece = stories.story_chunks(fit)[0]
    assert (
        "unsuitable words" in piece.recipe.identities
        and piece.parts_recipe == stories.story_chunks(config)[0].parts_recipe
    )


def test_a_changed_template_writes_beside_the_old_rows(make_config, engine, tmp_path, capsys):
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 2)
    stories.augment(config)
    mine = tmp_path / "mine.txt"
    mine.write_text("Write about {emotion}: {context}")
    capsys.readouterr()
    stories.augment(make_config(*SMALL, "augment.methods=['m1']", f"augment.templates.m1={mine}"))
    said = capsys.readouterr().out
    assert "prompt m1" in said and "making it again (the old one is kept" in said
    assert engine.opened == 2
    kept_aside = list((config.home.chunk("m1", 0).parent / "superseded").rglob("chunk_00000.parquet"))
    assert len(kept_aside) == 1
    assert set(chunk(config)["prompt_sha"]).isdisjoint(set(pd.read_parquet(kept_aside[0])["prompt_sha"]))


def prompts(config, method: str) -> list[str]:
    """What a method asks about every line."""
    kind = stories.Stories(config)
    requests = [kind.request(one, kind.prompting(method)) for one in kind.first(27)]
    return ["\n\n".join(message["content"] for message in request.messages) for request in requests]


def test_a_template_of_ones_own(make_config, engine, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("{genre}, {character}: {emotions} / {context}")
    config = make_config(*SMALL, "augment.methods=['mine']", f"augment.templates.mine={mine}")
    save_lines(config, ["fear"] * 2)
    assert prompts(config, "mine")[0].endswith(": fear, love / " + line(0, "fear")["text"])
    stories.augment(config)
    assert chunk(config, "mine")["genre"].isin(stories.GENRES).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [("{emotion}", "{context} is missing"), ("{context}", "{emotion} or {emotions}"), ("{context} {who}", "{who}")],
)
def test_missing_and_unknown_placeholders_are_named(make_config, tmp_path, text, message):
    mine = tmp_path / "mine.txt"
    mine.write_text(text)
    config = make_config(f"augment.templates.m1={mine}")
    save_lines(config, ["joy"])
    with pytest.raises(UsageError, match=re.escape(message)):
        stories.augment(config)


def test_an_emotion_without_worked_examples_is_named_before_a_model_is_loaded(make_config, engine, tmp_path):
    examples = tmp_path / "examples.json"
    examples.write_text(json.dumps({"joy": [{"context": "c", "story": "s"}] * 2}))
    config = make_config(*SMALL, f"augment.examples={examples}")
    save_lines(config, ["joy", "fear"])
    with pytest.raises(UsageError, match="two examples of 'fear'; augment.examples has 0"):
        stories.augment(config)
    assert engine.opened == 0


def test_what_is_drawn_depends_on_the_row_alone(make_config, engine):
    config = make_config(*SMALL, "augment.methods=['m2']")
    save_lines(config, ["joy"] * 8)
    stories.augment(config)
    first = chunk(config, "m2", 1).set_index("line_id")
    stories.augment(make_config(*SMALL, "augment.methods=['m2']", "augment.chunk_size=3"))
    again = pd.concat(chunk(config, "m2", n) for n in range(3)).set_index("line_id")
    for column in ("genre", "character", "seed", "reply"):
        assert again.loc[first.index, column].tolist() == first[column].tolist()


def test_genres_and_characters_are_drawn_as_published(config):
    lines = [stories.Line(f"toy:{i}", "joy", "a line", "toy", ["joy"]) for i in range(4000)]
    kind = stories.Stories(config)
    prompting = kind.prompting("m2")
    drawn = pd.DataFrame([vars(kind.request(one, prompting).asked) for one in lines])
    for column, shares in (("genre", stories.GENRES), ("character", stories.CHARACTERS)):
        found = drawn[column].value_counts(normalize=True)
        assert found.to_dict() == {name: pytest.approx(share, abs=0.03) for name, share in shares.items()}


def test_lines_in_turn_hold_every_emotion_equally_often_at_any_length():
    emotions = ["joy"] * 50 + ["fear"] * 5 + ["pride"] * 20
    lines = stories.in_turn(pd.DataFrame([line(i, e) for i, e in enumerate(emotions)]), run_seed=3)
    assert sorted(lines["id"]) == sorted(f"toy:{i}" for i in range(75))
    assert lines.head(15)["emotion"].value_counts().to_dict() == {"joy": 5, "fear": 5, "pride": 5}
    assert lines.head(25)["emotion"].value_counts().to_dict() == {"joy": 10, "fear": 5, "pride": 10}


def test_the_shipped_prompts_serve_every_emotion(make_config):
    config = make_config("augment.lines=0")
    save_lines(config, [label for label in LABELS if label != "neutral"])
    for method in ("m1", "m2", "m3"):
        texts = prompts(config, method)
        assert len(set(texts)) == 27
        assert all("{" not in text for text in texts)


def test_missing_and_empty_input(config, engine, capsys):
    with pytest.raises(MissingInput, match="process_pretrain_data"):
        stories.augment_pieces(config)
    save_lines(config, [])
    assert all(piece.is_drawing for piece in stories.augment_pieces(config)) and stories.read_stories(config).empty
    assert stories.augment(config).made == []
    assert (
        capsys.readouterr().out
        == "nothing to write about: no line is emotional; give more text or lower process.threshold\n"
    )


def test_shares_per_method_and_reason_are_saved_and_drawn(make_config, engine, capsys):
    engine.reply = lambda c: "Too short." if c.id in ("m1/toy:0", "m3/toy:1") else a_story(c)
    config = make_config(*SMALL)
    save_lines(config, ["joy"] * 4)
    stories.augment(config)
    assert "m1: kept 3 (75%), too_short 1 (25%)" in capsys.readouterr().out
    shown = exhibits(config.home.root / "babylm_augment")
    assert [(e.name, e.kind) for e in shown] == [("story_outcomes", "table"), ("story_outcomes", "figure")]
    assert (
        "kept: m1 3 of 4, m2 4 of 4, m3 3 of 4. The emotion asked for is found (score 0.5 or more) in 10 of 10 kept"
        in (shown[0].caption)
    )


def test_a_damaged_chunk_is_named_where_outcomes_are_counted(config):
    chunk = config.home.chunk("m1", 0)
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"no table")
    with pytest.raises(InputError, match=r"chunk_00000.parquet cannot be read as Parquet .*; delete it and rerun"):
        story_outcomes(config.home)


@pytest.mark.parametrize(
    ("scores", "said"),
    [  # Wilson's intervals, by hand: 1 of 16 is 1.1 % to 28.3 %, 8 of 16 is 28 % to 72 %, 3 of 3 is 43.9 % to 100 %
        ([0.9] + [0.01] * 15, "found (score 0.5 or more) in 1 of 16 kept stories (95 % interval 1% to 28%); the "
         "median score is 0.01. By that measure most lack it, and training on them can hardly show what "
         "the emotion does."),
        ([0.9] * 8 + [0.1] * 8, "in 8 of 16 kept stories (95 % interval 28% to 72%); the median score is 0.5."),
        ([0.5] * 3, "in 3 of 3 kept stories (95 % interval 44% to 100%); the median score is 0.5."),
        ([], "No emotion was measured: none of the stories was kept."),
    ],
)  # fmt: skip
def test_what_the_stories_can_show_is_said_by_their_number_and_the_interval(scores, said):
    rows = pd.DataFrame({"status": "kept", "emotion_score": np.array(scores, dtype=np.float32)})
    rejected = pd.DataFrame({"status": ["rejected"] * 3, "emotion_score": [0.9] * 3})
    assert emotion_said(pd.concat([rows, rejected]), "stories").endswith(said)


def test_rows_for_reading_tell_the_kept_text_and_the_raw_reply_apart(make_config, engine):
    engine.reply = lambda c: "Too short." if c.id.endswith("1") else f"Title: A day\n\n{a_story(c)}"
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 2)
    stories.augment(config)
    read = for_reading(stories.read_stories(config))
    assert list(read.columns) == ["method", "emotion", "line", "text", "raw reply", "score", "reason", "notes"]
    kept, short = read.iloc[0], read.iloc[1]
    assert kept["raw reply"] == f"Title: A day\n\n{kept['text']}" and kept["reason"] == "" and kept["notes"]
    assert (short["text"], short["raw reply"], short["reason"]) == ("Too short.", "(the same)", "too_short")


def test_the_figure_comes_from_its_table_and_its_title_counts_it():
    table = pd.DataFrame(
        {"method": ["a", "a", "b"], "outcome": ["kept", "empty", "kept"], "rows": [3, 1, 2], "share": [0.75, 0.25, 1.0]}
    )
    assert outcome_shares(table, "method", "stories").axes[0].get_title("left") == "5 of 6 stories pass all gates"
    only = outcome_shares(table[table["method"] == "a"], "method", "stories")
    assert [label.get_text() for label in only.axes[0].get_yticklabels()] == ["a (4 stories)"]
    assert "no stories yet" in outcome_shares(table[:0], "method", "stories").texts[0].get_text()
