"""Engines: one reply for each conversation, in order, each from its own seed, whatever runs the model."""

from functools import cache

import numpy as np
import pytest
import torch
from architectures import LONGROPE, save_tiny
from tiny_models import save_tiny_llama
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from emogap.config import HubModel, Sampling, Writer
from emogap.errors import ModelError, UsageError
from emogap.lm.engines.engine import ChatFormat, Conversation, fold_system
from emogap.lm.engines.open_engine import open_engine
from emogap.lm.engines.row_batch import penalise, sample_tokens, uniforms
from emogap.lm.engines.transformers_engine import TransformersEngine
from emogap.lm.hub import LocalModel

VOCABULARY = 96
WITH_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
WITHOUT_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}"
    "{% endif %}[{{ m.content }}]{% endfor %}"
)
GREEDY = Sampling(temperature=0, max_new_tokens=12)
SAMPLED = Sampling(temperature=1.0, top_p=0.9, repetition_penalty=1.3, max_new_tokens=24)


def make_tokenizer(template: str | None = WITH_SYSTEM, bos: bool = True) -> PreTrainedTokenizerFast:
    """A token for each printable character."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    vocabulary = {"<s>": 0, "</s>": 1} | {chr(32 + i): 2 + i for i in range(VOCABULARY - 2)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([])
    tokenizer.decoder = decoders.Fuse()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", **({"bos_token": "<s>"} if bos else {})
    )
    fast.chat_template = template
    return fast


def llama():
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, bos_token_id=0, eos_token_id=1, initializer_range=0.5,
        )
    )  # fmt: skip


def mistral():
    return MistralForCausalLM(
        MistralConfig(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, sliding_window=16, bos_token_id=0, eos_token_id=1,
            initializer_range=0.5,
        )
    )  # fmt: skip


def gpt2():
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=1, eos_token_id=1,
            initializer_range=0.5,
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny random model on disk, by the function that makes it."""

    @cache
    def save(make, template=WITH_SYSTEM, bos=True) -> LocalModel:
        folder = tmp_path_factory.mktemp(make.__name__)
        torch.manual_seed(0)
        model = make()
        assert sum(p.numel() for p in model.parameters()) < 50_000
        model.save_pretrained(folder)
        make_tokenizer(template, bos).save_pretrained(folder)
        return LocalModel(folder, f"{make.__name__}@test")

    return save


def engine_of(local: LocalModel, batch_size: int = 4, **settings) -> TransformersEngine:
    options = {"device": "cpu", "dtype": "fp32", "quantization": "none", "batch_size": batch_size} | settings
    return TransformersEngine(local, **options)


def ask(count: int, plain: bool = False, shared: str = "") -> list[Conversation]:
    texts = [shared + chr(65 + i) * (1 + 7 * i % 23) for i in range(count)]
    return [
        Conversation(f"row-{i}", ({"role": "user", "content": text},), seed=100 + i, plain=plain)
        for i, text in enumerate(texts)
    ]


