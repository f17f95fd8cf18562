"""Prices by what was done: hours by hand, what is too little to tell, what was made otherwise, what is only begun."""

import json
import socket

import pandas as pd
import pytest

from emogap.commands.cli import main
from emogap.config import load_config
from emogap.errors import InputError
from emogap.paths import ROOT
from emogap.records import CORPUS, PROCESSED, RESPONSES, STORIES, write_rows
from emogap.store.artefacts import counted
from emogap.stories.augment import story_chunks
from emogap.stories.rows import Answer
from emogap.study.plan import plan, read_rates, works
from emogap.train.exhibits import pace
from emogap.train.stage import model_piece
from emogap.train.strategies import runs

MISTRAL = "mistralai/Mistral-7B-Instruct-v0.1@2dcff66eac0c01dc50e4c41eea959968232187fe"
GPT2 = "openai-community/gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e"
STORY = {
    "augment.method": "m1", "augment.rows": [0, 871], "augment.sampling.max_new_tokens": 512, "writer.dtype": "auto",
    "writer.engine": "transformers", "writer.quantization": "nf4", "writer.batch_size": 16,
}  # fmt: skip
CLM = {
    "clm.block_size": 512, "clm.boundaries": "open", "clm.batch_size": 4, "clm.accumulation": 8, "clm.max_steps": -1,
    "clm.precision": "fp16", "clm.lora.rank": 0,
}  # fmt: skip


@pytest.fixture
def paper(tmp_path):
    """The published set-up in an empty home, with overrides."""
    return lambda *settings: load_config("paper", tmp_path / "own", list(settings))


@pytest.fixture
def home(tmp_path):
    """Another home, to price from."""
    return tmp_path / "there"


def make(path, stage, counts, seconds, settings=(), identities=(), inputs=(), rows=None, times=()):
    """An artefact as a stage leaves it; ``rows``: the type of its table, whose rows took ``times``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if rows:
        columns = {name: pd.Series([None] * len(times), dtype=object) for name in rows.columns}
        write_rows(path, pd.DataFrame(columns | {"seconds": list(times)}), rows)
    elif not path.exists():
        path.write_bytes(b"0" * 1000)
    manifest = {
        "artefact": path.name, "stage": stage, "inputs": {name: {"path": str(p), "sha256": ""} for name, p in inputs},
        "settings": dict(settings), "identities": dict(identities), "seed": 0, "files": {path.name: {"": "0" * 64}},
        "counts": counts, "notes": {}, "seconds": seconds, "machine": "a box, 8 cores",
    }  # fmt: skip
    path.with_name(path.name + ".manifest.json").write_text(json.dumps(manifest))
    return path


def make_stories(home, times, number=0, seconds=9999.0, **settings):
    path = home / f"babylm_augment/m1/chunk_{number:05d}.parquet"
    counts, writer = {"lines": len(times)}, {"writer.model": MISTRAL}
    return make(path, "augment", counts, seconds, STORY | settings, writer, rows=STORIES, times=times)


def history(steps, every, step=0.5, evaluation=4.0, saving=2.0, epoch_steps=100):
    """Trainer's entries: the first step takes ten times as long."""
    entries, now = [], 0.0
    for number in range(1, steps + 1):
        now += 10 * step if number == 1 else step + (saving if number % every == 1 else 0)
        entries.append({"loss": 1.0, "step": number, "epoch": number / epoch_steps, "seconds": now})
        if number % every == 0 or number == steps:
            now += evaluation
            entries.append({"eval_loss": 1.0, "step": number, "epoch": number / epoch_steps, "seconds": now})
    return entries


def make_model(home, name="gpt2-baby", entries=(), identities=(("parent", GPT2),), inputs=(), **settings):
    """A model of causal LM on a corpus of 3.2M tokens, 0.8M of them held out; 100 steps of 32 blocks are an epoch."""
    data = {"name": "emotional", "train_tokens": 1_638_400, "validation_tokens": 409_600}
    record = {"data": data, "history": entries or history(40, 20), "processes": 1}
    record |= {"task": "clm", "perplexity_after": 9.0}
    folder = home / "models" / name
    folder.mkdir(parents=True)
    (folder / "training.json").write_text(json.dumps(record))
    (folder / "model.safetensors").write_bytes(b"0" * 500_000)
    return make(folder, "clm", {"models": 1, "steps": 40}, 99.0, CLM | settings, identities, inputs)


