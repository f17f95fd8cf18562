"""Previews: the same lines and seeds for every prompt, and nothing written twice, in a preview or in bulk."""

import json

import numpy as np
import pandas as pd
import pytest
from fakes import reworded, use_fakes
from small_stories import SMALL, a_story, chunk, save_lines

from emogap.config import Sampling, load_config
from emogap.emotions import INDEX
from emogap.errors import MissingInput, UsageError
from emogap.lm.engines.engine import Reply
from emogap.records import REWRITES, read_rows
from emogap.store.parts import Rows
from emogap.stories import augment as stories
from emogap.stories import gating
from emogap.stories import rewrite as rewrites
from emogap.trial import preview
from emogap.trial.bulk import add_method

preview, readable = preview.preview, preview.readable
MINE = "Tell me of {emotion}, {character}: {context}"


@pytest.fixture
def engine(monkeypatch):
    return use_fakes(monkeypatch, a_story)


def asked(engine) -> list[str]:
    """Ids of all conversations so far, call after call."""
    return [identifier for call in engine.calls for identifier in call]


def test_one_row_a_line_and_method_with_the_same_seeds_for_all(make_config, engine):
    config = make_config(*SMALL)
    save_lines(config, ["joy", "fear"] * 4)
    table = preview(config, n=2)
    assert table["method"].tolist() == ["m1", "m2", "m3"] * 2
    assert table["line_id"].tolist() == ["toy:0"] * 3 + ["toy:1"] * 3
    assert table["emotion"].tolist() == ["joy"] * 3 + ["fear"] * 3
    assert table.groupby("line_id")["reply"].nunique().tolist() == [1, 1], "the fake's reply depends on the seed alone"
    assert table["reply"].nunique() == 2
    assert set(table["verdict"]) == {"kept"} and set(table["words"]) == {54}
    assert set(table.columns) == {"method", "line_id", "emotion", "line", "text", "reply", "verdict", "score", "found",
                                  "words", "seconds", "notes"}  # fmt: skip


def test_previewed_rows_are_not_generated_again_in_bulk(make_config, engine):
    config = make_config(*SMALL)
    save_lines(config, ["joy"] * 6)
    seen = preview(config, n=3, methods=["m1", "m3"]).set_index(["method", "line_id"])["reply"]
    assert sorted(asked(engine)) == sorted(f"{m}/toy:{i}" for m in ("m1", "m3") for i in range(3))
    stories.augment(config)
    every = asked(engine)
    assert len(every) == len(set(every)) == 18, "each line of each method exactly once, previews included"
    assert engine.opened == 1, "the model that the preview loaded is used"
    for (method, line), reply in seen.items():
        rows = pd.concat(chunk(config, method, n) for n in (0, 1)).set_index("line_id")
        assert rows.loc[line, "reply"] == reply


def test_bulk_rows_are_equal_with_and_without_a_preview_before(make_config, tmp_path, engine):
    config = make_config(*SMALL)
    save_lines(config, ["joy"] * 6)
    stories.augment(config)
    without = chunk(config)
    for file in config.home.stories.rglob("*.parquet*"):
        file.unlink()
    preview(config, n=3)
    stories.augment(config)
    pd.testing.assert_frame_equal(chunk(config), without)


def test_a_bulk_run_killed_after_a_preview_still_writes_nothing_twice(make_config, engine):
    config = make_config(*SMALL, "augment.methods=['m1']", "augment.chunk_size=20")
    save_lines(config, ["joy"] * 10)
    preview(config, n=2)
    engine.dies_at = 2
    with pytest.raises(KeyboardInterrupt):
        stories.augment(config)
    assert [len(call) for call in engine.calls] == [2, 2]
    engine.dies_at = None
    preview(config, lines=["toy:9"])
    stories.augment(config)
    assert sorted(asked(engine)) == sorted(f"m1/toy:{i}" for i in range(10))
    assert chunk(config)["line_id"].tolist() == [f"toy:{i}" for i in range(10)]


