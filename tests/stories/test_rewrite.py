"""Rewrites: balanced emotions, seed examples, plain Alpaca JSON beside all rows. With a fake engine."""

import json
from collections import Counter

import pandas as pd
import pytest
from cells import run_cells
from fakes import reworded, use_fakes

from emogap.emotions import REWRITE_EMOTIONS
from emogap.errors import InputError, MissingInput, UsageError
from emogap.records import REWRITES, read_rows
from emogap.store.artefacts import manifest_path
from emogap.stories import gating
from emogap.stories import rewrite as rewrites


@pytest.fixture
def make_config(make_config):
    """Settings that rewrite with v3, whose seed examples come from a file."""
    return lambda *settings: make_config("rewrite.versions=['v3']", *settings)


@pytest.fixture
def engine(monkeypatch):
    return use_fakes(monkeypatch, reworded)


def table(config, version: str = "v3") -> pd.DataFrame:
    return read_rows(config.home.rewrite_rows(version), REWRITES)


def test_every_chosen_record_has_a_row_and_kept_ones_are_plain_alpaca(make_config, engine):
    engine.reply = lambda c: (
        "As an AI, I cannot do that." if len(engine.calls[-1]) and c.id.endswith("0") else reworded(c)
    )
    config = make_config("rewrite.count=30", "rewrite.versions=['v1', 'v2', 'v3']")
    summary = rewrites.rewrite(config)
    assert engine.opened == 1
    for version in ("v1", "v2", "v3"):
        rows = table(config, version)
        assert len(rows) == 30
        kept = rows[rows["status"] == "kept"]
        plain = json.loads(config.home.rewrites(version).read_text())
        assert [set(record) for record in plain] == [{"instruction", "input", "output"}] * len(kept)
        assert [record["output"] for record in plain] == kept["output"].tolist()
        assert not kept["output"].str.contains("Rewritten answer").any()
        assert set(rows[rows["status"] == "rejected"]["reason"]) <= {"assistant_talk"}
    assert summary.counts["records"] == 90


def test_emotions_are_balanced_and_depend_on_place_and_seed_alone(make_config, engine):
    wanted = rewrites.wanted_emotions(37, REWRITE_EMOTIONS, run_seed=1)
    assert set(Counter(wanted).values()) <= {2, 3}
    assert rewrites.wanted_emotions(20, REWRITE_EMOTIONS, run_seed=1) == wanted[:20]
    assert rewrites.wanted_emotions(37, REWRITE_EMOTIONS, run_seed=2) != wanted
    config = make_config("rewrite.count=30")
    rewrites.rewrite(config)
    assert set(table(config)["emotion"].value_counts()) == {2}


def test_a_larger_selection_leaves_the_rows_of_a_smaller_one_as_they_were(make_config, engine):
    config = make_config("rewrite.count=10")
    rewrites.rewrite(config)
    ten = table(config)
    rewrites.rewrite(make_config("rewrite.count=25"))
    columns = ["id", "emotion", "seed", "reply"]
    pd.testing.assert_frame_equal(table(config).head(10)[columns], ten[columns])


def test_seed_examples_are_of_the_wanted_emotion_and_drawn_per_row(make_config):
    config = make_config("rewrite.count=40")
    ours = rewrites.Rewrites(config)
    seeds = json.loads(ours.examples_file.read_text(encoding="utf-8"))
    prompting, chosen = ours.prompting("v3"), ours.chosen()
    assert len(chosen) == 40
    requests = [ours.request(one, prompting) for one in chosen]
    orders = set()
    for request in requests:
        text = request.messages[-1]["content"]
        own = [text.index(rewrites.render_seed(seed)) for seed in seeds[request.asked.emotion]]
        orders.add(tuple(own.index(place) for place in sorted(own)))
        others = [seed for emotion, group in seeds.items() if emotion != request.asked.emotion for seed in group]
        assert not any(rewrites.render_seed(seed) in text for seed in others)
    assert len(orders) > 3


def test_lost_meaning_is_rejected(make_config, engine, monkeypatch):
    monkeypatch.setattr(gating, "similarities", lambda texts, others: [0.1] * len(texts))
    config = make_config("rewrite.count=3")
    rewrites.rewrite(config)
    assert set(table(config)["reason"]) == {"meaning_lost"}
    assert json.loads(config.home.rewrites("v3").read_text()) == []


