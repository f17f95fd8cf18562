"""Answers: reading prompts, asking every model, going on after a kill."""

import json
from collections import Counter

import pandas as pd
import pytest
from tiny_models import save_tiny_gpt2

from emogap.answers import fluency, respond
from emogap.config import Sampling, load_config
from emogap.emotions import LABELS
from emogap.errors import InputError, MissingInput, UsageError
from emogap.lm import hub
from emogap.lm.answer_form import load_answer_form
from emogap.lm.engines.engine import Reply
from emogap.lm.hub import LocalModel
from emogap.records import RESPONSES, read_rows
from emogap.train.models import study_models
from tools.benchmarks import respond as benchmark


def prompts_file(tmp_path, value):
    file = tmp_path / "prompts.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return file


def test_shipped_prompts_cover_all_emotions_and_can_be_limited():
    prompts = respond.load_prompts("data/sample/emotion_prompts.json", per_emotion=2)
    assert [prompt.emotion for prompt in prompts].count("grief") == 2
    assert {prompt.emotion for prompt in prompts} == set(LABELS)
    assert len(prompts) == len({prompt.id for prompt in prompts}) == 56


def test_published_form_is_parsed(tmp_path):
    file = prompts_file(tmp_path, {"joy": ["Instruction: Sing.", "Instruction: Say it. Input: Two lines:\nlike this"]})
    first, second = respond.load_prompts(file)
    assert (first.id, first.instruction, first.input) == ("joy/00", "Sing.", "")
    assert (second.instruction, second.input) == ("Say it.", "Two lines:\nlike this")


def test_published_prompts_are_read_whole(real_data):
    prompts = respond.load_prompts(real_data / "paper_artifacts" / "emotion_prompts.json")
    counts = Counter(prompt.emotion for prompt in prompts)
    assert len(prompts) == 829 and (counts.pop("grief"), counts.pop("pride")) == (20, 29)
    assert set(counts.values()) == {30} and sum(bool(prompt.input) for prompt in prompts) == 170


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"happiness": ["Instruction: Sing."]}, "'happiness' is not one of the 28"),
        ({"joy": ["Instruction: Sing.", "Instruction:  Sing."]}, "joy/01 repeats joy/00"),
        ({"joy": ["Instruction: Sing."], "love": ["Instruction: Sing."]}, "love/00 repeats joy/00"),
        ({"joy": ["Sing."]}, "joy/00"),
        ({"joy": ["Instruction: "]}, "joy/00"),
        ({"joy": "Instruction: Sing."}, "'joy' is 'Instruction: Sing.', not a list"),
        (["Instruction: Sing."], "not an object; prompts are an object, emotion → list"),
        ({}, "has no emotion; prompts are an object"),
        ({"joy": ["Instruction: Sing.", 5]}, "'joy', item 2 is 5, not a text"),
        ('{"joy": [], "joy": []}', "'joy' stands twice"),
        ("{", "line 1: not JSON"),
    ],
)
def test_bad_prompts_are_named(tmp_path, value, message):
    with pytest.raises(InputError, match=message):
        respond.load_prompts(prompts_file(tmp_path, value))


def test_missing_prompts_are_named(tmp_path):
    with pytest.raises(MissingInput, match=r"nowhere\.json not found"):
        respond.load_prompts(tmp_path / "nowhere.json")


def test_models_of_the_study_stand_after_their_base_with_a_key_for_each_training(tmp_path):
    config = load_config("embedded", tmp_path, ["sft.seeds=[0, 1]", "controls=false"])
    assert [(m.key, m.train_seed, m.base) for m in study_models(config)] == [
        ("smollm2-135m", 0, "smollm2-135m"),
        ("smollm2-135m-baby", 0, "smollm2-135m"),
        ("smollm2-135m-instr.s0", 0, "smollm2-135m"),
        ("smollm2-135m-instr.s1", 1, "smollm2-135m"),
        ("smollm2-135m-baby-instr.s0", 0, "smollm2-135m"),
        ("smollm2-135m-baby-instr.s1", 1, "smollm2-135m"),
    ]