def said(config, *sources):
    """Name of the work → hours, rate; and the lines about what is not known."""
    lines = list(plan(config, sources or [config.home.root]))
    end = next(i for i, line in enumerate(lines) if line.startswith("Known: "))
    names = [f"{work.kind} {work.name}".strip() for work in works(config)]
    rows = {name: line for name in names for line in lines[1:end] if f" {name} " in line}
    unknown = [line for line in lines if line.startswith("Not known: ")]
    return rows, unknown, lines


def hours(row):
    return float(row.split()[-3])


def reason(unknown, name):
    return next(line for line in unknown if name in line)


# --- rows that hold their own seconds --------------------------------------------------------------------------------


def test_stories_cost_what_one_took_without_loading(paper, home):
    make_stories(home, [2.0] * 500)
    make_stories(home, [3.0] * 500, number=1)
    rows, unknown, lines = said(paper(), home)
    assert hours(rows["stories m1"]) == pytest.approx(13 * 871 * 2.5 / 3600, rel=5e-3)
    assert "0.4 stories/s" in rows["stories m1"] and "with loading" not in rows["stories m1"]
    assert "augment.method m1, not m2" in reason(unknown, "stories m2")
    assert any("Made on: a box, 8 cores." in line for line in lines)


def test_too_few_stories_are_said_with_what_was_seen_and_have_no_price(paper, home):
    make_stories(home, [1.5] * 8)
    rows, unknown, _ = said(paper(), home)
    assert rows["stories m1"].split()[-4:] == ["–"] * 4
    assert "8 stories in 12 s, fewer than a call of 64: too few to tell" in reason(unknown, "stories m1")


def test_a_full_call_that_took_no_time_to_speak_of_is_too_little(paper, home):
    make_stories(home, [0.25] * 64)
    assert "64 stories in 16 s, under 30 s: too few to tell" in reason(said(paper(), home)[1], "stories m1")


def test_a_whole_chunk_tells_however_small_it_is(paper, home):
    make_stories(home, [0.5] * 8)
    config = paper("augment.chunk_size=8", "augment.chunks='0-9'")
    assert hours(said(config, home)[0]["stories m1"]) == pytest.approx(80 * 0.5 / 3600, rel=5e-3)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("augment.sampling.max_new_tokens", 128, "augment.sampling.max_new_tokens 128, not 512"),
        ("writer.batch_size", 64, "writer.batch_size 64, not 16"),
        ("writer.quantization", "none", "writer.quantization none, not nf4"),
        ("writer.engine", "vllm", "writer.engine vllm, not transformers"),
    ],
)
def test_stories_of_other_settings_are_no_measure_and_the_difference_is_named(paper, home, key, value, says):
    make_stories(home, [2.0] * 500, **{key: value})
    rows, unknown, _ = said(paper(), home)
    assert rows["stories m1"].split()[-4:] == ["–"] * 4
    assert says in reason(unknown, "stories m1")


def test_what_does_not_shape_the_speed_does_not_matter(paper, home):
    make_stories(home, [2.0] * 500, **{"augment.order": "file", "augment.gates.min_words": 3})
    assert hours(said(paper(), home)[0]["stories m1"]) == pytest.approx(13 * 871 * 2 / 3600, rel=5e-3)


def test_seconds_of_a_server_s_rows_overlap_and_the_manifest_s_count(paper, home):
    make_stories(home, [30.0] * 500, seconds=600.0, **{"writer.engine": "server"})
    row = said(paper("writer.engine=server"), home)[0]["stories m1"]
    assert hours(row) == pytest.approx(13 * 871 * 600 / 500 / 3600, rel=5e-3) and "with loading" in row


def test_a_model_of_another_revision_is_another_model(paper, home):
    path = make_stories(home, [2.0] * 500)
    text = path.with_name(path.name + ".manifest.json")
    text.write_text(text.read_text().replace(MISTRAL, "mistralai/Mistral-7B-Instruct-v0.1@abc"))
    assert "model mistralai/Mistral-7B-Instruct-v0.1@abc, not" in reason(said(paper(), home)[1], "stories m1")


def test_the_whole_of_all_is_the_published_number_until_it_is_counted(paper):
    config = paper("augment.chunks=all")
    assert "435,500 stories*" in said(config)[0]["stories m1"]
    filtered = config.home.filtered
    make(filtered, "process", {"emotional": 2000}, 1.0)
    assert "2,000 stories " in said(config)[0]["stories m1"]
    assert counted(filtered, "emotional, drawn", "emotional") == 2000


# --- what is only begun ----------------------------------------------------------------------------------------------