def test_a_second_look_asks_nothing_and_another_sampling_asks_again(make_config, engine):
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 2)
    first = preview(config, n=2)
    pd.testing.assert_frame_equal(preview(config, n=2), first)
    assert len(asked(engine)) == 2
    preview(config, n=2, sampling={"temperature": 1.2})
    preview(config, n=2, sampling="published-stories")
    preview(config, n=2, sampling=Sampling(**config.augment.sampling.model_dump()))
    assert len(asked(engine)) == 6


def test_a_template_tried_as_text_is_there_when_it_becomes_a_method(make_config, tmp_path, engine):
    config = make_config(*SMALL)
    save_lines(config, ["joy"] * 4)
    table = preview(config, n=2, template=MINE)
    assert set(table["method"]) == {"template"}
    file = tmp_path / "mine.txt"
    file.write_text(MINE)
    assert set(preview(config, n=2, template=file)["method"]) == {"mine"}
    assert len(asked(engine)) == 2
    stories.augment(make_config(*SMALL, "augment.methods=['mine']", f"augment.templates.mine={file}"))
    assert len(asked(engine)) == 4
    drawn = chunk(config, "mine").set_index("line_id")["character"]
    ours = stories.Stories(config)
    other = [ours.request(one, ours.prompting("m2")) for one in ours.first(4)]
    assert drawn.tolist() == [request.asked.character for request in other], (
        "two prompts draw the same for the same line"
    )


def test_lines_of_ones_own(make_config, engine, monkeypatch):
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 2)
    table = preview(config, lines=["toy:1", {"text": "the cat is gone", "emotion": "grief"}])
    assert table["line"].tolist()[1] == "the cat is gone" and table["emotion"].tolist() == ["joy", "grief"]

    class Finds:
        def scores(self, texts, **_):
            scores = np.full((len(texts), 28), 0.1, dtype=np.float32)
            scores[:, INDEX["neutral"]], scores[:, INDEX["pride"]] = 0.9, 0.8
            return scores

    monkeypatch.setattr(gating, "classifier", lambda model: Finds())
    table = preview(config, lines=["look what I made all by myself"])
    assert table["emotion"].tolist() == ["pride"]
    assert table["found"].tolist() == ["neutral 0.90, pride 0.80, admiration 0.10"]
    with pytest.raises(UsageError, match="there is no line 'toy:7'"):
        preview(config, lines=["toy:7"])
    with pytest.raises(UsageError, match="'bliss' is not one of the 28"):
        preview(config, lines=[{"text": "some words", "emotion": "bliss"}])


def test_an_engine_error_is_shown_and_asked_again_next_time(make_config, engine):
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"])
    engine.reply = lambda c: Reply(c.id, "", None, 0, "error", 0.0, "the server said no")
    assert preview(config, n=1)["verdict"].tolist() == ["engine_error"]
    engine.reply = a_story
    assert preview(config, n=1)["verdict"].tolist() == ["kept"]


def test_gates_speak_in_a_preview(make_config, engine):
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 2)
    engine.reply = lambda c: "Story: As an AI, I cannot." if c.id.endswith("0") else a_story(c)
    table = preview(config, n=2)
    assert table["verdict"].tolist() == ["assistant_talk, too_short", "kept"]
    assert table["notes"].tolist() == ["label: Story:", ""]
    assert table["reply"].tolist()[0].startswith("Story:"), "the raw reply"
    assert table["text"].tolist()[0] == "As an AI, I cannot.", "what is read out of it"


def test_kept_text_and_raw_reply_are_told_apart_and_neither_is_markup(make_config, engine):
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 2)
    engine.reply = lambda c: f"Story: <b>{a_story(c)}</b>" if c.id.endswith("0") else a_story(c)
    page = readable(preview(config, n=2)).to_html()
    assert "Story: &lt;b&gt;" in page and "<b>" not in page
    assert page.count("(the same)") == 1, "the second reply is what is kept"