def test_unknown_model_is_a_usage_error(tmp_path):
    config = load_config("embedded", tmp_path, ["respond.models=['gpt9']"])
    with pytest.raises(UsageError, match="'gpt9' is no model of the study"):
        study_models(config)


class EchoEngine:
    """Answers with the row's seed; the prompt with 'nothing' gets an empty answer, every third one is cut."""

    identity = "echo"

    def __init__(self, fail_after=None):
        self.calls, self.fail_after, self.closed = [], fail_after, False

    def generate(self, conversations, sampling, on_reply=None):
        if self.fail_after is not None and len(self.calls) == self.fail_after:
            raise KeyboardInterrupt
        self.calls.append([conversation.id for conversation in conversations])
        return [
            Reply(
                id=conversation.id,
                text="" if "nothing" in conversation.messages[0]["content"] else f" {conversation.seed} ",
                prompt_tokens=3,
                new_tokens=sampling.max_new_tokens,
                finish="length" if conversation.seed % 3 == 0 else "stop",
                seconds=0.1,
            )
            for conversation in conversations
        ]

    def close(self):
        self.closed = True


@pytest.fixture
def config(tmp_path, monkeypatch):
    value = {"joy": [f"Instruction: Sing song {n}." for n in range(9)] + ["Instruction: Say nothing."]}
    settings = [
        f"respond.prompts={prompts_file(tmp_path, value)}",
        "respond.models=['smollm2-135m']",
        "respond.per_emotion=0",
        "respond.samples=2",
        "respond.batch_size=1",
    ]
    monkeypatch.setattr(respond, "recipe_parts", lambda config, model: {"inputs": {}, "identities": {"model": "echo"}})
    return load_config(
        "embedded",
        tmp_path / "home",
        ["controls=false", *settings, "respond.empty_prompts=3", "respond.greedy=true"],
    )


def answers(config, condition=0):
    return respond.read_responses(config, respond.conditions(config)[condition])


def test_every_prompt_and_sample_is_answered_once_with_its_own_seed(config, monkeypatch):
    monkeypatch.setattr(respond, "open_model", lambda config, model: EchoEngine())
    summary = respond.respond(config)
    table = answers(config)
    assert len(table) == 20 and not table.duplicated(["prompt_id", "sample"]).any()
    assert table["seed"].nunique() == 20
    assert summary.counts["empty"] == 3  # the two samples and the greedy answer to "Say nothing."
    assert set(read_rows(config.home.responses("smollm2-135m"), RESPONSES).columns) >= set(RESPONSES.columns)
    greedy, empty = answers(config, 1), answers(config, 2)
    assert len(greedy) == 10 and len(empty) == 3
    assert empty["instruction_emotion"].isna().all()


def test_a_model_is_loaded_once_for_all_conditions_and_gone_in_the_end(config, monkeypatch):
    opened = []
    monkeypatch.setattr(respond, "open_model", lambda config, model: opened.append(EchoEngine()) or opened[-1])
    respond.respond(config)
    assert [engine.closed for engine in opened] == [True] and len(respond.conditions(config)) == 3
    config.home.responses("smollm2-135m").unlink()
    monkeypatch.setattr(
        respond, "open_model", lambda config, model: opened.append(EchoEngine(fail_after=1)) or opened[-1]
    )
    with pytest.raises(KeyboardInterrupt):
        respond.respond(config)
    assert opened[-1].closed


def test_after_a_kill_the_rest_is_answered_and_the_rows_are_the_same(config, monkeypatch, tmp_path):
    monkeypatch.setattr(respond, "open_model", lambda config, model: EchoEngine())
    respond.respond(config)
    undisturbed = answers(config)
    path = config.home.responses("smollm2-135m")
    path.unlink()

    monkeypatch.setattr(respond, "open_model", lambda config, model: EchoEngine(fail_after=2))
    with pytest.raises(KeyboardInterrupt):
        respond.respond(config)
    assert not path.exists()
    again = EchoEngine()
    monkeypatch.setattr(respond, "open_model", lambda config, model: again)
    respond.respond(config)
    assert sum(map(len, again.calls)) == 20 - 2 * respond.CALL_BATCHES
    pd.testing.assert_frame_equal(answers(config), undisturbed)


