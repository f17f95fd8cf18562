"""Equal commands in one home, each a process of its own: both end, every text is written once, by whoever is free."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from fakes import reworded, use_fakes
from small_stories import a_story, save_lines

from emogap.records import REWRITES, STORIES, read_rows
from emogap.store import pieces
from emogap.stories import augment as stories
from emogap.stories import rewrite as rewrites

fork = multiprocessing.get_context("fork")
SMALL = ("augment.lines=0", "augment.order=file", "augment.chunk_size=4", "writer.batch_size=1", "rewrite.count=6",
         "rewrite.versions=['v1', 'v2', 'v3']")  # fmt: skip
TIMED = ["seconds"]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Ids of the texts that any process has written, a line each."""
    monkeypatch.setattr("emogap.stories.outcomes._stories_shown", lambda home: [])
    monkeypatch.setattr("emogap.stories.outcomes._rewrites_shown", lambda home: [])
    monkeypatch.setattr("emogap.store.pieces.LOOK_SECONDS", 0.05)
    return tmp_path / "written.txt"


def note(written: Path, conversation) -> None:
    with written.open("a") as file:
        file.write(f"{os.getpid()} {conversation.id}\n")


def noted(written: Path) -> tuple[list[str], set[str]]:
    """The ids in order, and the processes that wrote them."""
    lines = [line.split() for line in written.read_text().splitlines()]
    return sorted(identifier for _, identifier in lines), {process for process, _ in lines}


def story_rows(config) -> pd.DataFrame:
    chunks = [config.home.chunk(method, number) for number in range(2) for method in ("m1", "m2", "m3")]
    return pd.concat([read_rows(path, STORIES) for path in chunks], ignore_index=True)


def rewrite_rows(config) -> pd.DataFrame:
    return pd.concat([read_rows(config.home.rewrite_rows(name), REWRITES) for name in ("v1", "v2", "v3")])


@pytest.mark.parametrize(
    ("run", "reply", "rows"),
    [(stories.augment, a_story, story_rows), (rewrites.rewrite, reworded, rewrite_rows)],
    ids=["stories", "rewrites"],
)
def test_two_commands_share_the_work_and_write_what_one_writes(
    run, reply, rows, make_config, monkeypatch, tmp_path, written
):
    engine = use_fakes(monkeypatch, reply)
    config = make_config(*SMALL)
    save_lines(config, ["joy", "fear"] * 4)
    run(config)
    expected = rows(config).drop(columns=TIMED)
    for path in [*config.home.stories.rglob("*.parquet*"), *config.home.alpaca.glob("*.rows.parquet*")]:
        path.unlink()
    both_at_work = fork.Barrier(2)
    met = threading.Event()

    def slow_reply(conversation):
        if not met.is_set():  # each of the two has a part in hand before either writes
            both_at_work.wait(timeout=60)
            met.set()
        note(written, conversation)
        return reply(conversation)

    engine.reply = slow_reply
    both = [fork.Process(target=run, args=(config,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    ids, processes = noted(written)
    assert ids == sorted(expected["id"]) and len(processes) == 2
    pd.testing.assert_frame_equal(rows(config).drop(columns=TIMED), expected)
    assert not list(config.home.root.rglob("superseded")) and not list(config.home.root.rglob("*.partial.jsonl"))
    summary = run(config)
    assert not summary.made


def test_what_a_killed_holder_has_begun_is_taken_over_by_who_waits_for_it(make_config, monkeypatch, written):
    engine = use_fakes(monkeypatch, a_story)
    config = make_config(*SMALL, "augment.methods=['m1']", "augment.chunk_size=8")
    save_lines(config, ["joy"] * 8)
    begun, waits = fork.Event(), fork.Event()
    monkeypatch.setattr(pieces, "print", lambda *said, **_: waits.set(), raising=False)

    def reply(conversation):
        note(written, conversation)
        return a_story(conversation)

    def hold() -> None:
        def reply_to_four(conversation):
            if conversation.id == "m1/toy:4":
                begun.set()
                time.sleep(120)
            return reply(conversation)

        engine.reply = reply_to_four
        stories.augment(config)

    engine.reply = reply
    holder, other = fork.Process(target=hold), fork.Process(target=stories.augment, args=(config,))
    holder.start()
    assert begun.wait(60)
    other.start()
    assert waits.wait(60), "the chunk is held: there is nothing to do but to wait"
    os.kill(holder.pid, signal.SIGKILL)
    other.join(60)
    holder.join()
    assert other.exitcode == 0
    assert noted(written) == ([f"m1/toy:{n}" for n in range(8)], {str(holder.pid), str(other.pid)})
    assert read_rows(config.home.chunk("m1", 0), STORIES)["line_id"].tolist() == [f"toy:{n}" for n in range(8)]