def begin_chunk(config, seconds, recipe=None):
    """A journal of 100 answers, one retry, one reply taken over and one torn line, of the first chunk of m1."""
    rows = pd.DataFrame(
        {"id": [f"s:{i}" for i in range(2000)], "source": "s", "text": "It rains.", "emotion": "joy", "score": 0.9}
    ).assign(scores=[[0.0] * 28] * 2000)
    config.home.filtered.parent.mkdir(parents=True, exist_ok=True)
    write_rows(config.home.filtered, rows, PROCESSED)
    make(config.home.filtered, "process", {"emotional": 2000}, 1.0)
    chunk = story_chunks(config)[0]
    lines = [{"recipe": recipe or chunk.parts_recipe.sha256()}]
    answers = [Answer(f"m1/s:{i}", 0, 1, "w@1", "It rains.", "stop", 9, 9, seconds) for i in range(100)]
    answers += [Answer("m1/s:0", 1, 1, "w@1", "It rains.", "stop", 9, 9, 20.0)]
    lines += map(vars, answers)
    lines += [{**vars(answers[0]), "ask": "m1/s:100", "seconds": 500.0, "taken_over": True}]
    path = chunk.parts
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"ask": "m1/s:101", "att')
    return path


def test_a_begun_chunk_prices_the_rest_and_is_not_touched(paper):
    config = paper("augment.chunks='0-1'")
    journal = begin_chunk(config, 3.0)
    before = journal.read_bytes()
    rows, _, _ = said(config)
    assert hours(rows["stories m1"]) == pytest.approx(2 * 871 * (100 * 3.0 + 20) / 100 / 3600, rel=5e-3)
    assert journal.read_bytes() == before


def test_a_journal_of_other_settings_is_not_counted(paper):
    config = paper("augment.chunks='0-1'")
    begin_chunk(config, 3.0, recipe="another")
    assert "begun, not known to be under these settings" in reason(said(config)[1], "stories m1")


def test_a_begun_chunk_of_another_home_with_fewer_chunks_is_no_error(paper, tmp_path):
    begin_chunk(load_config("paper", tmp_path / "there", ["augment.chunks='0-1'"]), 3.0)
    assert "begun, not known" in reason(said(paper(), tmp_path / "there")[1], "stories m1")


def test_a_damaged_journal_is_one_line_that_names_it(paper):
    config = paper("augment.chunks='0-1'")
    journal = begin_chunk(config, 3.0)
    journal.write_text("no journal\n")
    with pytest.raises(InputError, match=r"chunk_00000\.partial\.jsonl is damaged"):
        said(config)


def test_the_last_checkpoint_tells_the_whole_training(paper):
    config = paper("clm.eval_steps=20")
    documents = {name: pd.Series([None] * 2, dtype=object) for name in CORPUS.columns}
    config.home.corpus("emotional").parent.mkdir(parents=True)
    write_rows(config.home.corpus("emotional"), pd.DataFrame(documents | {"split": ["train", "validation"]}), CORPUS)
    make(config.home.corpus("emotional"), "corpus", {"words": 1_600_000}, 1.0)
    run = runs(config, "clm")[0]
    folder = config.home.models / ".gpt2-baby.checkpoints"
    for step in (20, 40):
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        state = {"log_history": history(step, 20), "max_steps": 1000}
        (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state))
    (folder / "checkpoint-60").mkdir()
    (folder / "checkpoint-60" / "trainer_state.json").write_text('{"log_hist')  # torn
    (folder / "recipe.sha256").write_text("other settings")
    assert "nothing of it is there" in reason(said(config)[1], "clm gpt2-baby")
    (folder / "recipe.sha256").write_text(model_piece(config, run).recipe.sha256())
    row = said(config)[0]["clm gpt2-baby"]
    assert hours(row) == pytest.approx((1000 * 0.5 + 51 * 4 + 50 * 2) / 3600, rel=5e-3)
    assert "1,000 steps of 0.5 s, evaluations of 4 s" in row
    assert (folder / "checkpoint-60").exists()  # the training may be writing it


# --- trainings -------------------------------------------------------------------------------------------------------