def test_fresh_answers_are_not_asked_for_again(config, monkeypatch):
    monkeypatch.setattr(respond, "open_model", lambda config, model: EchoEngine())
    respond.respond(config)
    monkeypatch.setattr(respond, "open_model", lambda config, model: pytest.fail("asked again"))
    assert respond.respond(config).made == []


def test_changed_sampling_sets_the_old_answers_aside(config, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(respond, "open_model", lambda config, model: EchoEngine())
    respond.respond(config)
    changed = load_config(
        "embedded", config.home.root, {
            "respond.prompts": config.respond.prompts, "respond.models": ["smollm2-135m"], "respond.samples": 2,
            "respond.batch_size": 1, "respond.per_emotion": 0, "respond.sampling.temperature": 0.2,
        },
    )  # fmt: skip
    respond.respond(changed)
    assert "respond.sampling.temperature 0.7 → 0.2" in capsys.readouterr().out
    assert list((config.home.evaluation / "responses" / "superseded").glob("*/smollm2-135m.parquet"))


def test_an_untrained_model_is_named_with_what_trains_it(make_config):
    config = make_config("respond.models=['smollm2-135m-instr']")
    with pytest.raises(MissingInput, match=r"models/smollm2-135m-instr not found .*sft_instruction\.ipynb"):
        respond.respond_pieces(config)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return LocalModel(save_tiny_gpt2(tmp_path_factory.mktemp("tiny")), "tiny@test")


def test_a_model_is_asked_with_the_tokens_of_its_fine_tuning(config, tiny, monkeypatch):
    from transformers import AutoTokenizer

    seen = []
    monkeypatch.setattr(hub, "study_model", lambda config, name: tiny)
    engine = respond.open_model(config, study_models(config)[0])
    encode = engine._format.encode
    monkeypatch.setattr(engine._format, "encode", lambda c: seen.append(encode(c)) or seen[-1])
    row = {"prompt_id": "joy/00", "sample": 0, "instruction": "Sing.", "input": "la la", "seed": 1, "model": "tiny"}
    [answered] = respond.answer(config, engine, [row], Sampling(max_new_tokens=3))
    form = load_answer_form(config.sft.template)
    assert seen == [form.question_ids(AutoTokenizer.from_pretrained(tiny.path), "Sing.", "la la")]
    assert answered["new_tokens"] <= 3 and "Instruction" not in answered["response"]
    # What a notebook shows of a prompt are these tokens, as text; the models of one form share a row.
    config = config.model_copy(update={"respond": config.respond.model_copy(update={"models": []})})
    [shown] = respond.as_asked(config, respond.Prompt("joy/00", "joy", "Sing.", "la la")).itertuples()
    assert shown.models == ", ".join(model.key for model in study_models(config)) and "," in shown.models
    assert (shown.tokens, shown.text) == (len(seen[0]), engine._tokenizer.decode(seen[0]))


def test_bench_times_the_same_prompts_in_three_ways(config, tiny, capsys):
    rows = [{"prompt_id": f"p{i}", "sample": 0, "instruction": f"Say {i}.", "input": "", "seed": i} for i in range(5)]
    asked = [respond.conversation(config, row) for row in rows]
    timings = benchmark.compare(tiny, asked, Sampling(max_new_tokens=4), batch_size=4, device="cpu", dtype="fp32")
    assert [timing.units for timing in timings] == [5, 5, 5]
    assert "829 prompts × 4 models" in capsys.readouterr().out


@pytest.mark.pipeline
def test_plain_text_is_likelier_than_its_words_backwards(make_config):
    config = make_config()
    passages = fluency.read_passages(config.sentiment.plain_text)[:6]
    backwards = [" ".join(passage.split()[::-1]) for passage in passages]
    scores = fluency.plain_text_scores(config, study_models(config)[0], [*passages, *backwards])
    nats = scores[scores["metric"] == "nats"]["value"].to_numpy()
    assert (nats[:6] < nats[6:]).all()