def test_dropped_records_are_kept_beside_with_their_reason(make_config, engine, tmp_path):
    records = [{"instruction": f"Name the {i}. fruit.", "input": "", "output": f"Apple {i}."} for i in range(3)]
    records.append({"instruction": "Write a Python function.", "input": "", "output": "def f(): pass"})
    file = tmp_path / "records.json"
    file.write_text(json.dumps(records))
    config = make_config(f"rewrite.records={file}", "rewrite.count=0")
    summary = rewrites.rewrite(config)
    assert len(table(config)) == 3
    dropped = json.loads((config.home.root / "alpaca-instruction" / "emotion_alpaca_v3.dropped.json").read_text())
    assert [row["reason"] for row in dropped] == ["code"]
    assert summary.counts["dropped in cleaning"] == 1


def test_a_fresh_run_opens_no_engine(make_config, engine):
    config = make_config("rewrite.count=4")
    rewrites.rewrite(config)
    summary = rewrites.rewrite(config)
    assert engine.opened == 1 and not summary.made


def test_bad_input_is_said_in_one_line_and_leaves_nothing(make_config, engine, tmp_path):
    file = tmp_path / "records.json"
    file.write_text('{"data": []}')
    config = make_config(f"rewrite.records={file}")
    with pytest.raises(InputError, match="holds one JSON object, not a list of records"):
        rewrites.rewrite(config)
    file.write_text("[]")
    with pytest.raises(InputError, match="no record is left"):
        rewrites.rewrite(config)
    with pytest.raises(MissingInput, match=r"none\.json not found"):
        rewrites.rewrite_pieces(make_config(f"rewrite.records={tmp_path}/none.json"))
    with pytest.raises(UsageError, match="'happy' is not one of the 28"):
        rewrites.rewrite_pieces(make_config("rewrite.emotions=['happy']"))
    with pytest.raises(UsageError, match="version 'v9' has no template"):
        make_config("rewrite.versions=['v9']")
    assert engine.opened == 0
    assert not list(tmp_path.glob("home/**/*.parquet"))


def test_too_few_seeds_are_named(make_config, engine, tmp_path):
    seeds = tmp_path / "seeds.json"
    seeds.write_text('{"joy": []}')
    with pytest.raises(UsageError, match="3 seed rewrites of 'joy' are needed, there are 0"):
        rewrites.rewrite(make_config(f"rewrite.seeds={seeds}", "rewrite.emotions=['joy']"))


def test_a_table_that_was_checked_with_verdicts_is_checked_anew_and_nothing_is_written_anew(make_config, engine):
    config = make_config("rewrite.count=8")
    rewrites.rewrite(config)
    replies = table(config)["reply"].tolist()
    verdicts = config.home.rewrite_rows("v3").with_name("emotion_alpaca_v3.verdicts.jsonl")
    verdicts.write_text('{"row": "a verdict"')
    artefact, _ = rewrites.rewrite_pieces(config)
    assert artefact.freshness().state == "fresh"
    manifest = artefact.manifest()
    manifest["inputs"]["verdicts"] = {"path": str(verdicts), "sha256": "0" * 64}
    manifest_path(artefact.path).write_text(json.dumps(manifest))
    assert artefact.freshness().reasons == ("input verdicts is no longer read",)
    assert rewrites.rewrite(config).made == [artefact.path.name]
    assert engine.opened == 1 and table(config)["reply"].tolist() == replies and verdicts.exists()


def test_the_scripts_cells_show_settings_records_and_outcome(make_config, engine, monkeypatch, capsys):
    home = make_config().home.root
    shown = run_cells("alpaca-instruction/emotion-alpaca.py", home, monkeypatch)
    assert len(shown["first"]) == 5 and len(shown["rows"]) == 24
    printed = capsys.readouterr().out
    assert "rewrite: made 1" in printed and "in 24 of 24 kept rewrites" in printed
    assert shown["figure"].axes[0].get_title("left") == "24 of 24 rewrites pass all gates"
    run_cells("alpaca-instruction/emotion-alpaca.py", home, monkeypatch)
    assert "nothing to do" in capsys.readouterr().out