def test_a_training_grows_with_its_corpus_and_so_do_its_evaluations(paper, home):
    make(home / "babylm_pretrain_corpus/emotional.parquet", "corpus", {"words": 1_600_000}, 1.0)
    make_model(home)
    rows, unknown, _ = said(paper(), home)
    grown = 10_000_000 / 1_600_000
    steps = 10 * 100 * grown  # epochs × steps an epoch, a fifth held out in both
    evaluations = 1 + -(-steps // 200)
    price = steps * 0.5 + evaluations * 4.0 * grown + (evaluations - 1) * 2.0
    assert hours(rows["clm gpt2-baby"]) == pytest.approx(price / 3600, rel=5e-3)
    assert "6,250 steps of 0.5 s, evaluations of 25 s" in rows["clm gpt2-baby"]
    assert "model openai-community/gpt2@607a30d7" in reason(unknown, "clm gpt2-medium-baby")


def test_max_steps_bounds_a_training(paper, home):
    make(home / "babylm_pretrain_corpus/emotional.parquet", "corpus", {"words": 10_000_000}, 1.0)
    make_model(home)
    row = said(paper("clm.max_steps=50", "clm.eval_steps=25"), home)[0]["clm gpt2-baby"]
    assert hours(row) == pytest.approx((50 * 0.5 + 3 * 4.0 + 2 * 2.0) / 3600, rel=5e-3)


def test_a_few_steps_do_not_tell_what_many_take_but_what_they_took(paper, home):
    make(home / "babylm_pretrain_corpus/emotional.parquet", "corpus", {"words": 10_000_000}, 1.0)
    make_model(home, entries=history(10, 5))
    assert "8 steps timed, under 10: too few to tell" in reason(said(paper(), home)[1], "clm gpt2-baby")
    row = said(paper("clm.max_steps=10", "clm.eval_steps=5"), home)[0]["clm gpt2-baby"]
    assert hours(row) == pytest.approx((10 * 0.5 + 3 * 4.0 + 2 * 2.0) / 3600, rel=5e-3)


def test_a_corpus_that_is_gone_leaves_no_words_to_scale_by(paper, home):
    make_model(home)
    assert "its corpus is gone, and with it how many words" in reason(said(paper(), home)[1], "clm gpt2-baby")


def test_a_model_trained_from_a_trained_one_goes_at_the_pace_of_its_base(paper, home):
    make(home / "babylm_pretrain_corpus/emotional.parquet", "corpus", {"words": 10_000_000}, 1.0)
    first = make_model(home, "first", entries=history(4, 2))
    make_model(home, "second", identities=(), inputs=[("parent", first)])
    assert "6,250" not in said(paper(), home)[0]["clm gpt2-baby"]
    assert "1,000 steps of 0.5 s" in said(paper(), home)[0]["clm gpt2-baby"]


def test_the_pace_leaves_out_the_first_step_and_tells_steps_from_evaluations_and_checkpoints():
    found = pace(history(6, 3))
    assert (found.step, found.evaluation, found.saving, found.timed) == pytest.approx((0.5, 4.0, 2.0, 4))
    assert pace(history(6, 3)[:3]).timed == 0  # not one evaluation
    assert found.seconds(7, 3, 2.0) == pytest.approx(7 * 0.5 + 4 * 8.0 + 3 * 2.0)


def test_records_that_are_not_there_have_no_size(paper, home):
    make_model(home)
    strategy = "strategies=[{name='one', parent='gpt2', task='sft', data='nowhere/own.json'}]"
    rows, unknown, _ = said(paper(strategy, "lens.models=['one']"), home)
    assert "? records" in rows["sft one"] and "known once what it reads is there" in reason(unknown, "sft one")


@pytest.mark.parametrize("name", ["smollm2-135m-baby.s0", "smollm2-135m-instr.s2", "smollm2-135m-baby-instr.s1"])
def test_the_first_checkpoint_of_recorded_trainings_foretold_how_long_they_took(name):
    record = json.loads((ROOT / "results/cpu-study/without-controls/trainings.json").read_text())[name]
    begun = pace([entry for entry in record["history"] if entry["step"] <= 25])
    told = begun.seconds(record["steps"], 25, 1.0) - begun.evaluation  # the first one is not in the record's seconds
    assert told == pytest.approx(record["seconds"], rel=0.15)


# --- measurements ----------------------------------------------------------------------------------------------------


def test_answers_of_one_model_price_those_of_all_that_come_from_its_base(paper, home):
    settings = {"respond.batch_size": 64, "respond.dtype": "auto", "respond.sampling.max_new_tokens": 128}
    trained = make_model(home)
    path = home / "quantitative_analysis/responses/gpt2-baby.parquet"
    make(
        path, "respond", {"answers": 829}, 1.0, settings, inputs=[("model", trained)], rows=RESPONSES, times=[0.1] * 829
    )
    rows, unknown, _ = said(paper("respond.samples=2", "respond.greedy=true", "respond.empty_prompts=10"), home)
    assert "4 × " not in rows["answers gpt2"] and "9,988 answers*" in rows["answers gpt2"]
    assert hours(rows["answers gpt2"]) == pytest.approx(4 * (829 * 3 + 10) * 0.1 / 3600, rel=5e-3)
    assert "model openai-community/gpt2@607a30d7" in reason(unknown, "answers gpt2-medium")


def test_pairs_count_with_loading_and_by_the_slowest_model_since_scores_may_come_from_the_cache(paper, home):
    for name, seconds in (("gpt2", 3.0), ("again", 500.0)):
        path = home / f"quantitative_analysis/scores/{name}/blimp.parquet"
        make(path, "blimp", {"pairs": 57_812}, seconds, {"blimp.dtype": "fp32"}, {"model": GPT2})
    row = said(paper(), home)[0]["pairs gpt2"]
    assert hours(row) == pytest.approx(4 * 500 / 3600, rel=5e-3) and "pairs/s with loading" in row


def test_a_sample_of_pairs_that_mostly_loaded_is_too_little(paper, home):
    path = home / "quantitative_analysis/scores/gpt2/blimp.parquet"
    make(path, "blimp", {"pairs": 60}, 8.0, {"blimp.dtype": "fp32"}, {"model": GPT2})
    assert "60 pairs in 8 s with loading, under 120 s: too few to tell" in reason(said(paper(), home)[1], "pairs gpt2")


# --- sources ---------------------------------------------------------------------------------------------------------


def test_an_empty_home_prices_nothing_and_nothing_is_looked_up(paper, monkeypatch, capsys, tmp_path):
    def refuse(*_):
        raise AssertionError("a plan looks nothing up")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("emogap.study.plan.RATES", tmp_path / "gpu")
    assert main(["plan", "--profile", "paper", "--home", str(tmp_path / "own")]) == 0
    out = capsys.readouterr().out
    assert "Known: 0 hours (0 of 15 rows), 0 GB" in out
    assert "classify: how much it is, is known once what it reads is there" in out
    assert "gpu holds no rates of a card" in out


TABLE = """card,work,model,rate,unit,writer.engine
H100,stories,mistralai/Mistral-7B-Instruct-v0.1,2000,tokens/s,vllm
H100,stories,mistralai/Mistral-7B-Instruct-v0.1,500,tokens/s,transformers
H100,pairs,openai-community/gpt2,1000,pairs/s,
H100,clm,openai-community/gpt2,100000,tokens/s,
H100,sft,openai-community/gpt2,100,records/s,
"""


def test_a_table_of_rates_prices_what_the_home_before_it_does_not(paper, home, tmp_path):
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu/h100.csv").write_text(TABLE)
    make_stories(home, [2.0] * 500, **{"augment.method": "m2"})
    rows, unknown, lines = said(paper(), home, tmp_path / "gpu")
    assert hours(rows["stories m1"]) == pytest.approx(13 * 871 * 512 / 500 / 3600, rel=5e-3)
    assert "500 tokens/s, up to 512 each" in rows["stories m1"]
    assert hours(rows["stories m2"]) == pytest.approx(13 * 871 * 2 / 3600, rel=5e-3)
    assert hours(rows["pairs gpt2"]) == pytest.approx(231_248 / 1000 / 3600, rel=5e-3)
    assert hours(rows["sft gpt2-instr"]) == pytest.approx(20_000 * 10 / 100 / 3600, rel=5e-3)
    assert "100000 tokens/s do not tell words" in reason(unknown, "clm gpt2-baby")
    assert any("H100" in line for line in lines if line.startswith("Made on"))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("H100,stories,m,fast,tokens/s", "line 2: the rate is 'fast'; give a number over 0"),
        ("H100,stories,m,0,tokens/s", "line 2: the rate is '0'; give a number over 0"),
        ("H100,stories,m,5", "line 2: no unit; a row needs card, work, model, rate, unit"),
    ],
)
def test_a_row_that_is_no_rate_is_one_line_that_names_it(tmp_path, row, says):
    file = tmp_path / "x.csv"
    file.write_text(f"card,work,model,rate,unit\n{row}\n")
    with pytest.raises(InputError, match=says):
        list(read_rates([file]))


def test_options_that_are_gone_and_a_home_that_is_not_there_are_one_line(capsys, tmp_path):
    for words in (["--calibrate"], ["--rates", "box.toml"], ["--calibrate", "--only", "clm"]):
        assert main(["plan", *words]) == 2
        error = capsys.readouterr().err
        assert "give --from HOME" in error and error.count("\n") == 1
    nothing = "strategies=[{name='one', parent='smollm2-135m', task='clm', data='none'}]"
    assert main(["plan", "--home", str(tmp_path), "--set", nothing, "--set", "lens.models=['one']"]) == 1
    assert "'one' is trained on 'none', a corpus that is not there" in capsys.readouterr().err
    assert main(["plan", "--from", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: there is no such home or table" in capsys.readouterr().err