def test_a_text_of_ones_own_beside_the_shipped_ones(make_config, engine, capsys):
    config = make_config(*SMALL, "augment.methods=['m1', 'm3']")
    save_lines(config, ["joy"] * 2)
    shipped = stories.Stories(config).template("m3").text
    table = preview(config, n=2, methods=["m1", "m3"], template=shipped)
    assert table["method"].tolist() == ["m1", "m3"] * 2, "unchanged it is m3's"
    assert "that of m3, to the letter" in capsys.readouterr().out
    table = preview(config, n=2, methods=["m1"], template=shipped)
    assert table["method"].tolist() == ["m1", "template"] * 2, "m3 itself is not shown"
    seen = []
    engine.reply = lambda c: seen.append(c) or a_story(c)
    table = preview(config, n=2, methods=["m1", "m3"], template=shipped.replace("80 to 200", "40 to 60"))
    assert table["method"].tolist() == ["m1", "m3", "template"] * 2
    assert [c.id for c in seen] == ["template/toy:0", "template/toy:1"], "the others were there"
    assert all("40 to 60 words" in c.messages[-1]["content"] for c in seen)
    assert table.groupby("line_id")["reply"].nunique().tolist() == [1, 1], "one seed a line"


def test_a_file_called_as_a_method_stands_under_a_name_of_its_own(make_config, engine, tmp_path):
    config = make_config(*SMALL)
    save_lines(config, ["joy"])
    (tmp_path / "m1.txt").write_text(MINE)
    assert preview(config, n=1, methods=["m1"], template=tmp_path / "m1.txt")["method"].tolist() == ["m1", "m1 (own)"]


def files(home) -> dict:
    return {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}


def test_a_changed_prompt_becomes_a_method_of_the_home(make_config, engine, tmp_path, capsys):
    config = make_config(*SMALL)
    save_lines(config, ["joy"] * 4)
    path = str(tmp_path / "prompts" / "mine.txt")
    preview(config, n=2, template=MINE)
    config = add_method(config, MINE, path)
    said = capsys.readouterr().out
    assert "the prompt is saved as " + path in said and "augment.methods = " in said
    assert (tmp_path / "prompts" / "mine.txt").read_text() == MINE
    assert config.augment.methods == ["m1", "m2", "m3", "mine"] and config.augment.chunk_size == 4
    again = load_config("embedded", config.home.root, ["controls=false", *SMALL])
    assert again.augment == config.augment, "whoever opens the home has it"
    before = files(tmp_path)
    assert add_method(again, MINE, path).augment == again.augment and files(tmp_path) == before
    stories.augment(config)
    assert len(asked(engine)) == 16, "what was tried is taken over"
    assert chunk(config, "mine")["method"].tolist() == ["mine"] * 4


def test_an_unchanged_prompt_is_not_saved_and_adds_nothing(make_config, engine, tmp_path, capsys):
    config = make_config(*SMALL, "augment.methods=['m1']")
    shipped = stories.Stories(config).template("m3").text
    assert add_method(config, shipped, str(tmp_path / "mine.txt")) == config
    assert files(tmp_path) == {} and "that of m3, to the letter: nothing is saved" in capsys.readouterr().out


def test_a_method_is_never_written_over(make_config, tmp_path):
    config = add_method(make_config(*SMALL), MINE, str(tmp_path / "mine.txt"))
    for text, path, message in (
        (MINE + "!", tmp_path / "mine.txt", "a template is called 'mine' already"),
        (MINE + "!", tmp_path / "m1.txt", "a template is called 'm1' already"),
        ("{emotion}", tmp_path / "other.txt", r"\{context\} is missing"),
    ):
        with pytest.raises(UsageError, match=message):
            add_method(config, text, str(path))
    assert (tmp_path / "mine.txt").read_text() == MINE and not (tmp_path / "other.txt").exists()
    elsewhere = load_config("embedded", tmp_path / "another")
    assert "mine" in add_method(elsewhere, MINE, str(tmp_path / "mine.txt")).augment.methods, "the same text is there"


def test_a_version_of_rewrites_too(make_config, tmp_path):
    text = "Be {emotion}. {instruction} {output}"
    config = add_method(make_config("rewrite.versions=['v1']"), text, str(tmp_path / "short.txt"), stage="rewrite")
    assert config.rewrite.versions == ["v1", "short"] and config.rewrite.templates["short"] == str(
        tmp_path / "short.txt"
    )