def by_generate(local: LocalModel, conversation: Conversation, new_tokens: int, **options) -> list[int]:
    """What ``transformers``' own generate draws for one conversation alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(local.path, dtype=torch.float32).eval()
    prompt = ChatFormat(AutoTokenizer.from_pretrained(local.path)).encode(conversation)
    output = model.generate(torch.tensor([prompt]), max_new_tokens=new_tokens, pad_token_id=1, **options)
    return output[0, len(prompt) :].tolist()


@pytest.mark.parametrize("make", [llama, mistral, gpt2])
@pytest.mark.parametrize("shared", ["", "A beginning that every row has. "])
def test_greedy_replies_are_those_of_generate(saved, make, shared):
    local = saved(make)
    conversations = ask(9, shared=shared)
    engine = engine_of(local, batch_size=3)
    sampling = Sampling(temperature=0, repetition_penalty=1.2, max_new_tokens=12)
    replies = engine.generate(conversations, sampling)
    for conversation, reply in zip(conversations, replies, strict=True):
        expected = by_generate(local, conversation, 12, do_sample=False, repetition_penalty=1.2)
        assert reply.text == engine._tokenizer.decode(expected, skip_special_tokens=True)
        assert reply.new_tokens == len(expected)
        assert reply.finish == ("stop" if expected[-1] == 1 else "length")


@pytest.mark.parametrize("make", [llama, mistral, gpt2])
def test_a_reply_depends_on_its_own_seed_alone(saved, make):
    local = saved(make)
    conversations = ask(11)
    alone = engine_of(local, 1).generate(conversations, SAMPLED)
    for size in (4, 16):
        assert [r.text for r in engine_of(local, size).generate(conversations, SAMPLED)] == [r.text for r in alone]
    backwards = engine_of(local, 4).generate(conversations[::-1], SAMPLED)
    assert [r.text for r in backwards[::-1]] == [r.text for r in alone]
    assert len({r.new_tokens for r in alone}) > 1, "rows of different lengths are what this is about"
    other = [Conversation(c.id, c.messages, c.seed + 1) for c in conversations]
    assert [r.text for r in engine_of(local, 4).generate(other, SAMPLED)] != [r.text for r in alone]


def test_replies_come_in_order_and_each_is_told_once(saved):
    heard = []
    conversations = ask(10)
    replies = engine_of(saved(llama), 3).generate(conversations, SAMPLED, heard.append)
    assert [reply.id for reply in replies] == [c.id for c in conversations]
    assert sorted(reply.id for reply in heard) == sorted(c.id for c in conversations)
    assert all(reply.seconds > 0 for reply in replies)


def test_no_conversation_gives_no_reply(saved):
    assert engine_of(saved(llama)).generate([], SAMPLED) == []


# --- drawing a token ---


def warped(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The distribution that ``transformers``' own warpers leave, in their order."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    scores = TemperatureLogitsWarper(sampling.temperature)(None, logits)
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    return scores.softmax(-1)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.7, top_p=0.9),
        Sampling(temperature=1.5, top_p=1, top_k=7),
        Sampling(temperature=0.9, top_p=0.6, top_k=20),
        Sampling(temperature=1.3, top_p=1),
    ],
)
@pytest.mark.parametrize("candidates", [3, 1024])
def test_tokens_are_drawn_from_the_filtered_distribution(sampling, candidates):
    torch.manual_seed(1)
    logits = 2 * torch.randn(5, 50)
    expected = warped(logits, sampling)
    grid = torch.linspace(0, 1, 4001, dtype=torch.float64)[:-1]
    for row, shares in zip(logits, expected, strict=True):
        draws = sample_tokens(row.expand(len(grid), -1), grid, sampling, candidates)
        frequencies = torch.bincount(draws, minlength=50) / len(grid)
        assert (frequencies - shares).abs().max() < 2 / len(grid)


def test_temperature_zero_is_greedy():
    logits = torch.randn(4, 30)
    uniform = torch.full((4,), 0.999, dtype=torch.float64)
    assert torch.equal(sample_tokens(logits, uniform, Sampling(temperature=0, top_k=5)), logits.argmax(-1))


def test_the_penalty_is_that_of_transformers():
    from transformers import RepetitionPenaltyLogitsProcessor

    logits = torch.randn(2, 20)
    tokens = torch.tensor([[1, 5, 5], [0, 3, 19]])
    seen = torch.zeros(2, 20, dtype=torch.bool).scatter_(1, tokens, True)
    assert torch.equal(penalise(logits, seen, 1.5), RepetitionPenaltyLogitsProcessor(1.5)(tokens, logits.clone()))


def test_uniform_numbers_are_of_the_seed_alone():
    assert np.array_equal(uniforms(7, 5), uniforms(7, 50)[:5])
    assert not np.array_equal(uniforms(7, 5), uniforms(8, 5))


# --- speaking to a model ---


def test_the_template_is_applied_once_with_one_bos():
    chat = ChatFormat(make_tokenizer(bos=True))
    ids = chat.encode(Conversation("a", ({"role": "user", "content": "Hi"},), 0))
    assert make_tokenizer().decode(ids) == "<s><user>Hi</><assistant>"


def test_a_template_without_system_role_gets_it_in_the_user_turn():
    tokenizer = make_tokenizer(WITHOUT_SYSTEM)
    chat = ChatFormat(tokenizer)
    messages = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"})
    assert chat.folds_system
    assert chat.messages(Conversation("a", messages, 0)) == [{"role": "user", "content": "Be kind.\n\nHi"}]
    assert tokenizer.decode(chat.encode(Conversation("a", messages, 0))) == "<s>[Be kind.Hi]"  # it has no line break


def test_a_system_role_is_left_where_the_template_takes_it():
    assert not ChatFormat(make_tokenizer(WITH_SYSTEM)).folds_system


def test_without_a_template_a_model_gets_plain_text():
    tokenizer = make_tokenizer(None)
    conversation = Conversation("a", ({"role": "user", "content": "Once"},), 0)
    assert tokenizer.decode(ChatFormat(tokenizer).encode(conversation)) == "<s>Once"
    assert tokenizer.decode(ChatFormat(make_tokenizer(None, bos=False)).encode(conversation)) == "Once"


def test_plain_conversations_see_no_template():
    tokenizer = make_tokenizer()
    conversation = Conversation("a", ({"role": "user", "content": "Once"},), 0, plain=True)
    assert tokenizer.decode(ChatFormat(tokenizer).encode(conversation)) == "<s>Once"


def test_fold_system_keeps_the_other_turns():
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    folded = fold_system([{"role": "system", "content": "s"}, *turns])
    assert folded == [{"role": "user", "content": "s\n\na"}, *turns[1:]]
    assert fold_system(turns) == turns


# --- what cannot be done ---


def test_a_prompt_longer_than_the_context_is_an_error_of_its_row(saved):
    conversations = [
        Conversation("long", ({"role": "user", "content": "x" * 200},), 1, plain=True),
        Conversation("near", ({"role": "user", "content": "x" * 120},), 1, plain=True),
        Conversation("empty", ({"role": "user", "content": ""},), 1, plain=True),
    ]
    replies = engine_of(saved(gpt2, bos=False)).generate(conversations, Sampling(max_new_tokens=40, top_p=1))
    assert [reply.finish for reply in replies] == ["error", "length", "error"]
    assert "200 tokens" in replies[0].error and "128" in replies[0].error
    assert replies[1].new_tokens == 8
    assert "no tokens" in replies[2].error


class Memory:
    """Makes a model fail as if memory were short whenever more rows than ``rows`` are decoded, or a prompt of more
    than ``tokens`` is."""

    def __init__(self, engine, rows: int, tokens: int = 10**6):
        self.forward, self.rows, self.tokens, self.failures = engine._model.forward, rows, tokens, 0
        engine._model.forward = self

    def __call__(self, input_ids, attention_mask, **kwargs):
        if len(input_ids) > self.rows or attention_mask.sum(1).max() > self.tokens:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return self.forward(input_ids=input_ids, attention_mask=attention_mask, **kwargs)


def test_out_of_memory_halves_the_batch_and_says_so_once(saved, capsys):
    local = saved(llama)
    conversations = ask(12)
    expected = engine_of(local, 8).generate(conversations, SAMPLED)
    engine = engine_of(local, 8)
    memory = Memory(engine, rows=2)
    heard = []
    replies = engine.generate(conversations, SAMPLED, heard.append)
    assert [r.text for r in replies] == [r.text for r in expected]
    assert len(heard) == 12 and memory.failures == 2
    assert capsys.readouterr().out.count("Out of memory") == 1


def test_a_row_that_never_fits_is_rejected_and_the_others_go_on(saved, capsys):
    local = saved(llama)
    conversations = [*ask(6), Conversation("giant", ({"role": "user", "content": "y" * 150},), 1)]
    engine = engine_of(local, 4)
    Memory(engine, rows=4, tokens=100)
    replies = engine.generate(conversations, SAMPLED)
    assert [reply.finish == "error" for reply in replies] == [False] * 6 + [True]
    assert "out of memory" in replies[-1].error
    assert [r.text for r in replies[:6]] == [r.text for r in engine_of(local, 4).generate(conversations[:6], SAMPLED)]


def test_an_interrupt_leaves_what_is_finished_heard(saved):
    engine = engine_of(saved(llama), 2)
    heard = []

    def hear(reply):
        heard.append(reply)
        if len(heard) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(ask(8), SAMPLED, hear)
    assert len({reply.id for reply in heard}) == 3


def test_a_folder_without_a_causal_model_is_one_line(tmp_path):
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                         intermediate_size=16)).save_pretrained(tmp_path / "bert")  # fmt: skip
    with pytest.raises(ModelError, match="BertModel, not a causal language model") as caught:
        engine_of(LocalModel(tmp_path / "bert", "bert"))
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="holds no model") as caught:
        engine_of(LocalModel(tmp_path / "nothing", "nothing"))
    assert "\n" not in str(caught.value)


def test_a_model_whose_weights_are_missing_is_one_line(saved, tmp_path):
    folder = tmp_path / "half"
    folder.mkdir()
    for file in saved(llama).path.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match="no causal language model that loads") as caught:
        engine_of(LocalModel(folder, "half"))
    assert "\n" not in str(caught.value)


def test_nf4_on_a_processor_runs_and_says_that_it_is_slow(tmp_path, capsys):
    pytest.importorskip("bitsandbytes")
    folder = save_tiny_llama(tmp_path / "llama", width=64)  # four bits come in blocks of 64
    engine = engine_of(LocalModel(folder, "llama"), quantization="nf4")
    assert "4-bit weights on a CPU take many times as long" in capsys.readouterr().out
    assert [reply.finish for reply in engine.generate(ask(3), SAMPLED)] == ["length"] * 3


def test_lower_precision_runs(saved):
    for dtype in ("bf16", "fp16"):
        engine = engine_of(saved(llama), dtype=dtype)
        first, second = engine.generate(ask(5), SAMPLED), engine.generate(ask(5), SAMPLED)
        assert [r.text for r in first] == [r.text for r in second]


def test_an_engine_that_is_not_there_is_said_before_the_model_is_looked_for(monkeypatch):
    nowhere = HubModel(name="no/such-model")
    with pytest.raises(ModelError, match="there is no program /nowhere/vllm; run `make vllm`"):
        open_engine(Writer(model=nowhere, engine="vllm", vllm="/nowhere/vllm"))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UsageError, match="OPENAI_BASE_URL is not set"):
        open_engine(Writer(model=nowhere, engine="server"))
    with pytest.raises(ModelError, match="no/such-model"):
        open_engine(Writer(model=nowhere))


# --- what is not computed ---


def test_no_step_is_spent_past_a_rows_end(saved):
    from tools.benchmarks.generate import counting_slots

    engine = engine_of(saved(llama), 4)
    with counting_slots(engine._model) as counted:
        replies = engine.generate(ask(13), SAMPLED)
    assert counted[0] == sum(reply.new_tokens for reply in replies)


def test_a_common_beginning_is_read_once(saved):
    engine = engine_of(saved(llama), 4)
    read = []
    engine._model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    beginning = "This is what every prompt begins with. "
    conversations = ask(8, shared=beginning)
    prompts = [len(engine._format.encode(conversation)) for conversation in conversations]
    engine.generate(conversations, Sampling(temperature=0, max_new_tokens=1))
    shared = 1 + len("<user>" + beginning)
    # All of them would be more than this by the padding, and each prompt's last token is read with its first step.
    assert sum(read) < sum(prompts) - 6 * shared


def test_the_memory_in_use_grows_with_the_rows_in_work_only(saved):
    """Rows that left take their columns with them: a long run does not widen the cache."""
    from emogap.lm.engines import kv_slots

    cache = kv_slots.SlotCache(layers=1, slots=2)
    key = torch.ones(2, 1, 1, 4)
    filled = kv_slots.copy_for(None, 2)
    filled.update(torch.ones(2, 1, 10, 4), torch.ones(2, 1, 10, 4), 0)
    cache.admit(filled, [10, 10])
    for step in range(1000):
        cache.before_step()
        keys, _ = cache.layers[0].update(key[: cache.rows], key[: cache.rows])
        cache.after_step()
        assert keys.shape[2] == max(cache.lengths)
        if step % 20 == 19:
            cache.drop(0)
            new = kv_slots.copy_for(None, 1)
            new.update(torch.ones(1, 1, 10, 4), torch.ones(1, 1, 10, 4), 0)
            cache.admit(new, [10])
    assert cache.capacity < 10 + 40 + 2 * kv_slots._RESERVE


def test_a_hub_model_that_cannot_write_is_refused_before_its_weights_are_fetched(tmp_path, monkeypatch):
    import huggingface_hub

    from emogap.config import HubModel, Writer
    from emogap.lm.engines.open_engine import open_engine

    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    fetched = []

    def download(name, revision, allow_patterns):
        fetched.extend(allow_patterns)
        return tmp_path

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ModelError, match="BertModel, not a causal language model"):
        open_engine(Writer(model=HubModel(name="someone/encoder", revision="a" * 40)))
    assert fetched == ["config.json", "adapter_config.json"]


# --- models that take no slots ---


@pytest.fixture(scope="module")
def of_kind(tmp_path_factory):
    """A tiny model of an architecture on disk."""

    @cache
    def save(kind: str) -> LocalModel:
        folder = tmp_path_factory.mktemp(kind)
        save_tiny(folder, make_tokenizer(), kind, **(LONGROPE if kind == "phi3" else {}))
        return LocalModel(folder, kind)

    return save


@pytest.mark.parametrize(
    ("kind", "mode"), [("opt", "slots"), ("xglm", "slots"), ("bloom", "slots"), ("mamba", "alone"), ("jamba", "alone")]
)
def test_replies_of_every_mode_are_those_of_generate(of_kind, kind, mode, capsys):
    local = of_kind(kind)
    engine = engine_of(local, 3)
    assert engine._mode == mode
    said = capsys.readouterr().out
    assert ("takes no slots of one cache" in said and "writer.engine=vllm" in said) == (mode != "slots")
    sampling = Sampling(temperature=0, repetition_penalty=1.2, max_new_tokens=10)
    for conversation, reply in zip(ask(6), engine.generate(ask(6), sampling), strict=True):
        mask = torch.ones(1, reply.prompt_tokens, dtype=torch.long)
        expected = by_generate(local, conversation, 10, do_sample=False, repetition_penalty=1.2, attention_mask=mask)
        assert reply.text == engine._tokenizer.decode(expected, skip_special_tokens=True)
        assert reply.new_tokens == len(expected) and reply.seconds > 0


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_finds_the_same_mode(of_kind, saved, dtype):
    modes = [engine_of(local, dtype=dtype)._mode for local in (saved(llama), saved(gpt2), of_kind("bart"))]
    assert modes == ["slots", "slots", "alone"]


def test_a_row_alone_draws_what_it_draws_in_a_slot(saved):
    engine = engine_of(saved(llama))
    expected = [reply.text for reply in engine.generate(ask(6), SAMPLED)]
    for mode in ("alone", "uncached"):
        engine._mode = mode
        heard = []
        replies = engine.generate(ask(6), SAMPLED, heard.append)
        assert [reply.text for reply in replies] == expected
        assert {reply.finish for reply in replies} == {"stop", "length"} and len(heard) == 6


def test_defaults_of_the_folder_shape_no_reply(of_kind, tmp_path):
    import json
    import shutil

    folder = shutil.copytree(of_kind("mamba").path, tmp_path / "odd")
    file = folder / "generation_config.json"
    odd = {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "min_new_tokens": 9, "max_length": 4}
    file.write_text(json.dumps(json.loads(file.read_text()) | odd))
    plain, other = engine_of(of_kind("mamba")), engine_of(LocalModel(folder, "odd"))
    assert other._mode == "alone"
    assert [r.text for r in other.generate(ask(4), GREEDY)] == [r.text for r in plain.generate(ask(4), GREEDY)]


def test_rows_that_pass_the_length_where_positions_turn_are_decoded_alone(of_kind):
    local = of_kind("phi3")
    engine = engine_of(local, 3)
    conversations = [
        Conversation(f"row-{i}", ({"role": "user", "content": "x" + chr(65 + i) * length},), i, plain=True)
        for i, length in enumerate((5, 30, 42, 60))
    ]
    rows = [engine._row(i, conversation, GREEDY) for i, conversation in enumerate(conversations)]
    assert [engine._goes_alone(row) for row in rows] == [False, False, True, True]
    for conversation, reply in zip(conversations, engine.generate(conversations, GREEDY), strict=True):
        mask = torch.ones(1, reply.prompt_tokens, dtype=torch.long)
        expected = by_generate(local, conversation, 12, do_sample=False, attention_mask=mask)
        assert reply.text == engine._tokenizer.decode(expected, skip_special_tokens=True)


def test_a_model_that_reads_both_ways_does_not_write(of_kind):
    with pytest.raises(ModelError, match="says of a token depends on the tokens after it") as caught:
        engine_of(of_kind("roberta"))
    assert "\n" not in str(caught.value)


def test_a_row_alone_that_fails_is_an_error_of_its_own(saved, monkeypatch):
    engine = engine_of(saved(llama))
    engine._mode = "alone"

    def fail(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("emogap.lm.engines.transformers_engine.continued", fail)
    [reply] = engine.generate(ask(1), GREEDY)
    assert reply.finish == "error" and "out of memory on cpu with this row alone" in reply.error


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_embedded_model_takes_slots(dtype):
    from emogap.lm.hub import resolve

    assert engine_of(resolve(HubModel(name="embedded:smollm2-135m-instruct")), dtype=dtype)._mode == "slots"
