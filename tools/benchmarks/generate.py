"""``emogap bench generate``: the engines side by side on one workload, against plain static batches.

Useful tokens are those up to a reply's end. The share of slots past it is counted where the model runs in this
process: a hook sees how many rows every step of the model computes.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from emogap.commands import Parser, a_model
from emogap.config import HubModel, Sampling, Writer
from emogap.errors import ModelError
from emogap.lm.engines.engine import ChatFormat, Conversation, Engine, Reply, end_tokens
from emogap.lm.engines.open_engine import open_engine
from emogap.lm.hub import LocalModel, resolve
from emogap.paths import ROOT
from emogap.records import row_seed
from tools.bench import print_timings, ratio, time_in_turn

STATIC_BATCH = 32
PREFIX_TOKENS = 512


def run(words: list[str]) -> None:
    """Measure and print. ``words`` are the options; ``--help`` names them."""
    options = _options(words)
    writer = Writer(
        model=HubModel(name=options.model), dtype=options.dtype, batch_size=STATIC_BATCH, device=options.device
    )
    engines: dict[str, Engine] = {}
    try:
        for name in options.engines:
            started = time.monotonic()
            engines[name] = open_engine(writer.model_copy(update={"engine": name}))
            print(f"{name}: loaded in {time.monotonic() - started:.1f} s")
        _whole_replies(writer, engines, options)
        if not options.no_prefix:
            _shared_prefix(writer, engines, options)
    finally:
        for engine in engines.values():
            engine.close()


def _options(words: list[str]) -> argparse.Namespace:
    parser = Parser("emogap bench generate", description=__doc__.split("\n")[0])
    parser.add_argument("--engines", nargs="+", default=["transformers"], choices=("transformers", "vllm", "server"))
    parser.add_argument("--model", type=a_model, default="embedded:smollm2-135m-instruct")
    parser.add_argument("--dtype", default="auto", choices=("auto", "bf16", "fp16", "fp32"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--no-prefix", action="store_true", help="leave out the shared-prefix part")
    return parser.parse_args(words)


def _whole_replies(writer: Writer, engines: dict[str, Engine], options: argparse.Namespace) -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=options.max_new_tokens)
    conversations = _prompts(options.prompts)
    static = StaticBatches(resolve(writer.model), writer)
    lengths: dict[str, list[int]] = {}
    slots: dict[str, int] = {}

    def way(name: str, generate: Callable[..., list[Reply]], model: Any) -> Callable[[], float]:
        def once() -> float:
            with counting_slots(model) as counted:
                replies = generate(conversations, sampling)
            lengths[name], slots[name] = known_tokens((reply.new_tokens for reply in replies), name), counted[0]
            return sum(lengths[name])

        return once

    ways = {"static": way("static", static.generate, static.model)}
    for name, engine in engines.items():
        ways[name] = way(name, engine.generate, engine._model if name == "transformers" else None)
    print(f"{len(conversations)} prompts, at most {options.max_new_tokens} new tokens, {STATIC_BATCH} rows at a time")
    timings = time_in_turn(ways, options.rounds, warm_up=False)
    print_timings(timings, "useful tokens", "static")
    for name, counts in lengths.items():
        past = f"{1 - sum(counts) / slots[name]:.0%}" if slots[name] else "not counted"
        print(f"{name}: replies of median {statistics.median(counts):.0f} tokens; slots past the end: {past}")
    for name in engines:
        print(f"{name}: {ratio(timings, name, 'static'):.2f} times the useful tokens/s of static batches")


def _shared_prefix(writer: Writer, engines: dict[str, Engine], options: argparse.Namespace) -> None:
    """The same number of prompt tokens, once with and once without a common beginning; one new token each."""
    texts = _prefixed(writer, options.prompts)
    sampling = Sampling(temperature=0, max_new_tokens=1)
    for name, engine in engines.items():
        salt = itertools.count()

        def way(
            shared: bool, name: str = name, engine: Engine = engine, salt: Iterator[int] = salt
        ) -> Callable[[], float]:
            def once() -> float:
                # Each round begins with words of its own, so that no engine remembers it from the round before.
                begin = next(salt)
                asked = [
                    Conversation(
                        str(i), ({"role": "user", "content": f"{begin if shared else (begin, i)} {t}"},), i, True
                    )
                    for i, t in enumerate(texts)
                ]
                return sum(known_tokens((reply.prompt_tokens for reply in engine.generate(asked, sampling)), name))

            return once

        ways = {"each its own": way(False), f"{PREFIX_TOKENS} shared": way(True)}
        timings = time_in_turn(ways, options.rounds, warm_up=False)
        print(f"{name}: reading {len(texts)} prompts")
        print_timings(timings, "prompt tokens", "each its own")


def known_tokens(counts: Iterable[int | None], engine: str) -> list[int]:
    """Counts of tokens, all of them known. Raises ``ModelError`` if one is not: no rate in tokens can be measured."""
    known = list(counts)
    if None in known:
        raise ModelError(f"{engine} does not say how many tokens a reply has (no usage); measure with another engine")
    return known


def _prompts(count: int) -> list[Conversation]:
    """The first prompt of every emotion, then the second ones and so on; from the start again if need be."""
    groups = json.loads((ROOT / "data/sample/emotion_prompts.json").read_text(encoding="utf-8")).values()
    texts = itertools.cycle(text for place in zip(*groups, strict=False) for text in place)
    return [
        Conversation(f"bench-{i}", ({"role": "user", "content": text},), row_seed(0, f"bench-{i}", "bench"))
        for i, text in enumerate(itertools.islice(texts, count))
    ]


def _prefixed(writer: Writer, count: int) -> list[str]:
    """Texts with ``PREFIX_TOKENS`` tokens in common and a line of their own behind."""
    from emogap.lm.loading import load_tokenizer

    tokenizer = load_tokenizer(resolve(writer.model).path)
    story = (ROOT / "data/sample/babylm/children_stories.train").read_text(encoding="utf-8")
    ids = tokenizer(story, add_special_tokens=False)["input_ids"][:PREFIX_TOKENS]
    lines = (ROOT / "data/sample/babylm/spoken_dialogue.train").read_text(encoding="utf-8").splitlines()
    prefix = tokenizer.decode(ids)
    return [f"{prefix}\n{line}" for line in itertools.islice(itertools.cycle(lines), count)]


class StaticBatches:
    """The plain way, to be measured against: ``model.generate`` on batches as they come, padded on the left."""

    def __init__(self, local: LocalModel, writer: Writer):
        from emogap.device import pick_device, pick_dtype
        from emogap.lm.loading import load_causal

        device = pick_device(writer.device)
        dtype = pick_dtype(device, writer.dtype)
        self.model, self.tokenizer = load_causal(local.path, device=device, dtype=dtype)
        self._format = ChatFormat(self.tokenizer)
        self._ends = end_tokens(local.path, self.tokenizer)

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Reply]:
        """Replies, counted up to their ends."""
        replies = []
        for start in range(0, len(conversations), STATIC_BATCH):
            replies += self._batch(conversations[start : start + STATIC_BATCH], sampling)
        return replies

    def _batch(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Reply]:
        import torch

        prompts = [self._format.encode(conversation) for conversation in conversations]
        width, pad = max(map(len, prompts)), min(self._ends)
        ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        torch.manual_seed(conversations[0].seed)
        output = self.model.generate(
            input_ids=ids.to(self.model.device),
            attention_mask=mask.to(self.model.device),
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=sorted(self._ends),
            pad_token_id=pad,
        )
        return [
            self._reply(conversation, prompt, new.tolist())
            for conversation, prompt, new in zip(conversations, prompts, output[:, width:], strict=True)
        ]

    def _reply(self, conversation: Conversation, prompt: list[int], new: list[int]) -> Reply:
        end = next((i for i, token in enumerate(new) if token in self._ends), None)
        drawn = new if end is None else new[: end + 1]
        text = self.tokenizer.decode(drawn, skip_special_tokens=True)
        return Reply(conversation.id, text, len(prompt), len(drawn), "length" if end is None else "stop", 0.0)


@contextmanager
def counting_slots(model: Any) -> Iterator[list[int]]:
    """Counts the rows of every pass that includes the model's head: the tokens that it computed, needed or not."""
    counted = [0]
    if model is None:
        yield counted
        return

    def count(module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        counted[0] += len(kwargs["input_ids"])

    hook = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counted
    finally:
        hook.remove()