def test_rewrites_too_and_their_bulk_run_takes_them_over(make_config, engine):
    engine.reply = reworded
    config = make_config("rewrite.versions=['v2', 'v3']", "rewrite.count=6", "writer.batch_size=1")
    table = preview(config, n=2, stage="rewrite")
    assert table["method"].tolist() == ["v2", "v3"] * 2 and set(table["similarity"]) == {0.9}
    rewrites.rewrite(config)
    assert len(asked(engine)) == len(set(asked(engine))) == 12
    rows = read_rows(config.home.rewrite_rows("v3"), REWRITES)
    assert rows["reply"].tolist()[:2] == table[table["method"] == "v3"]["reply"].tolist()
    assert rows["emotion"].tolist()[:2] == table[table["method"] == "v3"]["emotion"].tolist()


def test_a_record_of_ones_own(make_config, engine):
    engine.reply = reworded
    config = make_config("rewrite.versions=['v2']")
    own = {"instruction": "Name a fruit.", "output": "An apple is a fruit.", "emotion": "joy"}
    table = preview(config, lines=[own], stage="rewrite")
    assert table["line"].tolist() == ["Name a fruit."] and table["emotion"].tolist() == ["joy"]
    with pytest.raises(UsageError, match="needs 'output'"):
        preview(config, lines=[{"instruction": "Name a fruit."}], stage="rewrite")


def test_mistakes_are_named_before_a_model_is_loaded(make_config, tmp_path, engine):
    config = make_config(*SMALL)
    with pytest.raises(MissingInput, match="process_pretrain_data"):
        preview(config)
    save_lines(config, ["joy"])
    for wrong, message in (
        ({"methods": ["m9"]}, "'m9' is neither one of m1, m2, m3, m0 nor a template file"),
        ({"template": "{context} {emotion} {who}"}, r"unknown placeholder \{who\}"),
        ({"template": "{emotion}"}, r"\{context\} is missing"),
        ({"sampling": "hot"}, "no sampling 'hot'"),
        ({"sampling": {"temperature": -1}}, "sampling temperature = -1"),
        ({"sampling": {"warmth": 1}}, "sampling warmth = 1"),
        ({"stage": "clm"}, "stage 'clm' asks no writer"),
    ):
        with pytest.raises(UsageError, match=message):
            preview(config, **wrong)
    assert engine.opened == 0


def test_another_writer_closes_the_one_that_was_kept(make_config, engine):
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"])
    preview(config, n=1)
    assert not engine.closed
    preview(make_config(*SMALL, "augment.methods=['m1']", "writer.dtype=fp32"), n=1)
    assert engine.closed and engine.opened == 2


def test_two_processes_add_to_the_same_file(tmp_path):
    def opened() -> Rows:
        return Rows(tmp_path / "tried.jsonl", "tried replies", shared=True)

    def keys(rows: Rows) -> list[str]:
        return [row["key"] for row in rows.rows]

    one, other = opened(), opened()
    one.append([{"key": "a", "reply": "A"}])
    other.append([{"key": "b", "reply": "B"}])
    one.append([{"key": "c", "reply": "C"}])
    assert (keys(one), keys(other), keys(opened())) == (["a", "b", "c"], ["a", "b"], ["a", "b", "c"])
    with (tmp_path / "tried.jsonl").open("a") as file:
        file.write('{"key": "d", "rep')
    assert keys(opened()) == ["a", "b", "c"]
    one.append([{"key": "d", "reply": "D"}])
    lines = (tmp_path / "tried.jsonl").read_text().splitlines()
    assert [json.loads(line).get("key") for line in lines] == [None, "a", "b", "c", "d"]


def test_no_line_at_all_may_be_looked_at(make_config, engine, capsys):
    save_lines(make_config(*SMALL), ["joy"] * 2)
    for stage in ("augment", "rewrite"):
        assert preview(make_config(*SMALL), n=0, stage=stage).empty
        assert capsys.readouterr().out == "nothing to try out: n is 0\n"
    assert engine.opened == 0
